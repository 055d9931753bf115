// What a reader's choice leaves of a panel. A choice says what is left out, so what it does not name stays.

const EVERYTHING = { variants: new Set(), batches: new Set(), from: -Infinity, to: Infinity };
const WHOLE = ["frontier", "region", "spans"]; // what is no longer true when one of its points is missing
const CURVED = ["fit", "projection", "band"];
const MEASURED = ["line", "marks", "bars", "stack", "slices"];

const measures = (panel) => panel.series.some((one) => MEASURED.includes(one.form));

const inRange = (choice, length) => length === undefined || (length >= choice.from && length <= choice.to);

function chosen(choice, cases, series, point, lengthsAcross) {
  const owners = series.variant !== null ? [series.variant] : (point.cases ?? []).map((at) => cases[at].variant);
  const length = point.length ?? (lengthsAcross && CURVED.includes(series.form) ? point.x : undefined);
  return (
    !owners.some((owner) => choice.variants.has(owner)) &&
    !choice.batches.has(point.batch_size) &&
    inRange(choice, length)
  );
}

// The names at which something stands, or at which nothing ever stood, close ranks.
function ranks(names, all, kept, along) {
  const standing = (points) => new Set(points.map((point) => Math.round(point[along])));
  const [before, after] = [standing(all), standing(kept)];
  const places = names.map((_, at) => at).filter((at) => after.has(at) || !before.has(at));
  const rank = new Map(places.map((at, place) => [at, place]));
  return { names: places.map((at) => names[at]), rank };
}

const shifted = (rank, at) => {
  const nearest = Math.round(at);
  return rank.has(nearest) ? rank.get(nearest) + at - nearest : null;
};

function zoneShifted(rank, zone) {
  const holds = (at) => (zone.low ?? -Infinity) <= at && at <= (zone.high ?? Infinity);
  const inside = [...rank].filter(([at]) => holds(at)).map(([, place]) => place);
  if (!inside.length) return null;
  const [low, high] = [Math.min(...inside) - 0.5, Math.max(...inside) + 0.5];
  return { ...zone, low: zone.low === null ? null : low, high: zone.high === null ? null : high };
}

function closed(panel, along, all) {
  const kept = panel.series.flatMap((series) => series.points);
  const { names, rank } = ranks(panel[along].names, all, kept, along);
  const shift = (one) => ({ ...one, [along]: shifted(rank, one[along]) });
  const there = (one) => one[along] !== null;
  return {
    ...panel,
    [along]: { ...panel[along], names },
    series: panel.series.map((series) => ({ ...series, points: series.points.map(shift).filter(there) })),
    callouts: panel.callouts.map(shift).filter(there),
    zones: panel.zones.map((zone) => (zone.axis === along ? zoneShifted(rank, zone) : zone)).filter(Boolean),
  };
}

function selected(panel, choice, cases) {
  const all = panel.series.flatMap((series) => series.points);
  const sized = all.filter((point) => point.length !== undefined);
  const lengthsAcross = sized.length > 0 && sized.every((point) => point.length === point.x);
  const left = (one) => one.points.filter((point) => chosen(choice, cases, one, point, lengthsAcross));
  const series = panel.series
    .map((one) => ({ ...one, points: left(one) }))
    .filter((one, at) => !(WHOLE.includes(one.form) && one.points.length < panel.series[at].points.length))
    .filter((one) => one.points.length);
  const kept = series.flatMap((one) => one.points);
  const at = (one) => (point) => point.x === one.x && point.y === one.y;
  const callouts = panel.callouts.filter((one) => kept.some(at(one)) || !all.some(at(one)));
  const rest = { ...panel, series, callouts, filtered: kept.length < all.length };
  if (measures(panel) && !measures(rest)) return { ...rest, series: [] }; // curves through nothing
  return ["x", "y"].reduce((made, along) => (made[along].scale === "names" ? closed(made, along, all) : made), rest);
}
