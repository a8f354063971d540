// The field in which one searches what the terminal shows and has shown.

import { $ } from "./dom.js";

const marks = (match, active) => ({
  matchBackground: match,
  matchOverviewRuler: "#d9a33a",
  activeMatchBackground: active,
  activeMatchColorOverviewRuler: "#ff8f40",
});
const ON_DARK = marks("#7a5c00", "#b34700");
const ON_LIGHT = marks("#ffe08a", "#ffb454");

export function searchField({ terminal, search }) {
  const form = $("#search");
  const input = $("input", form);
  const result = $("output", form);

  const decorations = () =>
    document.documentElement.classList.contains("light") ? ON_LIGHT : ON_DARK;
  const next = (incremental = false) =>
    search.findNext(input.value, { incremental, decorations: decorations() });
  const previous = () => search.findPrevious(input.value, { decorations: decorations() });
  const close = () => {
    form.hidden = true;
    search.clearDecorations();
    terminal.focus();
  };
  search.onDidChangeResults(({ resultIndex, resultCount }) => {
    const found = resultCount ? `${resultIndex + 1} of ${resultCount}` : "none";
    result.textContent = input.value ? found : "";
  });
  input.addEventListener("input", () => next(true));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && event.target === input) event.shiftKey ? previous() : next();
  });
  form.addEventListener("click", ({ target }) =>
    ({ next: () => next(), previous, close })[target.dataset.do]?.(),
  );
  return () => {
    form.hidden = false;
    input.value = terminal.getSelection().split("\n")[0] || input.value;
    input.select();
    input.focus();
  };
}
