// The address of what is shown: `#try-it?h=50&h=181`. A link to it shows the same.

export const VIEWS = ["try-it", "tokens", "new-item", "model"];

/** The view that the address names, the first where it names none, and its parameters. */
export function here() {
  const [name, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
  return { view: VIEWS.includes(name) ? name : VIEWS[0], parameters: new URLSearchParams(query) };
}

/** The address of a view; parameters without a value are left out, lists are repeated. */
export function address(view, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== "" && each != null) query.append(name, each);
    }
  }
  const text = query.toString();
  return `#${view}${text && `?${text}`}`;
}

/** Write the address of what somebody has just chosen; the browser's back button goes to what was before. */
export function moveTo(view, parameters) {
  const next = address(view, parameters);
  if (next !== location.hash) history.pushState(null, "", next);
  remember(view, next);
}

/** Write the address of what was opened by an address, as this page spells it. */
export function opened(view, parameters) {
  const next = address(view, parameters);
  if (next !== location.hash) history.replaceState(null, "", next);
  remember(view, next);
}

/** Have the link of a view lead to where its visitor was. */
function remember(view, to) {
  document.querySelector(`nav a[data-view="${view}"]`).href = to;
}
