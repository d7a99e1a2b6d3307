// Elements of the page. Every text becomes a text node: what a catalogue holds is never read as HTML.

export const byId = (id) => document.getElementById(id);

/** An element. `properties` are its own properties, but for `on` (listeners) and `attributes`; children are nodes, texts,
 * or nothing. */
export function make(tag, { on = {}, attributes = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) made.addEventListener(name, listener);
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

/** Of an SVG drawing, with attributes only. */
export function draw(tag, attributes, ...children) {
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) drawn.setAttribute(name, value);
  drawn.append(...children);
  return drawn;
}

/** Tell who cannot see the page what has changed. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** `call` once nothing has called for it for `wait` milliseconds. */
export function debounced(call, wait) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), wait);
  };
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
