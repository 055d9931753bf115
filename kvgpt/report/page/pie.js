// A pie: a slice for each series, its label outside.

function wedge([x, y], radius, from, to) {
  const turn = to - from >= 0.9999 ? 0.9999 : to - from; // an arc of a whole turn has no length
  const [start, end] = [from, from + turn].map((share) => turned(x, y, radius, 360 * share - 90));
  return `M${x} ${y}L${start.join(" ")}A${radius} ${radius} 0 ${turn > 0.5 ? 1 : 0} 1 ${end.join(" ")}Z`;
}

// Labels of one side, pushed down where they would cover each other.
function spread(labels) {
  labels.sort((a, b) => a.y - b.y);
  labels.forEach((label, at) => {
    if (at) label.y = Math.max(label.y, labels[at - 1].y + LINE);
  });
  const beyond = labels.length ? labels.at(-1).y - labels.at(-1).lowest : 0;
  if (beyond > 0) for (const label of labels) label.y -= beyond;
}

function pie(panel, width) {
  const slices = panel.series.flatMap((series) => series.points.map((point) => ({ series, point })));
  const shown = slices.filter(({ series, point }) => series.form === "slices" && point.y > 0);
  const whole = shown.reduce((sum, { point }) => sum + point.y, 0);
  const text = ({ series, point }) =>
    shortened(point.label || `${series.name}: ${((100 * point.y) / whole).toFixed(1)}%`, 32);
  const widest = Math.max(0, ...shown.map((slice) => textWidth(text(slice))));
  const radius = Math.max(40, Math.min(90, width / 2 - widest - 24));
  const height = 2 * radius + 80;
  const centre = [width / 2, height / 2];
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  const [targets, sides] = [[], [[], []]];
  let from = 0;
  for (const slice of shown) {
    const { series, point } = slice;
    const to = from + point.y / whole;
    drawing.append(tint(svg("path", { d: wedge(centre, radius, from, to), class: "slice" }), series.look));
    const angle = 180 * (from + to) - 90;
    const [[x, y], [edge, rim]] = [turned(...centre, radius * 0.6, angle), turned(...centre, radius + 12, angle)];
    targets.push({ box: [x, y, x, y], reach: radius * 0.6, series, point, share: to - from });
    const start = turned(...centre, radius, angle);
    sides[edge < centre[0] ? 0 : 1].push({ text: text(slice), y: rim, from: start, lowest: height - LINE });
    from = to;
  }
  sides.forEach((labels, right) => {
    spread(labels);
    const x = centre[0] + (right ? radius + 18 : -radius - 18);
    const anchor = { class: "label", "text-anchor": right ? "start" : "end" };
    for (const label of labels) {
      drawing.append(svg("path", { d: path([label.from, [x, label.y]]), class: "leader" }));
      drawing.append(svg("text", { x: x + (right ? 3 : -3), y: label.y + 4, ...anchor }, label.text));
    }
  });
  return { drawing, targets };
}
