// The points of a figure as a table, and the samples behind each as dots and as numbers.

function strip(processes) {
  const every = processes.flat();
  const [least, most] = [Math.min(...every), Math.max(...every)];
  const [width, row] = [180, 10];
  const place = (value) => 5 + ((width - 10) * (most > least ? (value - least) / (most - least) : 0.5));
  const dot = (value, at) => svg("circle", { cx: place(value).toFixed(1), cy: row * at + row / 2, r: 2.5 });
  const dots = processes.flatMap((samples, at) => samples.map((value) => dot(value, at)));
  const height = row * processes.length;
  const named = { role: "img", "aria-label": `${every.length} samples as dots` };
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "strip", ...named }, ...dots);
}

function samplesOf(one, metric) {
  const measured = one.metrics[metric];
  const processes = (measured?.processes ?? []).filter((samples) => samples.length);
  const name = html("div", { class: "case" }, one.name);
  if (!processes.length) return [name, html("span", { class: "unknown" }, "no samples")];
  const every = processes.flat();
  const spread = `${quantity(Math.min(...every), measured.unit)} to ${quantity(Math.max(...every), measured.unit)}`;
  const passes = processes.length > 1 ? ` in ${processes.length} passes` : "";
  const numbers = (samples) => samples.map((value) => quantity(value, measured.unit)).join(", ");
  const lists = processes.map((samples) => html("p", {}, numbers(samples)));
  const summary = html("summary", {}, `${every.length} samples${passes}, ${spread}`);
  return [name, strip(processes), html("details", {}, summary, ...lists)];
}

const numberCell = (value) =>
  isNumber(value)
    ? html("td", { class: "number", "data-value": value }, figure(value))
    : html("td", { class: "unknown" }, "-");

function pointRow(series, point, panel, cases) {
  const name = panel.x.names[Math.round(point.x)];
  const x = name === undefined ? numberCell(point.x) : html("td", {}, name);
  const behind = (point.cases ?? []).flatMap((at) => samplesOf(cases[at], series.metric));
  const samples = behind.length ? behind : [html("span", { class: "unknown" }, "no samples")];
  const numbers = [point.y, point.low, point.high].map(numberCell);
  return html("tr", {}, html("th", { scope: "row" }, series.name), x, ...numbers, html("td", {}, ...samples));
}

function pointTable(panel, cases) {
  const headings = ["series", panel.x.label || "x", panel.y.label || "y", "low", "high", "samples"];
  const measured = panel.series.filter((series) => MEASURED.includes(series.form));
  const shown = measured.length ? measured : panel.series;
  const rows = shown.flatMap((series) => series.points.map((point) => pointRow(series, point, panel, cases)));
  const head = html("thead", {}, html("tr", {}, ...headings.map((heading) => html("th", { scope: "col" }, heading))));
  const name = panel.title || panel.y.label;
  const table = html("table", {}, html("caption", {}, name), head, html("tbody", {}, ...rows));
  sortable(table);
  const named = { role: "region", tabindex: 0, "aria-label": name };
  return html("div", { class: "scroll", ...named }, table);
}
