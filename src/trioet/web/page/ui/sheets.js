// xterm.js's DOM renderer writes style elements and style attributes, which our Content-Security-Policy
// forbids. What a script does to sheets and styles by the CSSOM is no inline style: so that is done
// in their place.

export function adoptStyles(document) {
  const { createElement } = document;
  document.createElement = function (name, options) {
    if (String(name).toLowerCase() !== "style") return createElement.call(this, name, options);
    return standIn(document, createElement.call(this, "xterm-style"));
  };
  const { setAttribute } = Element.prototype;
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style") this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };
}

/** An element of which the text becomes a sheet of the document's. */
function standIn(document, element) {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  element.hidden = true;
  Object.defineProperty(element, "textContent", {
    get: () => [...sheet.cssRules].map((rule) => rule.cssText).join("\n"),
    set: (text) => sheet.replaceSync(text),
  });
  return element;
}
