// The part "Try it": a history, the lists that follow from it, and filters.

import { address, moveTo, opened } from "./address.js";
import { ask, Failure, fill, isAbort, onlyTheLatest } from "./client.js";
import { announce, byId, count, debounced, make } from "./dom.js";
import { showHistory } from "./history.js";
import { openItem } from "./item.js";
import { ranks, remarks, showList } from "./lists.js";
import { picker } from "./picker.js";
import { member, memberAndName } from "./words.js";

const VIEW = "try-it";
const EMPTY = { history: [], user: "", method: "", other: "", where: {}, allow: [], deny: [], repeats: "", length: 10, all: false };
const FUSED = "fused";

let state = { ...EMPTY };
let shown = null; // the address of the lists that were asked for last
let model = null; // whose methods are offered
let onAnotherModel;
const titles = new Map();
const nextLists = onlyTheLatest();
const nextState = onlyTheLatest();

/** Make what does not change: fields and buttons. `learnModel` is called where another model answers than the one whose
 * methods are offered. */
export function start(learnModel) {
  onAnotherModel = learnModel;
  picker(byId("history-picker"), "Add an item to the history", "Search items by words", (item) => add(item));
  picker(byId("allow-picker"), "Recommend only these items", "Search items by words", (item) => update({ allow: joined(state.allow, item) }, `${item.title}: among those that may be recommended`));
  picker(byId("deny-picker"), "Never recommend these items", "Search items by words", (item) => deny(item));
  byId("clear-history").addEventListener("click", () => update({ history: [], user: "" }, "The history is empty"));
  byId("example").addEventListener("click", example);
  byId("clear-filters").addEventListener("click", () => update({ where: {}, allow: [], deny: [], repeats: "", length: EMPTY.length }, "No filter is set"));
  byId("method").addEventListener("change", (event) => update({ method: event.target.value === FUSED ? "" : event.target.value }));
  byId("other").addEventListener("change", (event) => update({ other: event.target.value }));
  byId("repeats").addEventListener("change", (event) => update({ repeats: event.target.value }));
  byId("length").addEventListener("change", (event) => update({ length: Number(event.target.value) }));
  byId("user").addEventListener("input", debounced(suggestUsers, 150));
  byId("user").addEventListener("focus", suggestUsers, { once: true });
  byId("user-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const user = byId("user").value.trim();
    if (user) loadUser(user);
  });
}

/** Let visitors choose among a model's methods and the columns of its items. */
export function offer({ fingerprint, methods }, columns) {
  model = fingerprint;
  const options = () => methods.map((name) => make("option", { value: name }, memberAndName(name)));
  byId("method").replaceChildren(...options());
  byId("other").replaceChildren(make("option", { value: "" }, "nobody"), ...options());
  byId("columns").replaceChildren(...columns.map(columnField));
  showInputs();
}

/** Show what an address names. */
export async function open(parameters) {
  const signal = nextState();
  const ids = (name) => parameters.getAll(name).map((id) => ({ id }));
  const named = {
    ...EMPTY,
    history: ids("h"),
    user: parameters.get("user") ?? "",
    method: parameters.get("method") ?? "",
    other: parameters.get("with") ?? "",
    where: Object.fromEntries(parameters.getAll("where").map((pair) => pair.split(/:(.*)/s).slice(0, 2))),
    allow: ids("allow"),
    deny: ids("deny"),
    repeats: parameters.get("repeats") ?? "",
    length: Number(parameters.get("k")) || EMPTY.length,
  };
  if (address(VIEW, parametersOf(named)) === shown) return;
  try {
    if (named.user && !named.history.length) named.history = await historyOf(named.user, signal);
    await Promise.all([...named.history.slice(-30), ...named.allow, ...named.deny].map((entry) => learn(entry, signal)));
    state = named;
    update({}, null, opened);
  } catch (error) {
    if (isAbort(error)) return;
    if (!(error instanceof Failure)) throw error;
    state = { ...named, user: "" };
    update({}, null, opened);
    byId("history-hint").replaceChildren(make("span", { className: "notice" }, error.message));
  }
}

/** Take an item into the history, as its newest. */
export function add(item) {
  const entry = known(item);
  update({ history: [...state.history, entry], user: "" }, `${entry.title} is in the history`);
}

/** Load a user's history and show its list. */
export async function loadUser(user) {
  await fill(byId("user-form"), async () => {
    update({ history: await historyOf(user, nextState()), user }, `History of user ${user}`);
  }, byId("history-hint"));
}

function deny(item) {
  update({ deny: joined(state.deny, item) }, `${item.title}: never recommended`);
}

function update(changes, said, write = moveTo) {
  const grows = changes.history?.length > state.history.length || shown === null;
  state = { ...state, ...changes };
  const parameters = parametersOf(state);
  write(VIEW, parameters);
  showInputs();
  if (grows) byId("history").scrollTop = byId("history").scrollHeight;
  const now = address(VIEW, parameters);
  if (now !== shown) {
    shown = now;
    askForLists(said);
  }
}

function parametersOf(of) {
  return {
    user: of.user,
    h: of.user ? [] : of.history.map((entry) => entry.id),
    method: of.method,
    with: of.other,
    where: Object.entries(of.where).map((pair) => pair.join(":")),
    allow: of.allow.map((entry) => entry.id),
    deny: of.deny.map((entry) => entry.id),
    repeats: of.repeats,
    k: of.length === EMPTY.length ? "" : of.length,
  };
}

/** Ask for the lists, and tell with them what was done. */
function askForLists(said) {
  const signal = nextLists();
  const { method, other, history, length } = state;
  const request = (name) => ({
    history: history.map((entry) => entry.id),
    k: length,
    method: name,
    where: state.where,
    allow: state.allow.length ? state.allow.map((entry) => entry.id) : null,
    deny: state.deny.map((entry) => entry.id),
    no_repeats: { "leave-out": true, keep: false }[state.repeats] ?? null,
    explain: true,
  });
  const methods = [method || FUSED, ...(other ? [other] : [])];
  const notice = byId("lists-notice");
  return fill(byId("lists"), async () => {
    const before = performance.now();
    const { model: answering, answers } = await ask("recommend", { body: { requests: methods.map(request) }, signal });
    const took = Math.round(performance.now() - before);
    notice.replaceChildren();
    const [mine, theirs] = answers;
    const handlers = { add: (item) => add(item), deny, open: (item) => openItem(item.id) };
    showList(byId("list"), mine, theirs && ranks(theirs), handlers);
    byId("said").replaceChildren(...remarks(mine, length));
    announce(`${said ? `${said}. ` : ""}${mine.items.length ? `The list begins with ${mine.items[0].title}` : "The list is empty"}`);
    byId("list-heading").textContent = member(methods[0]);
    byId("other-panel").hidden = !theirs;
    byId("pair").classList.toggle("two", Boolean(theirs));
    if (theirs) {
      const both = theirs.items.filter((item) => ranks(mine).has(item.item_id)).length;
      byId("other-heading").replaceChildren(member(other), make("span", { className: "soft" }, ` ${both} of ${theirs.items.length} in both lists`));
      showList(byId("other-list"), theirs, ranks(mine), handlers);
      byId("other-said").replaceChildren(...remarks({ ...theirs, unknown: [] }, length));
    }
    byId("answered").replaceChildren("By model ", make("a", { href: "#model", className: "code" }, answering), ` in ${took} ms`);
    if (model !== null && answering !== model) onAnotherModel();
  }, notice);
}

function showInputs() {
  const { history } = state;
  showHistory(byId("history"), history, {
    all: state.all,
    change: (entries, said) => update({ history: entries, user: "" }, said),
    showAll: async () => {
      state.all = true;
      showInputs();
      await Promise.all(history.map((entry) => learn(entry)));
      showInputs();
    },
    open: (entry) => entry.known && openItem(entry.id),
  });
  byId("history-hint").textContent = history.length
    ? `${state.user ? `User ${state.user}: ` : ""}${count(history.length, "item")}${history.length > 1 ? ", the newest last" : ""}.`
    : "Nothing yet: the list shows what suits a newcomer.";
  byId("clear-history").disabled = !history.length;
  byId("example").classList.toggle("main", !history.length);
  byId("user").value = state.user;
  choose(byId("method"), state.method || FUSED);
  choose(byId("other"), state.other);
  byId("repeats").value = state.repeats;
  choose(byId("length"), String(state.length));
  for (const select of byId("columns").querySelectorAll("select")) choose(select, state.where[select.name] ?? "");
  showChips(byId("allow"), "allow");
  showChips(byId("deny"), "deny");
  const filters = Object.keys(state.where).length + state.allow.length + state.deny.length + (state.repeats ? 1 : 0);
  byId("filter-count").textContent = filters ? `${filters} set` : "";
  byId("clear-filters").disabled = !filters && state.length === EMPTY.length;
}

function showChips(ul, name) {
  const without = (entry) => state[name].filter((other) => other !== entry);
  ul.replaceChildren(
    ...state[name].map((entry) =>
      make("li", { className: "chip" }, entry.title || entry.id, make("button", { type: "button", className: "icon", textContent: "×", attributes: { "aria-label": `Remove from this filter: ${entry.title || entry.id}` }, on: { click: () => update({ [name]: without(entry) }) } })),
    ),
  );
}

function columnField({ column, n_values, values }) {
  const select = make(
    "select",
    {
      id: `column-${column}`,
      name: column,
      on: {
        change: () => {
          const { [column]: _, ...where } = state.where;
          update({ where: select.value ? { ...where, [column]: select.value } : where });
        },
      },
    },
    make("option", { value: "" }, "all"),
    ...values.map(({ value, n_items }) => make("option", { value }, `${value} (${n_items.toLocaleString("en")})`)),
  );
  const some = n_values > values.length ? `, the ${values.length} commonest` : "";
  return make("div", { className: "field" }, make("label", { htmlFor: select.id }, `${column}${some}`), select);
}

/** Choose a value of a select, also one that it does not list. */
function choose(select, value) {
  if (![...select.options].some((option) => option.value === value)) select.append(make("option", { value }, select.name ? value : memberAndName(value)));
  select.value = value;
}

async function example() {
  await fill(byId("user-form"), async () => {
    const { users } = await ask("users?limit=200", { signal: nextState() });
    const few = users.filter((user) => user.n_events <= 40);
    const from = few.length ? few : users;
    if (from.length) await loadUser(from[Math.floor(Math.random() * from.length)].user_id);
  }, byId("history-hint"));
}

async function suggestUsers() {
  try {
    const { users } = await ask(`users?${new URLSearchParams({ query: byId("user").value.trim(), limit: 12 })}`);
    byId("users").replaceChildren(...users.map((user) => make("option", { value: user.user_id }, count(user.n_events, "event"))));
  } catch (error) {
    if (!(error instanceof Failure)) throw error; // the field does without
  }
}

async function historyOf(user, signal) {
  const { items } = await ask(`users/${encodeURIComponent(user)}`, { signal });
  return items.map(known);
}

/** Find out what an item of an address is called, and whether the catalogue has it. */
async function learn(entry, signal) {
  if (entry.known !== undefined) return;
  try {
    if (!titles.has(entry.id)) titles.set(entry.id, (await ask(`items/${encodeURIComponent(entry.id)}`, { signal })).title);
    Object.assign(entry, { title: titles.get(entry.id), known: true });
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    Object.assign(entry, { title: entry.id, known: false });
  }
}

const known = ({ item_id, title }) => {
  titles.set(item_id, title || item_id);
  return { id: item_id, title: title || item_id, known: true };
};

const joined = (entries, item) => (entries.some((entry) => entry.id === item.item_id) ? entries : [...entries, known(item)]);
