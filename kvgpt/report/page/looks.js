// How a series looks: its colour on light and on dark paper, its marker and its line.

const INK = { light: "#1C2127", dark: "#E4E8EC" };
const DASHES = { "-": "", "--": "6 3", ":": "1.5 2.5", "-.": "6 2.5 1.5 2.5" };
const CORNERS = {
  // how many, and the direction of the first in degrees
  s: [4, 45], D: [4, 0], d: [4, 0], "^": [3, -90], v: [3, 90], "<": [3, 180], ">": [3, 0],
  p: [5, -90], h: [6, -90], H: [6, 0], 8: [8, 22.5],
};
const STARS = { "*": 5, "4,1,0": 4, "6,1,0": 6 }; // how many points, by Matplotlib's name or list
const ARMS = { x: [45, 135, 225, 315], "+": [0, 90, 180, 270], "|": [90, 270], _: [0, 180], 1: [90, 210, 330],
  2: [270, 30, 150], 3: [180, 300, 60], 4: [0, 120, 240] }; // their directions in degrees

// Browsers that do not know light-dark() keep the colour for light paper.
function tint(element, look) {
  element.style.color = look.light;
  element.style.color = `light-dark(${look.light}, ${look.dark})`;
  return element;
}

const dashes = (line) => (Array.isArray(line) ? line.map((length) => 1.5 * length).join(" ") : DASHES[line] ?? "");

const turned = (x, y, radius, degrees) => [
  x + radius * Math.cos((degrees * Math.PI) / 180),
  y + radius * Math.sin((degrees * Math.PI) / 180),
];

function outline(kind, x, y, r) {
  if (kind in STARS) {
    const step = 180 / STARS[kind];
    return Array.from({ length: 360 / step }, (_, at) => turned(x, y, at % 2 ? 0.55 * r : 1.35 * r, -90 + step * at));
  }
  if (kind === "P" || kind === "X") {
    const arm = 0.36 * r;
    const half = [[arm, arm], [arm, r], [-arm, r], [-arm, arm], [-r, arm], [-r, -arm]];
    const plus = [...half, ...half.map(([a, b]) => [-a, -b])];
    const by = kind === "P" ? 0 : 45;
    return plus.map(([a, b]) => turned(x, y, Math.hypot(a, b), by + (Math.atan2(b, a) * 180) / Math.PI));
  }
  const [corners, first] = CORNERS[kind];
  const round = Array.from({ length: corners }, (_, at) => turned(x, y, 1.15 * r, first + (360 / corners) * at));
  return kind === "d" ? round.map(([across, down]) => [x + 0.6 * (across - x), down]) : round;
}

function marker(look, x, y, faint, r = 4) {
  const attributes = { class: faint ? "marker faint" : "marker" };
  if (look.marker === "o") return svg("circle", { cx: x, cy: y, r, ...attributes });
  if (look.marker in ARMS) {
    const arms = ARMS[look.marker].map((angle) => path([[x, y], turned(x, y, 1.15 * r, angle)]));
    return svg("path", { d: arms.join(""), class: "marker arms" });
  }
  return svg("path", { d: path(outline(look.marker, x, y, r), true), ...attributes });
}

const AREAS = { bars: "bar", stack: "bar", slices: "bar", band: "band", region: "band" };

// A small picture of a series, for legends and the filter.
function swatch(look, form, faint = false) {
  const drawn = tint(svg("svg", { width: 26, height: 12, "aria-hidden": "true", class: "swatch" }), look);
  const area = AREAS[form];
  if (area) {
    drawn.append(svg("rect", { x: 6, y: 1, width: 14, height: 10, class: faint ? `${area} faint` : area }));
    return drawn;
  }
  if (form !== "marks") drawn.append(svg("path", { d: "M1 6H25", class: `stroke ${form}`, ...dashed(form, look) }));
  if (form === "line" || form === "marks") drawn.append(marker(look, 13, 6, faint));
  return drawn;
}

// Curves beyond what was measured are dashed whosever they are, and so is a frontier.
function dashed(form, look) {
  const pattern = { line: dashes(look.line), projection: "5 4", frontier: "4 4" }[form];
  return pattern ? { "stroke-dasharray": pattern } : {};
}
