// The table of runs: sorted by any column, filtered by any axis and by words.

const COLUMNS = DATA.columns.map((column) => ({ ...column, text: column.i.map((i) => column.d[i]) }));
const RUNS = DATA.runs;
const FILTERS = COLUMNS.filter((column) => column.values);
const WORDS = RUNS.map((run, i) => [run.label, run.failed || "", ...COLUMNS.map((column) => column.text[i])].join(" ").toLowerCase());
const placeOf = new Map(RUNS.map((run, i) => [run.id, i]));

/** What is wanted: values by heading, words, the column that sorts (`-` before it: downwards). */
const wanted = { values: new Map(), query: "", sort: "" };
let order = RUNS.map((_, i) => i);
const shown = new Set(order);

/** Puts the runs that are wanted into their order. */
function select() {
  const queries = wanted.query.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = FILTERS.filter((column) => wanted.values.has(column.head)).map((column) => [column, wanted.values.get(column.head)]);
  order = RUNS.map((_, i) => i).filter((i) => chosen.every(([column, values]) => values.has(column.text[i])) && queries.every((query) => WORDS[i].includes(query)));
  const down = wanted.sort.startsWith("-");
  const column = COLUMNS.find(({ head }) => head === wanted.sort.replace(/^-/, ""));
  if (column) {
    const key = (i) => (column.keys ? column.keys[i] : column.kind === "run" ? column.text[i] : column.text[i] === "" ? null : column.i[i]);
    order.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      // What has no value stands last in both directions.
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1) || a - b;
    });
  }
  shown.clear();
  order.forEach((i) => shown.add(i));
}

/** Builds the table once; gives the function that shows `order`. `open(run)` is called for a run that is chosen. */
function makeTable(place, open, sorted) {
  const body = el("tbody");
  const heads = COLUMNS.map((column) => {
    const button = el("button", { type: "button", title: "Sort", onclick: () => {
      const now = wanted.sort;
      // Words begin at the plain, numbers with the largest.
      const [first, second] = column.kind === "number" ? ["-" + column.head, column.head] : [column.head, "-" + column.head];
      wanted.sort = now === first ? second : now === second ? "" : first;
      sorted();
    } }, column.head);
    return el("th", { scope: "col", class: column.kind === "axis" ? "" : column.kind }, button);
  });
  const bare = COLUMNS.findIndex((column) => column.kind === "run");
  const row = (run, i) => el("tr", { class: run.failed ? "failed" : null, onclick: (event) => {
    // Words that somebody marks to copy are no click.
    if (!String(getSelection()) && !event.target.closest("a")) open(i);
  } }, COLUMNS.map((column, c) => {
    if (c === bare) {
      const link = el("a", { href: `#run=${run.id}`, "aria-label": `Run ${run.id}, ${run.label}`, onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        open(i);
      } }, run.id);
      return el("th", { scope: "row", class: "run" }, link);
    }
    const mark = column.head === "95 % interval" && column.text[i] ? interval(column, i) : null;
    return el("td", { class: column.kind === "axis" ? null : "number" }, column.text[i], mark);
  }));
  const rows = RUNS.map(row);
  const links = rows.map((row) => row.querySelector("a"));
  const none = el("p", { class: "note", hidden: true }, "No run has all of this. Show all, or take a word away.");

  body.addEventListener("keydown", (event) => {
    const at = order.indexOf(links.indexOf(event.target));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: order.length - 1 }[event.key];
    if (at < 0 || to === undefined || !links[order[to]]) return;
    event.preventDefault();
    links[order[to]].focus();
  });
  // One stop for Tab; arrow keys go on from there.
  body.addEventListener("focusin", (event) => links.forEach((link) => { link.tabIndex = link === event.target ? 0 : -1; }));

  place.append(el("div", { class: "scroll" }, el("table", { class: "runs" }, el("caption", { class: "hidden" }, "Runs; a row opens with Enter or a click, arrow keys go from row to row"), el("thead", {}, el("tr", {}, heads)), body)), none);
  return () => {
    COLUMNS.forEach((column, c) => {
      const way = wanted.sort === column.head ? "ascending" : wanted.sort === "-" + column.head ? "descending" : null;
      way ? heads[c].setAttribute("aria-sort", way) : heads[c].removeAttribute("aria-sort");
    });
    body.replaceChildren(...order.map((i) => rows[i]));
    links.forEach((link, i) => { link.tabIndex = i === order[0] ? 0 : -1; });
    none.hidden = order.length > 0;
  };
}

/** An interval as a bar, between the lowest and the highest of the table. */
const interval = (() => {
  let ends;
  return (column, i) => {
    const pair = (text) => text.split("–").map(Number);
    ends = ends || column.text.filter(Boolean).map(pair).reduce(([a, b], [c, d]) => [Math.min(a, c), Math.max(b, d)], [100, 0]);
    const at = pair(column.text[i]).map((end) => (100 * (end - ends[0])) / (ends[1] - ends[0] || 1));
    return el("span", { class: "interval", "aria-hidden": "true" }, el("i", { style: `left:${at[0].toFixed(1)}%;width:max(2px,${(at[1] - at[0]).toFixed(1)}%)` }));
  };
})();

/** A group of buttons for each axis; gives the function that shows what is wanted. */
function makeFilters(place, changed) {
  const groups = FILTERS.map((column) => {
    const buttons = column.values.map((value) => el("button", { type: "button", class: "chip", onclick: () => {
      const values = wanted.values.get(column.head) || new Set();
      values.has(value) ? values.delete(value) : values.add(value);
      values.size ? wanted.values.set(column.head, values) : wanted.values.delete(column.head);
      changed();
    } }, value || "none"));
    const count = el("span", { class: "badge" });
    const many = column.values.length > 12;
    const name = el(many ? "summary" : "legend", {}, column.head, " ", count);
    const group = many ? el("details", { class: "filter", role: "group", "aria-label": column.head }, name, el("div", {}, buttons)) : el("fieldset", { class: "filter" }, name, buttons);
    return { column, buttons, group, count };
  });
  place.replaceChildren(...groups.map(({ group }) => group));
  return () => groups.forEach(({ column, buttons, count }) => {
    const values = wanted.values.get(column.head);
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(Boolean(values && values.has(column.values[i])))));
    count.textContent = values ? String(values.size) : "";
  });
}
