// Texts inside a panel, put where they cover nothing: a box is [left, top, right, bottom].

const LINE = 13;
const measure = document.createElement("canvas").getContext("2d");
measure.font = "11px system-ui, sans-serif";

const textWidth = (text) => measure.measureText(text).width;
const shortened = (text, most = 28) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

const overlap = (a, b) =>
  Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));

// Lines of about the same length, none longer than so many characters.
function wrapped(text, longest = 34) {
  const most = Math.min(longest, Math.ceil(text.length / Math.ceil(text.length / longest)) + 4);
  const lines = [""];
  for (const word of shortened(text, 160).split(/\s+/).map((one) => shortened(one, most))) {
    const last = lines.at(-1);
    if (last && last.length + word.length >= most) lines.push(word);
    else lines[lines.length - 1] = last ? `${last} ${word}` : word;
  }
  return lines;
}

function boxAround(x, y, lines) {
  const half = Math.max(...lines.map(textWidth)) / 2;
  return [x - half, y - (LINE * lines.length) / 2, x + half, y + (LINE * lines.length) / 2];
}

function moved([left, top, right, bottom], frame) {
  const across = Math.max(frame[0] - left, 0) + Math.min(frame[2] - right, 0);
  const down = Math.max(frame[1] - top, 0) + Math.min(frame[3] - bottom, 0);
  return [left + across, top + down, right + across, bottom + down];
}

function written(box, lines, name) {
  const middle = (box[0] + box[2]) / 2;
  const spans = lines.map((line, at) => svg("tspan", { x: middle, y: box[1] + LINE * at + 10 }, line));
  return svg("text", { class: name, "text-anchor": "middle" }, ...spans);
}

const covered = (box, others) => others.reduce((sum, other) => sum + overlap(box, other), 0);

// The least covered of these boxes; texts weigh more than what is drawn.
function freest(boxes, texts, drawn) {
  const cost = (box) => 20 * covered(box, texts) + covered(box, drawn);
  return boxes.reduce((best, box) => (cost(box) < cost(best) ? box : best));
}

// Labels of points that coincide as one, a name after the other.
function together(labels) {
  const groups = [];
  for (const label of labels) {
    const near = groups.find((one) => !one.above && !label.above && Math.hypot(one.x - label.x, one.y - label.y) < 4);
    if (!near) groups.push({ ...label, texts: [label.text] });
    else if (!near.texts.includes(label.text)) near.texts.push(label.text);
  }
  return groups.map((one) => ({ ...one, text: one.texts.join(", ") }));
}

// A label beside its point, or none where it would cover another text.
function labelled(label, texts, drawn, frame) {
  const lines = [shortened(label.text)];
  const aside = textWidth(lines[0]) / 2 + 8;
  const { x, y } = label;
  const around = label.above ? [[0, -9]] : [[0, -12], [aside, 0], [-aside, 0], [0, 13], [aside, -9], [-aside, -9]];
  const boxes = around.map(([right, down]) => moved(boxAround(x + right, y + down, lines), frame));
  const box = freest(boxes, texts, drawn);
  if (covered(box, texts) > 0) return null;
  texts.push(box);
  return written(box, lines, "label");
}

// A short text some way off, and an arrow from it.
function callout(text, x, y, texts, drawn, frame) {
  const lines = wrapped(text);
  const half = Math.max(...lines.map(textWidth)) / 2;
  const boxes = [34, 54, 80, 120, 170].flatMap((distance) =>
    [-90, -135, -45, 180, 0, 135, 45, 90].map((angle) => {
      const [right, down] = turned(0, 0, distance, angle);
      return moved(boxAround(x + right * (1 + half / distance), y + down, lines), frame);
    }),
  );
  const box = freest(boxes, texts, drawn);
  texts.push(box);
  const start = [Math.min(Math.max(x, box[0]), box[2]), Math.min(Math.max(y, box[1]), box[3])];
  const angle = (Math.atan2(y - start[1], x - start[0]) * 180) / Math.PI;
  const tip = turned(x, y, 5, angle + 180);
  const head = [tip, turned(...tip, 7, angle + 155), turned(...tip, 7, angle - 155)];
  return svg(
    "g",
    { class: "callout" },
    svg("path", { d: path([start, tip]), class: "arrow" }),
    svg("path", { d: path(head, true), class: "head" }),
    written(box, lines, "said"),
  );
}
