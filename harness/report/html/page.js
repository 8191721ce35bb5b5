"use strict";
(() => {
  const get = (id) => document.getElementById(id);
  const root = document.documentElement;
  const fields = ["q", "verdict", "kernel", "finding"];
  const items = [...document.querySelectorAll(".cell, .alarm:not([data-own])")];
  const rows = [...document.querySelectorAll(".matrix tbody tr")].map((row) => [row, [...row.querySelectorAll("a[data-s]")]]);
  const texts = new Map();
  const total = document.querySelectorAll(".cell").length;

  const text = (item) => {
    if (!texts.has(item)) texts.set(item, item.textContent.toLowerCase());
    return texts.get(item);
  };
  const has = (item, key, value) => !value || (item.dataset[key] || "").split(" ").includes(value);
  // A blank within a name is no end of it.
  const whole = (value) => value.replaceAll(" ", "\u00a0");

  const filter = () => {
    const [q, verdict, kernel, finding] = fields.map((id) => get(id).value);
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const on = has(item, "v", verdict) && has(item, "k", whole(kernel)) && has(item, "f", finding) &&
        words.every((word) => text(item).includes(word));
      item.hidden = !on;
      if (on && item.classList.contains("cell")) shown += 1;
    }
    for (const [row, links] of rows) {
      let any = false;
      for (const link of links) {
        const off = get("s" + link.dataset.s).hidden;
        link.classList.toggle("off", off);
        any = any || !off;
      }
      row.hidden = !any;
    }
    get("shown").textContent = shown === total ? `${total} ${total === 1 ? "scenario" : "scenarios"}` : `${shown} of ${total} scenarios`;
  };

  const write = () => {
    const state = new URLSearchParams();
    for (const id of fields) if (get(id).value) state.set(id, get(id).value);
    history.replaceState(null, "", "#" + state);
  };
  const clear = () => {
    for (const id of fields) get(id).value = "";
  };
  // A fragment is a state of the filter (`verdict=failed`) or a place (`s12`).
  const read = () => {
    const fragment = location.hash.slice(1);
    if (fragment.includes("=")) {
      const state = new URLSearchParams(fragment);
      for (const id of fields) get(id).value = state.get(id) || "";
      filter();
      return;
    }
    filter();
    const place = fragment && get(fragment);
    if (!place) return;
    if (place.hidden) {
      clear();
      filter();
    }
    if (place.tagName === "DETAILS") place.open = true;
    place.scrollIntoView();
  };

  const themes = ["system", "light", "dark"];
  const dress = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    get("theme").textContent = "Theme: " + theme;
  };
  let theme = "system";
  try {
    theme = localStorage.getItem("kbuild-repro-theme") || theme;
  } catch { /* a page from a file may have no storage */ }
  if (!themes.includes(theme)) theme = "system";

  const copied = async (from, button) => {
    try {
      await navigator.clipboard.writeText(from.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(from);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (!document.execCommand("copy")) return;
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  for (const from of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", () => copied(from, button));
    if (from.tagName === "PRE") from.before(button);
    else from.after(button);
  }

  get("filter").hidden = false;
  get("filter").addEventListener("input", () => { filter(); write(); });
  get("filter").addEventListener("submit", (event) => event.preventDefault());
  get("clear").addEventListener("click", () => { clear(); filter(); write(); get("q").focus(); });
  get("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    dress(theme);
    try {
      localStorage.setItem("kbuild-repro-theme", theme);
    } catch { /* see above */ }
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) {
      event.preventDefault();
      get("q").focus();
    } else if (event.key === "Escape" && event.target === get("q")) {
      get("q").value = "";
      filter();
      write();
    }
  });
  addEventListener("beforeprint", () => {
    for (const it of document.querySelectorAll(".alarm details:not(.file), .cell[data-v=failed]")) it.open = true;
  });
  addEventListener("hashchange", read);
  dress(theme);
  read();
})();
