// Reading a panel: a point that the pointer is near, or that the arrow keys have come to, says what it is.

const NEAR = 28; // pixels

function spoken(axis, value) {
  const name = axis.scale === "names" ? axis.names[Math.round(value)] : undefined;
  return name ?? `${axis.label ? `${axis.label}: ` : ""}${figure(value)}`;
}

function interval(point) {
  return isNumber(point.low) && isNumber(point.high) ? ` (${figure(point.low)} to ${figure(point.high)})` : "";
}

function told({ series, point, share }, panel, cases) {
  const behind = (point.cases ?? []).map((at) => cases[at]);
  const part = share === undefined ? [] : [`${(100 * share).toFixed(1)}%`];
  return [
    series.name,
    ...(share === undefined ? [spoken(panel.x, point.x)] : part),
    `${spoken(panel.y, point.y)}${interval(point)}`,
    ...(point.label ? [point.label] : []),
    ...behind.map((one) => (one.valid ? one.name : `${one.name}: not valid: ${one.notes.join("; ")}`)),
  ];
}

function distance([left, top, right, bottom], x, y) {
  return Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
}

function readable(holder, { drawing, targets }, panel, cases) {
  const bubble = html("div", { class: "reading", "aria-live": "polite", hidden: "" });
  const ring = svg("rect", { class: "ring", rx: 5, visibility: "hidden" });
  let current = -1;

  const middle = ({ box: [left, top, right, bottom] }) => [(left + right) / 2, (top + bottom) / 2];
  const order = targets.map((target, at) => at);

  function show(at) {
    current = at;
    const target = targets[at];
    bubble.hidden = !target;
    ring.setAttribute("visibility", target ? "visible" : "hidden");
    if (!target) return;
    const [left, top, right, bottom] = target.box;
    filled(ring, { x: left - 7, y: top - 7, width: right - left + 14, height: bottom - top + 14 }, []);
    bubble.replaceChildren(...told(target, panel, cases).map((text) => html("div", {}, text)));
    const [x] = middle(target);
    const scale = drawing.clientWidth / drawing.viewBox.baseVal.width || 1;
    const room = Math.max(0, holder.clientWidth - bubble.offsetWidth);
    bubble.style.left = `${Math.min(Math.max(0, x * scale - bubble.offsetWidth / 2), room)}px`;
    const offset = drawing.getBoundingClientRect().top - holder.getBoundingClientRect().top;
    const over = offset + top * scale - bubble.offsetHeight - 12;
    bubble.style.top = `${over > -60 ? over : offset + bottom * scale + 12}px`;
  }

  function near(event) {
    const on = drawing.getBoundingClientRect();
    const scale = drawing.viewBox.baseVal.width / on.width;
    const [x, y] = [(event.clientX - on.left) * scale, (event.clientY - on.top) * scale];
    const far = (at) => distance(targets[at].box, x, y) / ((targets[at].reach ?? NEAR) / NEAR);
    const nearest = order.reduce((best, at) => (best < 0 || far(at) < far(best) ? at : best), -1);
    show(nearest >= 0 && far(nearest) <= NEAR ? nearest : -1);
  }

  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  function key(event) {
    const step = steps[event.key];
    if (event.key === "Escape") show(-1);
    if (!step || !targets.length) return;
    event.preventDefault();
    show(current < 0 && step < 0 ? targets.length - 1 : (current + step + targets.length) % targets.length);
  }

  drawing.append(ring);
  const named = { role: "img", "aria-label": `${panel.title || panel.y.label}: arrow keys read its points` };
  filled(drawing, { tabindex: 0, ...named }, []);
  drawing.addEventListener("pointermove", near);
  drawing.addEventListener("pointerdown", near);
  drawing.addEventListener("pointerleave", () => show(-1));
  drawing.addEventListener("keydown", key);
  drawing.addEventListener("blur", () => show(-1));
  holder.append(drawing, bubble);
}
