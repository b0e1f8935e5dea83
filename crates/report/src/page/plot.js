// Plots, drawn with the marks, colours and ranges of the SVG files beside the page.

const SMALL = 12, MARK = 4.4;
const PLUS = [[-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4], [0.4, 1.2], [-0.4, 1.2], [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]];
const SHAPES = [
  null,
  [[-0.88, -0.88], [0.88, -0.88], [0.88, 0.88], [-0.88, 0.88]],
  [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]],
  [[0, -1.3], [1.15, 0], [0, 1.3], [-1.15, 0]],
  [[0, 1.2], [1.1, -0.8], [-1.1, -0.8]],
  PLUS,
  PLUS.map(([a, b]) => [(a - b) * Math.SQRT1_2, (a + b) * Math.SQRT1_2]),
];

const widthOf = (() => {
  const context = document.createElement("canvas").getContext("2d");
  return (text, size) => { context.font = `${size}px sans-serif`; return context.measureText(text).width; };
})();

/** The smallest of 1, 2, 5 times a power of ten that is not smaller. */
function niceStep(raw) {
  if (!(raw > 0 && isFinite(raw))) return 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 5].find((factor) => factor * power >= raw * (1 - 1e-9)) || 10);
}

function ticks([low, high], wanted, whole) {
  const step = Math.max(niceStep((high - low) / Math.max(wanted, 1)), whole ? 1 : 0);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++) found.push([i * step, (i * step).toFixed(digits)]);
  return found;
}

function mark(x, y, style, size = MARK) {
  const corners = SHAPES[style.shape % 7];
  const d = corners && "M" + corners.map(([a, b]) => `${(x + a * size).toFixed(1)},${(y + b * size).toFixed(1)}`).join("L") + "Z";
  const look = { class: style.hollow ? "mark hollow" : "mark", style: `--c:${style.color}` };
  return corners ? svg("path", { d, ...look }) : svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: size, ...look });
}

function sample(style) {
  const line = style.joined && svg("line", { x1: 0, x2: 28, y1: 8, y2: 8, class: "joined", style: `--c:${style.color}` });
  return svg("svg", { width: 28, height: 16, "aria-hidden": "true" }, line, mark(14, 8, style));
}

const digits = (value) => String(Number(value.toPrecision(4)));

/**
 * Draws `plot` into `place` and gives a function that draws it again. `shows(run)` says which runs are wanted, `open(run)` is
 * called for a point that is chosen, `name(run)` says what it is.
 */
function drawPlot(place, plot, { shows, open, name }) {
  const off = new Set();
  const tip = el("div", { class: "tip", hidden: true, "aria-live": "polite" });
  const frames = el("div", { class: "frames" });
  const legend = el("ul", { class: "legend", "aria-label": "Series" });
  const crowded = plot.frames.some((frame) => frame.x.places && (frame.x.places.length > 24 || frame.beside));
  const wide = plot.frames.length === 1 || (crowded && plot.frames.length <= 4);
  let most = 12;

  const entries = plot.series.map((style, i) => el("button", {
    type: "button", "aria-pressed": "true", title: "Click: on and off. Double click: this one alone.",
    onclick: () => { off.has(i) ? off.delete(i) : off.add(i); draw(); },
    ondblclick: () => {
      const alone = off.size === plot.series.length - 1 && !off.has(i);
      plot.series.forEach((_, j) => (alone || j === i ? off.delete(j) : off.add(j)));
      draw();
    },
  }, sample(style), style.name));
  if (entries.length > 1) legend.append(...entries.map((entry) => el("li", {}, entry)));
  const dash = (kind, text) => el("li", { class: "key" }, svg("svg", { width: 28, height: 16, "aria-hidden": "true" }, svg("line", { x1: 0, x2: 28, y1: 8, y2: 8, class: kind })), text);
  const levels = new Map(plot.frames.flatMap((frame) => (frame.levels || []).map(([text, , dotted]) => [text, dotted])));
  for (const [text, dotted] of levels) legend.append(dash(dotted ? "level dotted" : "level", text));
  if (plot.line) legend.append(dash("guide", plot.line));
  if (plot.frames.some((frame) => frame.points.some((points) => points.low))) legend.append(el("li", { class: "key" }, "Bars and bands: 95 % intervals."));

  const more = el("button", { type: "button", hidden: true, onclick: () => { most = Infinity; draw(); } });
  const none = el("p", { class: "note", hidden: true }, "None of the runs that are shown is drawn here.");
  const seen = (own) => (own.runs ? own.runs.some(shows) : own.run ? own.run.some((run) => run === null || shows(run)) : true);

  function draw() {
    entries.forEach((entry, i) => entry.setAttribute("aria-pressed", String(!off.has(i))));
    tip.hidden = true;
    const old = new Map([...frames.querySelectorAll(".scroll")].map((scroll, i) => [i, scroll.scrollLeft]));
    // Of what was filtered out there is no frame.
    const wanted = plot.frames.filter((frame) => frame.points.some(seen));
    const gap = 16, fit = Math.floor((frames.clientWidth + gap) / ((crowded ? 480 : 320) + gap));
    const columns = wide ? 1 : Math.max(1, Math.min(wanted.length, plot.across || 6, fit));
    const width = Math.floor((frames.clientWidth - gap * (columns - 1)) / columns);
    frames.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    frames.replaceChildren(...wanted.slice(0, most).map((frame) => drawFrame(frame, Math.min(width, wide ? 1240 : 620))));
    more.hidden = wanted.length <= most;
    more.textContent = `Show the other ${wanted.length - most} of ${wanted.length}`;
    none.hidden = wanted.length > 0;
    [...frames.querySelectorAll(".scroll")].forEach((scroll, i) => { scroll.scrollLeft = old.get(i) || 0; });
  }

  function drawFrame(frame, room) {
    const { x, y, levels = [], line = [] } = frame;
    const places = x.places || [];
    const yTicks = ticks([y.range[0], y.range[1]], 6);
    const left = 30 + Math.max(...yTicks.map(([, text]) => widthOf(text, SMALL)), 10);
    const longest = Math.max(0, ...places.map((text) => widthOf(text, SMALL)));
    const pitch = 9, least = x.turned ? places.length * 13 : frame.beside ? places.length * (plot.series.length * pitch + 18) : places.length * (longest + 8);
    const width = Math.max(room, Math.min(left + 14 + least, 2400));
    const top = 12, inner = wide ? 300 : 230;
    const below = x.turned ? longest + 40 : 50;
    const right = width - 12, bottom = top + inner;
    const X = (value) => left + (value - x.range[0]) / (x.range[1] - x.range[0]) * (right - left);
    const Y = (value) => top + (y.range[1] - value) / (y.range[1] - y.range[0]) * inner;
    const text = (at, size, turned, anchor, content) => svg("text", { x: at[0].toFixed(1), y: at[1].toFixed(1), "font-size": size, "text-anchor": anchor, transform: turned ? `rotate(-90 ${at[0].toFixed(1)} ${at[1].toFixed(1)})` : null }, content);
    const straight = (x1, y1, x2, y2, kind) => svg("line", { x1: x1.toFixed(1), y1: y1.toFixed(1), x2: x2.toFixed(1), y2: y2.toFixed(1), class: kind });
    const drawn = [], marks = [], points = [];

    if (frame.beside) places.forEach((_, i) => { if (i % 2) drawn.push(svg("rect", { x: X(i - 0.5).toFixed(1), y: top, width: (X(1) - X(0)).toFixed(1), height: inner, class: "stripe" })); });
    for (const [value, label] of yTicks) drawn.push(straight(left, Y(value), right, Y(value), "grid"), text([left - 7, Y(value) + 4], SMALL, false, "end", label));
    drawn.push(straight(left, top, left, bottom, "axis"), straight(left, bottom, right, bottom, "axis"), text([13, top + inner / 2], 13, true, "middle", y.title));
    let xTicks;
    if (places.length) {
      const every = x.turned ? Math.ceil(13 * places.length / (right - left)) : 1;
      xTicks = places.map((label, i) => [i, label]).filter(([i]) => i % every === 0);
    } else if (x.log) {
      xTicks = ticks(x.range, 8, true).map(([value]) => [value, String(10 ** value)]);
    } else xTicks = ticks(x.range, Math.max(2, (right - left) / 60), x.whole);
    for (const [value, label] of xTicks) {
      drawn.push(straight(X(value), bottom, X(value), bottom + 5, "axis"));
      drawn.push(x.turned ? text([X(value) + 4, bottom + 9], SMALL, true, "end", label) : text([X(value), bottom + 19], SMALL, false, "middle", label));
    }
    drawn.push(text([(left + right) / 2, bottom + below - 10], 13, false, "middle", x.title));
    for (const [, value, dotted] of levels) drawn.push(straight(left, Y(value), right, Y(value), dotted ? "level dotted" : "level"));
    const path = (pairs) => "M" + pairs.map(([a, b]) => `${X(a).toFixed(1)},${Y(b).toFixed(1)}`).join("L");
    if (line.length > 1) drawn.push(svg("path", { d: path(line), class: "guide" }));

    const slot = places.length ? (right - left) / places.length : 0;
    const step = Math.min((slot - 18) / plot.series.length, 24);
    for (const own of frame.points) {
      if (off.has(own.series) || !seen(own)) continue;
      const style = plot.series[own.series];
      const shift = frame.beside ? (own.series - (plot.series.length - 1) / 2) * step : 0;
      const inside = own.x.map((_, i) => i).filter((i) => !own.run || own.run[i] === null || shows(own.run[i]));
      const color = { style: `--c:${style.color}` };
      if (style.joined && own.low && inside.length) {
        const band = inside.map((i) => [own.x[i], own.low[i]]).concat(inside.map((i) => [own.x[i], own.high[i]]).reverse());
        drawn.push(svg("path", { d: path(band) + "Z", class: "band", ...color }));
      }
      if (style.joined && inside.length > 1) drawn.push(svg("path", { d: path(inside.map((i) => [own.x[i], own.y[i]])), class: "joined", ...color }));
      for (const i of inside) {
        const at = { x: X(own.x[i]) + shift, y: Y(own.y[i]), series: own.series, run: own.run ? own.run[i] : own.runs && own.runs.length === 1 ? own.runs[0] : null };
        if (own.low && !style.joined) marks.push(svg("line", { x1: at.x.toFixed(1), x2: at.x.toFixed(1), y1: Y(own.low[i]).toFixed(1), y2: Y(own.high[i]).toFixed(1), class: "whisker", ...color }));
        // Many points on a line would cover it.
        if (!style.joined || own.x.length <= 60) marks.push(mark(at.x, at.y, style));
        const where = places.length ? places[own.x[i]] : x.log ? `${digits(10 ** own.x[i])} s` : `${x.title} ${digits(own.x[i])}`;
        // A run's name says its series and its bits.
        const known = at.run === null ? [style.name, where] : frame.beside || x.title === "weight bits" ? [] : [where];
        at.said = [...known, digits(own.y[i]) + (own.low ? ` (${own.low[i].toFixed(2)}–${own.high[i].toFixed(2)})` : "") + ` ${y.title}`];
        points.push(at);
      }
    }
    const ring = svg("circle", { r: 8, class: "ring", visibility: "hidden" });
    const picture = svg("svg", { viewBox: `0 0 ${width} ${bottom + below}`, width, height: bottom + below, role: "group", tabindex: 0, "aria-label": `${plot.title}${frame.title ? ": " + frame.title : ""}: ${y.title} against ${x.title}, ${points.length} points; arrow keys go from point to point, Enter opens a run` }, drawn, marks, ring);
    let at = -1;
    const go = (to) => {
      at = to;
      ring.setAttribute("visibility", at < 0 ? "hidden" : "visible");
      tip.hidden = at < 0;
      if (at < 0) return;
      const point = points[at];
      ring.setAttribute("cx", point.x);
      ring.setAttribute("cy", point.y);
      const run = point.run === null ? [] : [el("b", {}, name(point.run))];
      tip.replaceChildren(...run, ...point.said.map((said) => el("span", {}, said)));
      const box = picture.getBoundingClientRect(), outer = place.getBoundingClientRect();
      const middle = box.left - outer.left + point.x;
      tip.style.top = `${box.top - outer.top + point.y + 14}px`;
      tip.style.left = `${Math.max(0, Math.min(middle - tip.offsetWidth / 2, outer.width - tip.offsetWidth))}px`;
    };
    const nearest = (event) => {
      const box = picture.getBoundingClientRect();
      const [px, py] = [event.clientX - box.left, event.clientY - box.top];
      let best = -1, least = 30;
      points.forEach((point, i) => { const far = Math.hypot(point.x - px, point.y - py); if (far < least) [best, least] = [i, far]; });
      return best;
    };
    const choose = (i) => { if (i >= 0 && points[i].run !== null) open(points[i].run); };
    picture.addEventListener("pointermove", (event) => { const to = nearest(event); if (to !== at) go(to); });
    picture.addEventListener("pointerleave", () => go(-1));
    picture.addEventListener("blur", () => go(-1));
    picture.addEventListener("click", (event) => { const to = nearest(event); go(to); choose(to); });
    picture.addEventListener("keydown", (event) => {
      const series = at < 0 ? 0 : points[at].series;
      const first = (wanted) => points.findIndex((point) => point.series === wanted);
      const others = [...new Set(points.map((point) => point.series))];
      const beside = (by) => { const to = others[others.indexOf(series) + by]; return to === undefined ? at : Math.min(points.length - 1, first(to) + Math.max(0, at - first(series))); };
      const moves = { ArrowRight: () => Math.min(at + 1, points.length - 1), ArrowLeft: () => Math.max(at - 1, 0), ArrowDown: () => beside(1), ArrowUp: () => beside(-1), Home: () => 0, End: () => points.length - 1 };
      if (moves[event.key] && points.length) { event.preventDefault(); go(moves[event.key]()); }
      else if (event.key === "Enter") choose(at);
      else if (event.key === "Escape" && at >= 0) { event.preventDefault(); go(-1); }
    });
    return el("figure", {}, frame.title && el("figcaption", {}, frame.title), el("div", { class: "scroll" }, picture));
  }

  place.replaceChildren(none, frames, more, legend, tip);
  draw();
  return draw;
}
