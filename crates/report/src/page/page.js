// Puts the page together: what was asked and what came, filters, plots, table, notes; what is chosen stands in the address.

const ABOUT = DATA.about;

$("name").textContent = DATA.experiment;
$("question").textContent = ABOUT.question;
if (ABOUT.missing) $("question").replaceChildren(el("span", { class: "note" }, ABOUT.missing));

(function answer() {
  const paragraphs = (text) => text.trim().split(/\n\s*\n/).filter(Boolean).map((part) => el("p", {}, words(part)));
  const card = (title, ...content) => el("section", { class: "card" }, el("h2", {}, title), content);
  const cards = [];
  if (ABOUT.expects) cards.push(card("Expected before the first run", paragraphs(ABOUT.expects)));
  const good = ABOUT.checks.filter((check) => check.holds).length, all = ABOUT.checks.length;
  const check = (own) => el("li", { class: own.holds ? "holds" : "fails" }, el("b", {}, own.holds ? "✓ " : "✗ "), el("a", { href: `#run=${own.run}` }, (RUNS[placeOf.get(own.run)] || { label: own.run }).label), `: ${own.metric.replaceAll("_", " ")} ${plain(own.value)}, expected ${plain(own.expected)}${own.tolerance ? ` ± ${plain(own.tolerance)}` : ""}`);
  const came = [];
  if (ABOUT.found) came.push(...paragraphs(ABOUT.found));
  else if (ABOUT.expects) came.push(el("p", { class: "note" }, "Whether it came so, nobody has written down yet: `found` in the experiment’s file.".split("`").map((text, i) => (i % 2 ? el("code", {}, text) : text))));
  if (all) {
    const lists = el("ul", { class: "checks" }, [...ABOUT.checks].sort((a, b) => a.holds - b.holds).map(check));
    const sentence = `${good} of ${all} counts that had to come out did${ABOUT.unanswered ? `; no run answers ${ABOUT.unanswered} more` : ""}.`;
    came.push(el("details", { open: good < all, class: "checks" }, el("summary", { class: good < all ? "fails" : "holds" }, good < all ? "✗ " : "✓ ", sentence), lists));
  } else if (ABOUT.unanswered) came.push(el("p", { class: "small" }, `No run answers the ${ABOUT.unanswered} counts that have to come out.`));
  came.push(el("ul", { class: "summary" }, DATA.summary.map((sentence) => el("li", {}, sentence))));
  cards.push(card("What came", came));
  $("answer").replaceChildren(...cards);
})();

// What is chosen, in the address: filters, order, words, the open run.
const dialog = $("run");
let opened = -1;

function address() {
  const said = new URLSearchParams();
  for (const [head, values] of wanted.values) said.set("f." + head, [...values].join("|"));
  if (wanted.query) said.set("q", wanted.query);
  if (wanted.sort) said.set("sort", wanted.sort);
  if (opened >= 0) said.set("run", RUNS[opened].id);
  const text = said.toString();
  return text ? "#" + text : location.pathname + location.search;
}

const remember = (push) => { try { history[push ? "pushState" : "replaceState"](null, "", address()); } catch { location.hash = address().split("#")[1] || ""; } };

function openRun(index, push = true) {
  const again = dialog.open;
  opened = index;
  const body = showRun(dialog, index, (to) => openRun(to, false));
  if (!again) dialog.showModal();
  body.focus({ preventScroll: true });
  body.scrollTop = 0;
  remember(push && !again);
}

dialog.addEventListener("close", () => {
  const last = opened;
  opened = -1;
  remember(false);
  const link = last >= 0 && document.querySelector(`a[href="#run=${RUNS[last].id}"][tabindex]`);
  if (link) link.focus({ preventScroll: true });
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const to = order[order.indexOf(opened) + by];
  if (!by || to === undefined || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("svg, input, .scroll") || order.indexOf(opened) < 0) return;
  event.preventDefault();
  openRun(to, false);
});

// Plots, one at a time: only what is looked at is drawn.
let drawAgain = () => {};
(function plots() {
  if (!DATA.plots.length) return;
  $("pictures").hidden = false;
  const tabs = DATA.plots.map((plot, i) => el("button", { type: "button", role: "tab", id: `tab-${plot.id}`, "aria-controls": "plot", onclick: () => choose(i) }, plot.title));
  const choose = (at) => {
    tabs.forEach((tab, i) => { tab.setAttribute("aria-selected", String(i === at)); tab.tabIndex = i === at ? 0 : -1; });
    $("plot").setAttribute("aria-labelledby", tabs[at].id);
    drawAgain = drawPlot($("plot"), DATA.plots[at], { shows: (run) => shown.has(run), open: (run) => openRun(run), name: (run) => RUNS[run].label });
  };
  $("tabs").append(...tabs);
  $("tabs").addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target), to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || !tabs[to]) return;
    event.preventDefault();
    tabs[to].focus();
    choose(to);
  });
  choose(0);
  let width = $("plot").clientWidth;
  addEventListener("resize", () => { if ($("plot").clientWidth !== width) { width = $("plot").clientWidth; drawAgain(); } });
})();

const showTable = makeTable($("runs"), (run) => openRun(run), () => changed());
const showFilters = makeFilters($("chips"), () => changed());
$("filters").hidden = RUNS.length < 2;
$("query").addEventListener("input", () => { wanted.query = $("query").value; changed(); });
$("reset").addEventListener("click", () => { wanted.values.clear(); wanted.query = $("query").value = ""; changed(); $("query").focus(); });

function show() {
  select();
  showFilters();
  showTable();
  drawAgain();
  const all = order.length === RUNS.length;
  $("count").textContent = all ? `${RUNS.length} runs` : `${order.length} of ${RUNS.length} runs`;
  $("reset").hidden = all && !wanted.query && !wanted.values.size;
}

function changed() { show(); remember(false); }

/** From the address to what is shown. */
function follow() {
  const said = new URLSearchParams(location.hash.slice(1));
  if (location.hash && ![...said.keys()].some((key) => key === "run" || key === "q" || key === "sort" || key.startsWith("f."))) return;
  wanted.values.clear();
  for (const column of FILTERS) {
    const values = said.has("f." + column.head) ? said.get("f." + column.head).split("|").filter((value) => column.values.includes(value)) : [];
    if (values.length) wanted.values.set(column.head, new Set(values));
  }
  wanted.query = $("query").value = said.get("q") || "";
  wanted.sort = said.get("sort") || "";
  show();
  const run = placeOf.get(said.get("run"));
  if (run !== undefined) openRun(run, false);
  else if (dialog.open) dialog.close();
}

// A link to a run keeps the filters.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#run="]');
  if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openRun(placeOf.get(link.getAttribute("href").slice(5)));
});
addEventListener("hashchange", follow);
addEventListener("popstate", follow);

$("grids").replaceChildren(...DATA.grids.map((own) => el("details", { open: own.rows.length <= 12 }, el("summary", {}, own.title), grid(own.heads, own.rows.map((row) => row.map((cell) => {
  const id = cell.replaceAll("`", "");
  return placeOf.has(id) ? el("a", { href: `#run=${id}` }, id) : words(cell);
})), own.text))));
$("notes").replaceChildren(el("h2", {}, "What the numbers are"), ...DATA.notes.map((note) => el("p", {}, words(note))));
follow();
