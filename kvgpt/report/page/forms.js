// The forms of a series: each draws into a sheet and says where its points can be read.
//
// A sheet has its scales ``x`` and ``y``, ``under`` for what is clipped at the axes and ``over`` for what is not,
// ``ground`` where bars stand, ``slot`` for their places, ``targets`` to be read, ``labels`` and ``drawn`` boxes.

const LAYERS = ["region", "band", "spans", "bars", "stack", "frontier", "fit", "projection", "line", "marks"];
const SPREAD = ["band", "bars", "line", "marks"]; // of which intervals are drawn
const isNumber = Number.isFinite;

const places = (sheet, series, side = "y") =>
  series.points
    .map((point) => [sheet.x.place(point.x), sheet.y.place(point[side])])
    .filter((place) => place.every(isNumber));

function whisker(sheet, x, point, look) {
  const [top, bottom] = [point.high, point.low].map((value) => sheet.y.place(value));
  if (![x, top, bottom].every(isNumber)) return;
  const d = `M${x} ${top}V${bottom}M${x - 3} ${top}h6M${x - 3} ${bottom}h6`;
  sheet.under.append(tint(svg("path", { d, class: "whisker" }), look));
  sheet.drawn.push([x - 3, top, x + 3, bottom]);
}

const above = (sheet, point) => Math.min(...[point.y, point.high].map(sheet.y.place).filter(isNumber));

function curve(sheet, series, look) {
  const d = path(places(sheet, series));
  sheet.under.append(tint(svg("path", { d, class: `stroke ${series.form}`, ...dashed(series.form, look) }), look));
}

function marks(sheet, series, look) {
  for (const point of series.points) {
    const [x, y] = [sheet.x.place(point.x), sheet.y.place(point.y)];
    if (!isNumber(x) || !isNumber(y) || !sheet.x.holds(point.x) || !sheet.y.holds(point.y)) continue;
    whisker(sheet, x, point, look);
    sheet.over.append(tint(marker(look, x, y, series.faint), look));
    sheet.drawn.push([x - 5, y - 5, x + 5, y + 5]);
    sheet.targets.push({ box: [x, y, x, y], series, point });
    if (point.label) sheet.labels.push({ text: point.label, x, y });
  }
}

function column(sheet, series, look, point, [left, width], [foot, head]) {
  if (![left, foot, head].every(isNumber)) return;
  const box = [left, Math.min(foot, head), left + width, Math.max(foot, head)];
  const place = { x: left, y: box[1], width, height: Math.max(box[3] - box[1], 0.75) };
  sheet.under.append(tint(svg("rect", { ...place, class: series.faint ? "bar faint" : "bar" }), look));
  sheet.drawn.push(box);
  sheet.targets.push({ box, series, point });
}

function bars(sheet, series, look) {
  for (const point of series.points) {
    const [left, width] = sheet.slot(series, point);
    column(sheet, series, look, point, [left + 0.5, width - 1], [sheet.ground, sheet.y.place(point.y)]);
    whisker(sheet, left + width / 2, point, INK);
    if (point.label) sheet.labels.push({ text: point.label, x: left + width / 2, y: above(sheet, point), above: true });
  }
}

function stack(sheet, series, look) {
  for (const point of series.points) {
    const foot = sheet.heights.get(point.x) ?? 0;
    const head = foot + point.y;
    sheet.heights.set(point.x, head);
    const [left, width] = sheet.slot(series, point);
    const ends = [foot, head].map((value, at) => (at || value > 0 ? sheet.y.place(value) : sheet.ground));
    column(sheet, series, look, point, [left, width], ends);
    const fits = ends[0] - ends[1] > LINE && textWidth(point.label ?? "") < width;
    if (!point.label || !fits) continue;
    const box = boxAround(left + width / 2, (ends[0] + ends[1]) / 2, [point.label]);
    sheet.front.append(written(box, [point.label], "inside"));
  }
}

function band(sheet, series, look) {
  const edge = (side) => places(sheet, series, side);
  const d = path([...edge("high"), ...edge("low").reverse()], true);
  sheet.under.append(tint(svg("path", { d, class: "band" }), look));
}

function region(sheet, series, look) {
  sheet.under.append(tint(svg("path", { d: path(places(sheet, series), true), class: "band" }), look));
}

function spans(sheet, series, look) {
  sheet.under.append(tint(svg("path", { d: path(places(sheet, series), true), class: "bar" }), look));
}

function line(sheet, series, look) {
  curve(sheet, series, look);
  marks(sheet, series, look);
}

const FORMS = { line, marks, bars, stack, fit: curve, projection: curve, band, region, spans, frontier: curve };

// Bars of several series share the place at their x; one that stands alone there has all of it.
function slots(panel, x) {
  const standing = panel.series.filter((series) => series.form === "bars" || series.form === "stack");
  const columns = new Map();
  const owner = (series) => (series.form === "bars" ? series : "stack"); // all of a stack share one place
  for (const series of standing) {
    for (const point of series.points) {
      const there = columns.get(point.x) ?? columns.set(point.x, []).get(point.x);
      if (!there.includes(owner(series))) there.push(owner(series));
    }
  }
  const across = [...columns.keys()].map(x.place).filter(isNumber).sort((a, b) => a - b);
  const apart = across.slice(1).map((place, at) => place - across[at]);
  const named = panel.x.scale === "names";
  const gap = named ? Math.abs(x.place(1) - x.place(0)) : Math.min((x.to - x.from) / 4, ...apart);
  const most = Math.max(1, ...[...columns.values()].map((there) => there.length));
  const width = Math.min((0.8 * gap) / most, 64);
  return (series, point) => {
    const there = columns.get(point.x);
    return [x.place(point.x) + width * (there.indexOf(owner(series)) - there.length / 2), width];
  };
}

// The values that a panel's axes must hold.
function extents(panel) {
  const heights = new Map();
  const [across, up] = [[], []];
  for (const { form, points } of panel.series) {
    for (const { x, y, low, high } of points) {
      across.push(x);
      if (form === "stack") heights.set(x, (heights.get(x) ?? 0) + y);
      else up.push(...(SPREAD.includes(form) ? [y, low, high] : [y]).filter(isNumber));
      if (form === "bars" || form === "stack") up.push(0);
    }
  }
  for (const rule of panel.rules) (rule.axis === "x" ? across : up).push(rule.at);
  across.push(...panel.callouts.map(({ x }) => x));
  up.push(...panel.callouts.map(({ y }) => y));
  const labelled = panel.series.some(({ points }) => points.some((point) => point.label));
  const above = 1 + (labelled ? 1.2 : 0) + (panel.callouts.length ? 2 : 0); // room for texts
  return { x: across.filter(isNumber), y: [...up, ...heights.values()].filter(isNumber), above };
}
