// All experiments, with a search over their words and over the ids of runs.

const entries = DATA.experiments.map((own) => {
  const facts = [
    `${own.runs.length} ${own.runs.length === 1 ? "run" : "runs"}${own.failed ? `, ${own.failed} failed` : ""}`,
    own.networks.join(", "),
    own.sets.length ? `${own.sets.join(", ")}, ${own.images.join(" and ")} images` : "",
    own.axes.length ? `by ${own.axes.join(", ")}` : "",
  ];
  const link = own.page ? el("a", { href: `${encodeURIComponent(own.name)}/index.html` }, own.name) : el("span", { class: "name" }, own.name);
  const hit = el("p", { class: "small", hidden: true });
  const item = el("li", {}, el("h2", {}, link), own.question && el("p", {}, own.question),
    own.problem ? el("p", { class: "problem" }, "Cannot be read: ", own.problem) : el("p", { class: "small" }, facts.filter(Boolean).join(" · ")),
    own.page ? null : el("p", { class: "small" }, "No page yet: ", el("code", {}, `just page ${own.name}`)), hit);
  const text = [own.name, own.question, own.expects, own.found, ...own.networks, ...own.sets, ...own.axes].join(" ").toLowerCase();
  return { own, item, link, hit, text };
});

function search() {
  const queries = $("query").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = entries.filter(({ own, text, hit }) => {
    // Six digits of an id are one; fewer would be found in most of them.
    const run = queries.map((query) => query.length > 5 && own.runs.find((id) => id.startsWith(query)));
    const first = run.find(Boolean);
    hit.hidden = !first;
    if (first) hit.replaceChildren("Run ", own.page ? el("a", { href: `${encodeURIComponent(own.name)}/index.html#run=${first}` }, first) : first);
    return queries.every((query, i) => run[i] || text.includes(query));
  });
  $("list").replaceChildren(...found.map(({ item }) => item));
  $("count").textContent = found.length === entries.length ? `${entries.length} experiments` : `${found.length} of ${entries.length} experiments`;
}

$("query").addEventListener("input", search);
$("query").addEventListener("keydown", (event) => {
  const first = document.querySelector("#list a");
  if ((event.key === "ArrowDown" || event.key === "Enter") && first) { event.preventDefault(); event.key === "Enter" ? first.click() : first.focus(); }
});
$("list").addEventListener("keydown", (event) => {
  const links = [...document.querySelectorAll("#list a")], at = links.indexOf(event.target);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  (links[to] || (to < 0 ? $("query") : links[at])).focus();
});
if (DATA.reference) $("elsewhere").append(el("a", { href: "reference/index.html" }, "Committed results"));
search();
