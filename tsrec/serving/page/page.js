// The explorer's page: opens the part that the address names, and says what is wrong where the server does not answer.

import { here } from "./address.js";
import { ask, fill } from "./client.js";
import { byId } from "./dom.js";
import * as item from "./item.js";
import * as model from "./model.js";
import * as newItem from "./new-item.js";
import * as tokens from "./tokens.js";
import * as tryIt from "./try-it.js";

const PARTS = { "try-it": tryIt, tokens, "new-item": newItem, model };

let shown = null;

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
  document.title = titleOf(view);
  PARTS[view].open(parameters);
}

function start() {
  for (const part of [tokens, newItem, item]) part.start();
  tryIt.start(learnModel);
  addEventListener("hashchange", () => openHere());
  openHere({ focus: false });
  learnModel();
}

/** What the model is that answers now, and by which columns its items can be told apart. */
async function learnModel() {
  await fill(byId("view-try-it"), async () => {
    const [figures, { columns }] = await Promise.all([ask("model"), ask("columns")]);
    byId("dataset").textContent = figures.dataset;
    tryIt.offer(figures, columns);
    document.title = titleOf(shown);
  }, byId("lists-notice"));
}

const titleOf = (view) => `${byId(`${view}-heading`).textContent} · ${byId("dataset").textContent}`;

start();
