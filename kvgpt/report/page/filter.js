// The filter: what its form leaves out, and the same in the page's address, so that a view can be passed on.

const bar = document.getElementById("filter");
const form = bar.querySelector("form");
const boxes = (name) => [...form.querySelectorAll(`input[name=${name}]`)];

// The lengths that are chosen; an end of the list is no end.
function range() {
  const end = (name, outermost, otherwise) => {
    const list = form.elements[name];
    return !list || list.selectedIndex === outermost(list) ? otherwise : Number(list.value);
  };
  return { from: end("from", () => 0, -Infinity), to: end("to", (list) => list.length - 1, Infinity) };
}

// Variants by their place in the form: in attributes some characters of a name do not survive.
function choiceOf(variants) {
  const left = boxes("variant").flatMap((box, at) => (box.checked ? [] : [variants[at].name, box.value]));
  const sizes = boxes("batch").filter((box) => !box.checked).map((box) => Number(box.value));
  return {
    variants: new Set(left),
    batches: new Set(sizes),
    ...range(),
  };
}

// The address after its #: an anchor, then what is chosen of variants, batches, T and theme where it is not everything.
function address() {
  const parts = new Map();
  let anchor = "";
  for (const part of location.hash.slice(1).split("&").filter(Boolean)) {
    const [name, value] = part.split("=");
    if (value === undefined) anchor = name;
    else parts.set(name, value.split(",").map(decoded));
  }
  return { anchor, parts };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function remember(changes) {
  const { anchor, parts } = address();
  for (const [name, values] of Object.entries(changes)) {
    if (values === null) parts.delete(name);
    else parts.set(name, values);
  }
  const named = [...parts].map(([name, values]) => `${name}=${values.map(encodeURIComponent).join(",")}`);
  history.replaceState(null, "", `#${[anchor, ...named].filter(Boolean).join("&")}`);
}

function rememberChoice() {
  const checked = (name) => {
    const on = boxes(name).filter((box) => box.checked);
    return on.length === boxes(name).length ? null : on.map((box) => box.value);
  };
  const { from, to } = range();
  const part = from > -Infinity || to < Infinity;
  const T = part ? [form.elements.from.value, form.elements.to.value] : null;
  remember({ variants: checked("variant"), batches: checked("batch"), T });
}

function recall() {
  const { parts } = address();
  for (const [name, key] of [["variant", "variants"], ["batch", "batches"]]) {
    for (const box of boxes(name)) box.checked = !parts.has(key) || parts.get(key).includes(box.value);
  }
  const [from, to] = parts.get("T") ?? [];
  for (const [name, value] of [["from", from], ["to", to]]) {
    const list = form.elements[name];
    if (!list) continue;
    const known = [...list.options].findIndex((option) => option.value === value);
    list.selectedIndex = known >= 0 ? known : name === "from" ? 0 : list.length - 1;
  }
}

function status(choice, hidden) {
  const counted = (name, word) => {
    const [all, on] = [boxes(name), boxes(name).filter((box) => box.checked)];
    return on.length < all.length ? [`${on.length} of ${all.length} ${word}`] : [];
  };
  const part = choice.from > -Infinity || choice.to < Infinity;
  const lengths = part ? [`T from ${form.elements.from.value} to ${form.elements.to.value}`] : [];
  const without = hidden ? [`${hidden} ${hidden === 1 ? "figure" : "figures"} left out`] : [];
  const parts = [...counted("variant", "variants"), ...counted("batch", "batch sizes"), ...lengths, ...without];
  return parts.join(", ") || "everything";
}

// A row or a column is left out with its variant, a row or a table with its size.
function filterTable(section, choice) {
  const owned = (cell) => choice.variants.has(cell.dataset.variant);
  const sized = ({ batch, length }) =>
    !choice.batches.has(Number(batch)) && inRange(choice, length === undefined ? undefined : Number(length));
  const table = section.querySelector("table");
  const left = [...table.tHead.rows[0].cells].map(owned);
  section.hidden = !sized(section.dataset);
  for (const row of table.rows) {
    const cells = [...row.cells];
    cells.forEach((cell, at) => (cell.hidden = left[at]));
    row.hidden = row.parentElement !== table.tHead && (cells.some(owned) || !sized(row.dataset));
  }
}
