// A panel: axes, what lies under the data, the data, and what is said about them.

const HEIGHT = 300;
const LONGEST_NAME = 24;

function margins(panel, y, x) {
  const left = 14 + Math.max(20, ...y.ticks.map(({ text }) => textWidth(shortened(text, LONGEST_NAME))));
  const widest = Math.max(0, ...panel.x.names.map((name) => textWidth(shortened(name, LONGEST_NAME))));
  const room = (x.to - x.from) / Math.max(panel.x.names.length, 1);
  const slanted = panel.x.scale === "names" && widest > room - 4;
  const right = Math.max(14, ...x.ticks.slice(-1).map(({ text }) => textWidth(text) / 2 + 2));
  const bottom = (slanted ? 20 + 0.6 * widest : 22) + (panel.x.label ? 18 : 0);
  return { left, top: 28, right: panel.x.scale === "names" ? 14 : right, bottom, slanted };
}

function axes(sheet, panel, margin) {
  const { x, y, frame } = sheet;
  const [left, top, right, bottom] = frame;
  const group = svg("g", { class: "axes" });
  for (const { place, text } of thinned(y.ticks, () => LINE + 1)) {
    group.append(svg("path", { d: `M${left} ${place}H${right}`, class: "grid" }));
    group.append(svg("text", { x: left - 6, y: place + 4, "text-anchor": "end" }, shortened(text, LONGEST_NAME)));
  }
  const apart = margin.slanted ? () => LINE : (a, b) => (textWidth(a.text) + textWidth(b.text)) / 2 + 8;
  const marked = panel.x.scale === "names" ? x.ticks : thinned(x.ticks, apart);
  for (const { place, text } of marked) {
    if (panel.x.scale !== "names") group.append(svg("path", { d: `M${place} ${top}V${bottom}`, class: "grid" }));
    const turn = margin.slanted ? { transform: `rotate(-35 ${place} ${bottom + 14})` } : {};
    const anchor = margin.slanted ? "end" : "middle";
    const under = { x: place, y: bottom + 16, "text-anchor": anchor, ...turn };
    group.append(svg("text", under, shortened(text, LONGEST_NAME)));
  }
  group.append(svg("path", { d: `M${left} ${top}V${bottom}H${right}`, class: "edge" }));
  group.append(svg("text", { x: 2, y: 12, class: "axis" }, panel.y.label));
  const below = { x: (left + right) / 2, y: sheet.height - 5, "text-anchor": "middle" };
  group.append(svg("text", { ...below, class: "axis" }, panel.x.label));
  return group;
}

// A place on an axis, no further than its ends; the end itself where there is no value, or none that has a place.
function within(scale, value, end) {
  const place = value === null ? NaN : scale.place(value);
  const [least, most] = [Math.min(scale.from, scale.to), Math.max(scale.from, scale.to)];
  return isNumber(place) ? Math.min(Math.max(place, least), most) : end;
}

function zones(sheet, panel) {
  const [left, top, right, bottom] = sheet.frame;
  for (const { axis, low, high, tone, label } of panel.zones) {
    const scale = sheet[axis];
    const [from, to] = [within(scale, low, scale.from), within(scale, high, scale.to)];
    const across = axis === "x";
    const [x, y, width, height] = across ? [from, top, to - from, bottom - top] : [left, to, right - left, from - to];
    if (width <= 0 || height <= 0) continue;
    sheet.back.append(svg("rect", { x, y, width, height, class: `zone ${tone}` }));
    const middle = x + width / 2;
    const spots = across
      ? [[middle, top + 8, 0.5], [middle, bottom - 8, 0.5]]
      : [[right - 4, y + 8, 1], [left + 4, y + 8, 0]];
    if (label && height > LINE) sheet.asides.push({ text: label, spots, tone });
  }
}

// A text at the freest of these places, unless another is there: x, y, and how much of it lies to the left of x.
function aside(sheet, { text, spots, tone }) {
  const short = shortened(text, 44);
  const width = textWidth(short);
  const boxes = spots.map(([x, y, before]) => {
    const from = x - before * width;
    return moved([from, y - LINE / 2, from + width, y + LINE / 2], sheet.frame);
  });
  const box = freest(boxes, sheet.texts, sheet.drawn);
  if (covered(box, sheet.texts) > 0) return;
  sheet.texts.push(box);
  sheet.front.append(svg("text", { x: box[0], y: box[1] + 10, class: `aside ${tone}` }, short));
}

function rules(sheet, panel) {
  const [left, top, right, bottom] = sheet.frame;
  for (const rule of panel.rules.filter((one) => sheet[one.axis].holds(one.at))) {
    const place = sheet[rule.axis].place(rule.at);
    const d = rule.axis === "x" ? `M${place} ${top}V${bottom}` : `M${left} ${place}H${right}`;
    sheet.under.append(svg("path", { d, class: `rule ${rule.tone}` }));
    const beside = [[place + 4, bottom - 10, 0], [place - 4, bottom - 10, 1], [place + 4, top + 10, 0]];
    const along = (share) => left + 4 + share * (right - left - 8);
    const above = [1, 0, 0.5].flatMap((share) => [-8, 8].map((off) => [along(share), place + off, share]));
    const spots = rule.axis === "x" ? beside : above;
    if (rule.label) sheet.asides.push({ text: rule.label, spots, tone: rule.tone });
  }
}

function said(sheet, panel) {
  const [left, top, right, bottom] = sheet.frame;
  const { texts, drawn, frame, front } = sheet;
  for (const label of together(sheet.labels)) {
    const made = labelled(label, texts, drawn, frame);
    if (made) front.append(made);
  }
  for (const one of sheet.asides) aside(sheet, one);
  for (const corner of panel.corners) {
    const lines = wrapped(corner.text, 24);
    const [x, y] = [left + corner.across * (right - left), bottom - corner.up * (bottom - top)];
    const box = moved(boxAround(x, y, lines), [left + 4, top + 2, right - 4, bottom - 2]);
    front.append(written(box, lines, "corner"));
    texts.push(box);
  }
  for (const { text, x, y } of panel.callouts) {
    if (!sheet.x.holds(x) || !sheet.y.holds(y)) continue;
    front.append(callout(text, sheet.x.place(x), sheet.y.place(y), texts, drawn, frame));
  }
}

// A drawing of the panel at this width, and the targets that can be read in it.
function drawn(panel, width) {
  if (panel.series.some((series) => series.form === "slices")) return pie(panel, width);
  const values = extents(panel);
  const across = scaleOf(panel.x, values.x, panel.filtered);
  const up = scaleOf(panel.y, values.y, panel.filtered, values.above);
  const margin = margins(panel, up(HEIGHT, 0), across(60, width - 14));
  const height = HEIGHT + margin.bottom - 40;
  const frame = [margin.left, margin.top, width - margin.right, height - margin.bottom];
  const [left, top, right, bottom] = frame;
  const [x, y] = [across(left, right), up(bottom, top)];
  const [w, h] = [right - left, bottom - top];
  const sheet = {
    x, y, frame, height,
    back: svg("g"),
    under: svg("svg", { x: left, y: top, width: w, height: h, viewBox: `${left} ${top} ${w} ${h}` }),
    over: svg("g"),
    front: svg("g"),
    ground: Math.min(Math.max(isNumber(y.place(0)) ? y.place(0) : bottom, top), bottom),
    slot: slots(panel, x),
    heights: new Map(),
    targets: [], labels: [], asides: [], texts: [], drawn: [],
  };
  zones(sheet, panel);
  const layered = [...panel.series].sort((a, b) => LAYERS.indexOf(a.form) - LAYERS.indexOf(b.form));
  for (const series of layered) FORMS[series.form](sheet, series, series.look);
  rules(sheet, panel);
  said(sheet, panel);
  const parts = [sheet.back, axes(sheet, panel, margin), sheet.under, sheet.over, sheet.front];
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, ...parts);
  return { drawing, targets: sheet.targets };
}
