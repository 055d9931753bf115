// Scales: from values to places on the paper, and the ticks that a reader needs to come back.

const DECADES = 5; // that a symlog axis has at most on each side of zero
const CURVES = {
  linear: () => (value) => value,
  names: () => (value) => value,
  log: () => Math.log10,
  log2: () => Math.log2,
  symlog: (unit) => (value) => Math.sign(value) * Math.log10(1 + Math.abs(value) / unit),
};

// Up to where a symlog axis is linear: the power of ten below all that is not zero, some decades at most.
function nearZero(values) {
  const sizes = values.map(Math.abs).filter((size) => size > 0);
  if (!sizes.length) return 1;
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)].map(Math.log10);
  return 10 ** Math.max(Math.floor(least), Math.ceil(most) - DECADES);
}

// The ends of an axis, on its curve. While something is filtered out the data decide, but for a bound at zero.
function ends(axis, curve, values, filtered, above) {
  if (axis.scale === "names") return [-0.5, Math.max(axis.names.length, 1) - 0.5];
  const shown = values.map(curve).filter(Number.isFinite);
  const [least, most] = shown.length ? [Math.min(...shown), Math.max(...shown)] : [0, 1];
  const room = most > least ? 0.06 * (most - least) : 0.1 * Math.abs(most) || 0.5;
  const bound = (at) => (at !== null && !(filtered && at !== 0) && Number.isFinite(curve(at)) ? curve(at) : null);
  const fromZero = axis.scale === "linear" && least >= 0;
  const low = bound(axis.low) ?? (fromZero ? Math.max(0, least - room) : least - room);
  const high = bound(axis.high) ?? most + above * room;
  return low < high ? [low, high] : [least - room, most + room];
}

function linearTicks(low, high) {
  const rough = (high - low) / 5;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = decade * [1, 2, 5, 10].find((factor) => factor * decade >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, at) => Number(((first + at) * step).toPrecision(12)));
}

function powers(base, low, high, multiples = [1]) {
  const made = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    made.push(...multiples.map((multiple) => multiple * base ** power));
  }
  return made;
}

const TICKS = {
  linear: linearTicks,
  names: () => [],
  log2: (low, high) => powers(2, low, high),
  log: (low, high) => {
    const within = (value) => Math.log10(value) >= low && Math.log10(value) <= high;
    const made = powers(10, low, high, high - low < 3 ? [1, 2, 5] : [1]);
    return made.filter(within).length > 1 ? made : linearTicks(10 ** low, 10 ** high);
  },
  symlog: (low, high, unit) => {
    const decades = powers(10, 0, Math.max(Math.abs(low), Math.abs(high))).map((value) => unit * value);
    return [...decades.map((value) => -value).reverse(), 0, ...decades];
  },
};

// Of ticks too close to be read those stay that come first in importance: zero and powers of two, then as they come.
function thinned(ticks, apart) {
  const important = ({ at }) => (at === 0 || Number.isInteger(Math.log2(Math.abs(at))) ? 0 : 1);
  const kept = [];
  for (const tick of [...ticks].sort((a, b) => important(a) - important(b))) {
    if (kept.every((other) => Math.abs(tick.place - other.place) >= apart(tick, other))) kept.push(tick);
  }
  return kept.sort((a, b) => a.at - b.at);
}

// A scale for these values: where to place each, and its ticks, once it is laid between two places.
function scaleOf(axis, values, filtered, above = 1) {
  const unit = nearZero(values);
  const curve = CURVES[axis.scale](unit);
  const [low, high] = ends(axis, curve, values, filtered, above);
  return (from, to) => laid({ axis, curve, unit, low, high }, from, to);
}

function laid({ axis, curve, unit, low, high }, from, to) {
  const place = (value) => from + ((curve(value) - low) / (high - low)) * (to - from);
  const holds = (value) => curve(value) >= low - 1e-9 && curve(value) <= high + 1e-9;
  const named = axis.names.map((text, at) => ({ at, text, place: place(at) }));
  const given = axis.ticks.filter(holds);
  const marked = given.length ? given : TICKS[axis.scale](low, high, unit).filter(holds);
  const ticks = axis.scale === "names" ? named : marked.map((at) => ({ at, text: figure(at), place: place(at) }));
  return { place, holds, ticks, names: axis.names, from, to };
}
