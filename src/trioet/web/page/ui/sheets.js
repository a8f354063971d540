// xterm.js's DOM renderer writes <style> elements, which our Content-Security-Policy forbids. Sheets
// made by script are no inline style: what such an element is told goes into one of these.

export function adoptStyles(document) {
  const create = document.createElement;
  document.createElement = function (name, options) {
    const element = create.call(this, name, options);
    if (String(name).toLowerCase() === "style") divert(document, element);
    return element;
  };
}

function divert(document, element) {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  element.type = "text/plain"; // no style of its own, for which the policy would blame us
  Object.defineProperty(element, "textContent", {
    get: () => [...sheet.cssRules].map((rule) => rule.cssText).join("\n"),
    set: (text) => sheet.replaceSync(text),
  });
}
