// The dialog with the settings.

import { $ } from "./dom.js";
import { AUTOMATIC, THEMES } from "./themes.js";

/** Returns what opens it. `end()` ends the session, `closed()` is called when the dialog is gone. */
export function settingsPanel(settings, { end, closed }) {
  const dialog = $("#settings");
  const form = $("form", dialog);
  const fields = [...form.elements].filter(({ name }) => name);
  for (const name of [AUTOMATIC, ...Object.keys(THEMES)]) {
    const text = name === AUTOMATIC ? "as the browser" : name;
    form.elements.theme.add(new Option(text, name));
  }

  const show = (all) => {
    for (const field of fields) {
      if (field.type === "checkbox") field.checked = all[field.name];
      else if (field !== document.activeElement) field.value = all[field.name];
    }
  };
  settings.onChange(show);
  form.addEventListener("input", ({ target }) =>
    settings.set(target.name, target.type === "checkbox" ? target.checked : target.value),
  );
  $("[data-do=reset]", form).addEventListener("click", () => settings.reset());
  $("[data-do=end]", form).addEventListener("click", () => {
    dialog.close();
    end();
  });
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  dialog.addEventListener("close", closed);
  return () => {
    show(settings.all);
    dialog.showModal();
  };
}
