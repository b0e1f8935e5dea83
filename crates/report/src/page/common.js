// What both pages need: elements made of text alone, the theme, the data.

const $ = (id) => document.getElementById(id);

/** An element; `on...` are listeners, other properties attributes, children elements or texts. */
function el(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

function svg(tag, properties, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Text in which backquotes hold code. */
function words(text) {
  return text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}

const DATA = JSON.parse($("data").textContent);

// Light or dark: as the system has it, until somebody says otherwise.
(function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => { try { return localStorage.getItem("quantlab-theme"); } catch { return null; } };
  let said = kept();
  const show = () => {
    const now = said || (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = now;
    $("theme").textContent = now === "dark" ? "Light" : "Dark";
    $("theme").setAttribute("aria-label", now === "dark" ? "Light colours" : "Dark colours");
  };
  $("theme").addEventListener("click", () => {
    said = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("quantlab-theme", said); } catch { /* a page of a file may keep nothing */ }
    show();
  });
  dark.addEventListener("change", show);
  show();
})();
