// Tables sorted by a press on a heading: numbers as numbers, text as text, what is unknown last either way.

function keyOf(cell) {
  if (cell.classList.contains("unknown")) return { kind: 2 };
  if ("value" in cell.dataset) return { kind: 0, value: Number(cell.dataset.value) };
  return { kind: 1, value: cell.textContent };
}

function compared(a, b, direction) {
  if (a.kind !== b.kind) return Math.max(a.kind, b.kind) === 2 ? a.kind - b.kind : direction * (a.kind - b.kind);
  if (a.kind === 0) return direction * (a.value - b.value);
  return a.kind === 1 ? direction * a.value.localeCompare(b.value, "en", { numeric: true }) : 0;
}

function sortBy(table, heading) {
  const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => [keyOf(row.cells[heading.cellIndex]), row]);
  body.append(...keyed.sort(([a], [b]) => compared(a, b, direction)).map(([, row]) => row));
}

function sortable(table) {
  for (const heading of table.tHead.rows[0].cells) {
    const button = html("button", { type: "button" }, ...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, heading));
    heading.replaceChildren(button);
  }
}
