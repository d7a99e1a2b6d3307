// The explorer's page: opens the part that the address names, and says what is wrong where the server does not answer.

import { here } from "./address.js";
import { ask, Failure } from "./client.js";
import { byId, make } from "./dom.js";
import * as item from "./item.js";
import * as model from "./model.js";
import * as newItem from "./new-item.js";
import * as tokens from "./tokens.js";
import * as tryIt from "./try-it.js";

const PARTS = { "try-it": tryIt, tokens, "new-item": newItem, model };

function openHere({ focus = true } = {}) {
  const { view, parameters } = here();
  for (const name of Object.keys(PARTS)) {
    byId(`view-${name}`).hidden = name !== view;
    const link = document.querySelector(`nav a[data-view="${name}"]`);
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (focus && view !== shown) {
    scrollTo(0, 0);
    byId("main").focus({ preventScroll: true });
  }
  shown = view;
  document.title = `${byId(`${view}-heading`).textContent} · ${byId("dataset").textContent}`;
  PARTS[view].open(parameters);
}

let shown = null;

async function start() {
  const notice = byId("lists-notice");
  try {
    const onWait = (detail) => notice.replaceChildren(make("span", { className: "notice" }, `Not ready yet: ${detail}. This page asks again.`));
    const [figures, { columns }] = await Promise.all([ask("model", { onWait }), ask("columns", { onWait })]);
    notice.replaceChildren();
    byId("dataset").textContent = figures.dataset;
    tryIt.start(figures, columns);
    for (const part of [tokens, newItem, item]) part.start();
    // Both come with a step back; what is shown already is left alone.
    addEventListener("popstate", () => openHere());
    addEventListener("hashchange", () => openHere());
    openHere({ focus: false });
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    notice.replaceChildren(make("span", { className: "notice" }, `${error.message} Load the page again later.`));
    byId("lists").setAttribute("aria-busy", "false");
  }
}

start();
