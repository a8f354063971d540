// The dialog in which a visitor says who he is.

import * as api from "./api.js";
import { $ } from "./dom.js";
import { plain } from "./plain.js";

/** Ask until the server lets the visitor in. */
export function logIn(ways) {
  const dialog = $("#login");
  const form = $("form", dialog);
  const alert = $("[role=alert]", form);
  for (const label of form.querySelectorAll("[data-way]")) {
    label.hidden = !ways.includes(label.dataset.way);
    $("input", label).disabled = label.hidden;
  }
  alert.hidden = true;
  if (!dialog.open) dialog.showModal();
  dialog.oncancel = (event) => event.preventDefault();
  return new Promise((entered) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      const { user, password, token } = Object.fromEntries(new FormData(form));
      try {
        await api.login(token ? { token } : { user, password });
        form.reset();
        dialog.close();
        entered();
      } catch (error) {
        alert.textContent = plain([error.message, error.hint].filter(Boolean).join("; "));
        alert.hidden = false;
      }
    };
  });
}
