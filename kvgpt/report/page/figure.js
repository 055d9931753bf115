// A figure: its legend, its panels, and its points once they are asked for.

function legend(panels) {
  const entries = new Map();
  for (const series of panels.flatMap((panel) => panel.series).filter((one) => one.in_legend)) {
    const key = JSON.stringify([series.name, series.look, AREAS[series.form] ?? series.form]);
    if (!entries.has(key)) entries.set(key, series);
  }
  const look = (series) => swatch(series.look, series.form, series.faint);
  return [...entries.values()].map((series) => html("li", {}, look(series), shortened(series.name, 48)));
}

function panelled(panel, cases, width) {
  const holder = html("div", { class: "panel" });
  if (panel.title) holder.append(html("h4", {}, panel.title));
  readable(holder, drawn(panel, width), panel, cases);
  return holder;
}

function fillWhenOpen(details, made) {
  const fill = () => details.lastElementChild.replaceChildren(...(details.open ? made() : []));
  details.ontoggle = fill;
  fill();
}

// Draw what is chosen of a figure; one of which nothing is left is not shown.
function draw(figure, data, choice) {
  figure.hidden = false;
  const chart = data.charts[Number(figure.dataset.chart)];
  const left = chart.panels.map((panel) => selected(panel, choice, data.cases));
  const panels = left.filter((panel) => panel.series.length);
  const box = figure.querySelector(".panels");
  box.classList.toggle("several", panels.length > 1);
  const probe = box.appendChild(html("div", { class: "panel" }));
  const width = Math.max(280, Math.floor(probe.clientWidth));
  box.replaceChildren(...panels.map((panel) => panelled(panel, data.cases, width)));
  figure.querySelector(".legend").replaceChildren(...legend(panels));
  fillWhenOpen(figure.querySelector(".points"), () => panels.map((panel) => pointTable(panel, data.cases)));
  figure.hidden = !panels.length;
}
