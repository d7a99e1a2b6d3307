// Asking the server: with a key where it wants one, again where it is not ready, and errors in words.

import { byId, make } from "./dom.js";

const KEY = "tsrec-key";
const PATIENCE = 24; // times that a server which is not ready is asked again

/** A refusal or a failure, in words for people. */
export class Failure extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** The JSON that the server answers to a path below this page's; with `body` it is posted. */
export async function ask(path, { body, signal } = {}) {
  const response = await request(path, { body, signal });
  return response.json();
}

/** The same, as a response that may hold anything. While the server is not ready, the page says so. */
export async function request(path, { body, signal } = {}) {
  for (let tries = 0; ; tries += 1) {
    const key = sessionStorage.getItem(KEY);
    const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
    const options = { headers, signal };
    if (body !== undefined) {
      options.method = "POST";
      options.body = JSON.stringify(body);
      headers["Content-Type"] = "application/json";
    }
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new Failure("The server does not answer. It may have been stopped.", 0);
    }
    sayWaiting(null);
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    const detail = problem.detail ?? `The server answered ${response.status}.`;
    if (response.status === 401) {
      // Somebody may have given one meanwhile.
      if (sessionStorage.getItem(KEY) === key) await askForKey(key === null ? null : "This key is not known. Try another one.");
    } else if (response.status === 503 && tries < PATIENCE) {
      sayWaiting(detail);
      await pause(1000 * Math.min(5, Number(response.headers.get("Retry-After")) || 1), signal);
    } else {
      throw new Failure(sentence(detail), response.status);
    }
  }
}

function sayWaiting(why) {
  const waiting = byId("waiting");
  waiting.hidden = why === null;
  waiting.textContent = why === null ? "" : `Not ready yet: ${why}. This page asks again.`;
}

/** Gives a signal for a new request, and ends the one before it: its answer would be out of date. */
export function onlyTheLatest() {
  let controller;
  return () => {
    controller?.abort();
    controller = new AbortController();
    return controller.signal;
  };
}

export const isAbort = (error) => error.name === "AbortError";

/** Do `work` for a region of the page. What it shows stays until the work has something new; a failure is shown in
 * `notice`, or in the region itself. */
export async function fill(region, work, notice = region) {
  const mine = Symbol("work");
  region.work = mine;
  region.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (isAbort(error)) return;
    if (!(error instanceof Failure)) throw error;
    notice.replaceChildren(make("span", { className: "notice" }, error.message));
  } finally {
    if (region.work === mine) region.setAttribute("aria-busy", "false");
  }
}

/** A problem's words, as a sentence. */
function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

let asked = null; // the one dialog that all requests wait for

function askForKey(why) {
  asked ??= new Promise((resolve) => {
    const dialog = byId("key-dialog");
    if (why) byId("key-detail").textContent = why;
    dialog.addEventListener(
      "close",
      () => {
        const given = byId("key").value.trim();
        byId("key").value = "";
        if (given) sessionStorage.setItem(KEY, given);
        asked = null;
        resolve();
      },
      { once: true },
    );
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.showModal();
  });
  return asked;
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("no longer wanted", "AbortError"));
    });
  });
}
