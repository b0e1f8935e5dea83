// The panel of a run: settings, figures, layers, confusions, flipped images, manifest, provenance.

/** A column of the pool, whole. */
const pooled = (place) => {
  const column = DATA.pool[place];
  return Array.isArray(column) ? column : column.i.map((i) => column.d[i]);
};

const plain = (value) => (value === null || value === undefined ? "" : Math.abs(value) >= 1e-3 && Math.abs(value) < 1e6 || value === 0 ? String(Number(value.toPrecision(5))) : value % 1 === 0 ? String(value) : value.toExponential(3));

/** A table of texts; the first `text` columns are words. */
function grid(heads, rows, text = 1, caption = null) {
  const cell = (content, i) => el("td", { class: i < text ? null : "number" }, content);
  return el("div", { class: "scroll" }, el("table", {}, caption && el("caption", { class: "hidden" }, caption), el("thead", {}, el("tr", {}, heads.map((head, i) => el("th", { scope: "col", class: i < text ? null : "number" }, head)))), el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell))))));
}

function pairsOf(said, run) {
  return said.map(({ key, d, i, differs }) => [key, d[i[run]], differs]).filter(([, value]) => value !== "");
}

function list(pairs) {
  return el("dl", {}, pairs.map(([key, value, differs]) => el("div", { class: differs ? "differs" : null }, el("dt", {}, key), el("dd", {}, value))));
}

const part = (title, ...content) => el("section", {}, el("h3", {}, title), content);

/** Fills the panel for a run. */
function showRun(dialog, index, go) {
  const run = RUNS[index], at = order.indexOf(index);
  const step = (by, label, key) => el("button", { type: "button", class: "step", disabled: at < 0 || order[at + by] === undefined, "aria-label": label, "aria-keyshortcuts": key, title: `${label} (${key})`, onclick: () => go(order[at + by]) }, by < 0 ? "‹" : "›");
  const head = el("header", {},
    el("div", {}, el("h2", { id: "run-title" }, run.label), el("p", { class: "small" }, el("code", {}, run.id), at < 0 ? "" : `, ${at + 1} of ${order.length}`)),
    el("div", { class: "buttons" }, step(-1, "Previous run", "ArrowLeft"), step(1, "Next run", "ArrowRight"), el("button", { type: "button", id: "close", "aria-label": "Close", title: "Close (Escape)", onclick: () => dialog.close() }, "×")));
  const row = COLUMNS.filter((column) => column.kind === "number" && column.text[index] !== "");
  const body = el("div", { class: "body", tabindex: 0, "aria-label": run.label },
    run.failed !== undefined ? el("p", { class: "problem" }, "Failed: ", run.failed) : null,
    row.length && run.failed === undefined ? el("dl", { class: "figures" }, row.map((column) => el("div", {}, el("dt", {}, column.head), el("dd", {}, column.text[index])))) : null,
    el("div", { class: "two" },
      part("Settings", list(pairsOf(DATA.settings, index)), el("p", { class: "small" }, "Marked: those in which the runs of this experiment differ.")),
      el("div", {}, figures(run), part("Provenance", list(pairsOf(DATA.provenance, index))), take(index))),
    epochs(run), layers(run), confusion(run), flips(run), manifest(run));
  dialog.replaceChildren(head, body);
  return body;
}

function figures(run) {
  const rows = run.network.map(([metric, value, n, unit]) => [metric, plain(value), String(n), unit]);
  const float = run.float === undefined ? null : el("p", { class: "small" }, "Compared with ", el("a", { href: `#run=${RUNS[run.float].id}` }, RUNS[run.float].id), ".");
  return rows.length ? part("Of the whole network", grid(["metric", "value", "of n", "unit"], rows), float) : null;
}

/** The commands that make the run again and take its network away. */
function take(index) {
  // The float run comes with any other; an architecture comes with its model.
  const float = pairsOf(DATA.settings, index).some(([key, value]) => key === "method" && value === "float");
  const differs = float ? [] : DATA.settings.filter(({ key, given, differs }) => given && differs && key !== "model.arch");
  const set = pairsOf(differs, index).map(([key, value]) => `--set ${/[^\w.=-]/.test(`${key}=${value}`) ? `'${key}=${value}'` : `${key}=${value}`}`);
  const lines = [["make it again", ["just sweep", `experiments/${DATA.experiment}.toml`, ...set].join(" ")]];
  if (RUNS[index].failed === undefined && !float) lines.push(["take its network away", `just export net.onnx --run ${RUNS[index].id}`]);
  return part("Commands", lines.map(([what, line]) => el("p", { class: "small" }, `To ${what}:`, el("code", { class: "command" }, line))));
}

function epochs(run) {
  if (!run.epochs) return null;
  const rows = run.epochs.map(([epoch, lr, loss, train, test]) => [String(epoch), plain(lr), plain(loss), (100 * train).toFixed(2), test === null ? "" : (100 * test).toFixed(2)]);
  return part("Training", grid(["epoch", "learning rate", "loss (nats)", "training top-1 %", "test top-1 %"], rows, 0));
}

function layers(run) {
  if (!run.layers.length) return null;
  const names = [], values = new Map();
  for (const { metric, names: own, values: numbers } of run.layers) {
    const of = new Map();
    pooled(own).forEach((name, i) => { of.set(name, pooled(numbers)[i]); if (!names.includes(name)) names.push(name); });
    values.set(metric, of);
  }
  const sqnr = run.layers.find(({ metric }) => metric === "weight_sqnr" || metric === "latent_sqnr");
  const picture = el("div", { class: "plot" });
  if (sqnr) {
    const [own, numbers] = [pooled(sqnr.names), pooled(sqnr.values)];
    const low = Math.min(0, ...numbers), high = Math.max(...numbers);
    const step = niceStep(Math.max(high - low, 1) / 6);
    const frame = { title: "", x: { title: "layer", range: [-0.5, own.length - 0.5], places: own, turned: true }, y: { title: `${sqnr.metric.replace("_", " ").replace("sqnr", "SQNR")} (dB)`, range: [Math.floor(low / step) * step, Math.ceil(high / step) * step] }, points: [{ series: 0, x: own.map((_, i) => i), y: numbers }] };
    const plot = { title: "SQNR of layers", series: [{ name: run.label, color: DATA.palette[0], shape: 0, joined: true }], frames: [frame] };
    // It has no width before the panel is open.
    requestAnimationFrame(() => drawPlot(picture, plot, { shows: () => true, open: () => {}, name: () => "" }));
  }
  const heads = ["layer", ...run.layers.map(({ metric, unit }) => metric.replaceAll("_", " ") + (unit && !["values", "bits"].includes(unit) ? ` (${unit})` : ""))];
  const rows = names.map((name) => [name, ...run.layers.map(({ metric }) => plain(values.get(metric).get(name)))]);
  return part("Layers", picture, el("details", { open: !sqnr }, el("summary", {}, `All metrics of ${names.length} layers and sites`), grid(heads, rows)));
}

const className = (run, k) => (DATA.sets[run.set] && DATA.sets[run.set].classes[k]) || `class ${k}`;

function confusion(run) {
  const own = run.confusion;
  if (!own) return null;
  const float = run.float === undefined ? undefined : RUNS[run.float];
  const content = [];
  let pairs = own.pairs;
  if (own.matrix) {
    const n = own.classes, count = (matrix, a, b) => matrix[a * n + b];
    pairs = own.matrix.map((images, i) => [Math.floor(i / n), i % n, images]).filter(([a, b, images]) => a !== b && images);
    pairs.sort((a, b) => b[2] - a[2] || a[0] - b[0] || a[1] - b[1]);
    pairs = pairs.slice(0, 8);
    const whole = Array.from({ length: n }, (_, a) => own.matrix.slice(a * n, a * n + n).reduce((x, y) => x + y, 0));
    const base = float && float.confusion && float.confusion.matrix && float.confusion.classes === n ? float.confusion.matrix : null;
    const table = el("div");
    const draw = (minus) => {
      const cell = (a, b) => {
        const value = count(own.matrix, a, b) - (minus ? count(base, a, b) : 0);
        const share = Math.min(1, Math.abs(value) / Math.max(1, whole[a]) * (a === b && !minus ? 1 : 4));
        // More hits are good, more misses are not.
        const kind = minus ? ((a === b) === (value > 0) ? "good" : "bad") : a === b ? "good" : "bad";
        return el("td", { class: `number ${kind}`, style: `--share:${(value ? Math.max(6, 70 * share) : 0).toFixed(0)}%` }, value ? (minus && value > 0 ? "+" : "") + value : "·");
      };
      const name = (k) => className(run, k);
      table.replaceChildren(el("div", { class: "scroll" }, el("table", { class: "confusion" }, el("caption", { class: "hidden" }, "Rows: labels; columns: answers"), el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "label ╲ answer"), Array.from({ length: n }, (_, b) => el("th", { scope: "col", class: "number" }, name(b))))), el("tbody", {}, Array.from({ length: n }, (_, a) => el("tr", {}, el("th", { scope: "row" }, name(a)), Array.from({ length: n }, (_, b) => cell(a, b))))))));
    };
    draw(false);
    if (base) content.push(el("label", {}, el("input", { type: "checkbox", onchange: (event) => draw(event.target.checked) }), "less the float run’s"));
    content.push(table);
  }
  const lines = pairs.map(([a, b, images]) => el("li", {}, `${className(run, a)} taken for ${className(run, b)}: ${images}`));
  content.push(el("p", {}, lines.length ? "Most frequent:" : "No image is taken for another class."), el("ol", { class: "pairs" }, lines));
  return part("Confusion", content);
}

function flips(run) {
  const own = run.flips;
  if (!own) return null;
  const rest = own.total - own.lost - own.won;
  const tile = ([image, label, float, now, place]) => {
    const kind = label === float ? "lost" : label === now ? "won" : "other";
    const said = `Image ${image}: ${className(run, label)}, by the float network ${className(run, float)}, here ${className(run, now)}`;
    return el("figure", { class: `tile ${kind}`, title: said }, place === null ? el("span", { class: "blank" }, image) : el("img", { src: `data:image/png;base64,${DATA.pictures[place]}`, alt: said, loading: "lazy" }),
      el("figcaption", {}, el("b", {}, { lost: "− ", won: "+ ", other: "~ " }[kind], className(run, label)), el("br"), `${className(run, float)} → ${className(run, now)}`));
  };
  const missing = DATA.sets[run.set] && DATA.sets[run.set].missing;
  const [each, most] = DATA.most;
  return part("Images that flip",
    el("p", {}, `${own.total} images get another class than the float network gives them: − ${own.lost} were right and are wrong, + ${own.won} were wrong and are right, ~ ${rest} are wrong in another way.`,
      own.total > own.shown.length ? ` ${own.shown.length} are shown, those that flip in most runs first.` : ""),
    missing ? el("p", { class: "note" }, "No pictures: ", missing) : el("p", { class: "small" }, `At most ${each} images of a run and ${most} pictures of all runs are in this page.`),
    el("div", { class: "tiles" }, own.shown.map(tile)));
}

function manifest(run) {
  const [tensors, kinds, bits, reasons] = run.manifest.map(pooled);
  if (!tensors.length) return null;
  const rows = tensors.map((tensor, i) => [tensor, kinds[i], bits[i] === null ? "float" : String(bits[i]), reasons[i]]);
  const done = bits.filter((width) => width !== null).length;
  return part("Manifest", el("details", {}, el("summary", {}, `${tensors.length} tensors and sites, ${done} of them quantized`), grid(["tensor or site", "kind", "bits", "why"], rows, 4)));
}
