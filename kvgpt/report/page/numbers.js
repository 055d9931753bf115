// Numbers as people read them.

const PREFIXES = { "-4": "p", "-3": "n", "-2": "µ", "-1": "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P" };

function figure(value, digits = 4) {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-4)) return value.toExponential(digits - 2).replace("e+", "e");
  const rounded = size >= 1000 ? Math.round(value) : Number(value.toPrecision(digits));
  return rounded.toLocaleString("en-US", { maximumFractionDigits: 10 });
}

// A value in its unit, with the prefix that suits it.
function quantity(value, unit) {
  if (unit === "1" || value === 0) return figure(value);
  const power = Math.min(5, Math.max(-4, Math.floor(Math.log10(Math.abs(value)) / 3)));
  return `${figure(value / 1000 ** power)} ${PREFIXES[power]}${unit}`;
}
