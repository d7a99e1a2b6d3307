// The part "The model": its figures, what each recommender adds, how it came to serve, how far its data have moved.

import { opened } from "./address.js";
import { ask, fill, hasKey, onlyTheLatest, request } from "./client.js";
import { byId, draw, make } from "./dom.js";
import { drift, member, metric, moment } from "./words.js";

const FUSED = "fused";
const ABLATED = "fused without ";
const FIGURES = ["ndcg", "hr", "mrr", "coverage"];
const next = onlyTheLatest();

/** Show the model that answers now. */
export async function open() {
  opened("model", {});
  const signal = next();
  const shown = byId("model-figures");
  await fill(shown, async () => {
    const model = await ask("model", { signal });
    shown.replaceChildren(about(model), figures(model), worth(model), moves(model), moved(model));
  });
}

function about(model) {
  const facts = [
    ["Data set", model.dataset],
    ["Model", make("span", { className: "code" }, model.fingerprint)],
    ["Made", moment(model.created)],
    ["Items", model.n_items.toLocaleString("en")],
    ["Users", model.n_users.toLocaleString("en")],
  ];
  const links = [];
  if (model.report) links.push(make("a", { href: "report", target: "_blank", rel: "noopener", on: { click: download } }, "Report of its run"));
  if (model.flow_run?.url) links.push(make("a", { href: model.flow_run.url, target: "_blank", rel: "noopener" }, "Prefect run"));
  else if (model.flow_run) facts.push(["Prefect run", make("span", { className: "code" }, model.flow_run.id)]);
  return make(
    "div",
    { className: "panel" },
    make("dl", { className: "facts wide" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    links.length ? make("p", { className: "links" }, ...links) : null,
  );
}

/** A link brings no key: where one is wanted, the report is fetched with it. */
async function download(event) {
  if (!hasKey()) return;
  event.preventDefault();
  const links = event.target.closest(".links");
  const notice = make("span");
  links.append(notice);
  await fill(links, async () => {
    const url = URL.createObjectURL(await (await request("report")).blob());
    make("a", { href: url, download: "report.html" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }, notice);
}

function figures({ metrics }) {
  const panel = section("How good its lists are");
  const largest = Math.max(...metrics.map((row) => row.k));
  const rows = metrics.filter((row) => row.k === largest && !row.method.startsWith(ABLATED));
  if (!rows.length) {
    panel.append(make("p", {}, "Nothing was measured of this model."));
    return panel;
  }
  const names = FIGURES.filter((name) => rows.some((row) => row.metric === name));
  const of = (method, name) => rows.find((row) => row.method === method && row.metric === name);
  const first = names[0];
  const methods = [...new Set(rows.map((row) => row.method))].sort((a, b) => (b === FUSED) - (a === FUSED) || of(b, first)?.value - of(a, first)?.value);
  const scale = scaleOf(methods.map((method) => of(method, first)), 0);
  panel.append(
    make("p", { className: "soft" }, `On ${rows[0].n.toLocaleString("en")} events that no recommender had seen: is the next item among the first ${largest}? HR is the share of hits. NDCG counts a hit at a better place more, and MRR still more. Coverage is the share of all items that any list shows. A line shows how sure a figure is.`),
    table(
      ["Recommender", metric(first, largest), "", ...names.slice(1).map((name) => metric(name, largest))],
      methods.map((method) => [
        named(method),
        number(of(method, first)),
        interval(of(method, first), scale, method === FUSED),
        ...names.slice(1).map((name) => number(of(method, name))),
      ]),
      methods.indexOf(FUSED),
    ),
  );
  return panel;
}

function worth({ worth: rows, headline }) {
  const panel = section("What each recommender adds");
  const shown = rows.filter((row) => row.metric === "ndcg");
  if (!shown.length) {
    panel.append(make("p", {}, headline ?? "This was not measured."));
    return panel;
  }
  const scale = scaleOf(shown, null);
  panel.append(
    make("p", { className: "soft" }, `How much ${metric("ndcg", shown[0].k)} falls where a recommender is left out. A line that crosses the mark means that chance alone could explain it.`),
    table(
      ["Recommender", "Adds", "", "So it"],
      shown.map((row) => [named(row.method), signed(row), interval(row, scale, row.ci_low > 0), verdict(row)]),
      -1,
    ),
  );
  if (headline) panel.append(make("p", { className: "soft" }, headline));
  return panel;
}

function moves({ moves: all, fingerprint }) {
  const panel = section("How the champion changed");
  if (!all.length) panel.append(make("p", {}, "No model has been promoted yet."));
  panel.append(
    make(
      "ol",
      { className: "moves-list" },
      ...[...all].reverse().map((move) =>
        make(
          "li",
          {},
          make("span", { className: "tag" }, move.kind === "promote" ? "promoted" : "rolled back to"),
          make("span", { className: "code" }, move.to),
          move.to === fingerprint ? make("span", { className: "tag now" }, "answers now") : null,
          make("span", {}, move.why),
          make("time", { dateTime: move.when, className: "soft" }, moment(move.when)),
        ),
      ),
    ),
  );
  return panel;
}

function moved({ drift: figuresOfDrift, rebuild }) {
  const panel = section("How far the data have moved");
  const due = rebuild.length
    ? [make("p", {}, make("strong", {}, "A rebuild is due:")), make("ul", {}, ...rebuild.map((why) => make("li", {}, why)))]
    : [make("p", {}, "No rebuild is due.")];
  const figures = table(["", "Value"], Object.entries(figuresOfDrift).map(([name, value]) => drift(name, value)), -1);
  panel.append(...due, make("details", {}, make("summary", {}, "The figures behind this"), figures));
  return panel;
}

const section = (heading) => make("section", { className: "panel" }, make("h2", {}, heading));

function table(heads, rows, strong) {
  const cell = (content, place) => make(place ? "td" : "th", { className: place ? "number" : "", ...(place ? {} : { scope: "row" }) }, content);
  return make(
    "div",
    { className: "scrolls", tabIndex: 0, attributes: { role: "group", "aria-label": heads.filter(Boolean).join(", ") } },
    make(
      "table",
      {},
      make("thead", {}, make("tr", {}, ...heads.map((head, place) => (head || place === 0 ? make("th", { scope: "col" }, head || make("span", { className: "visually-hidden" }, "What")) : make("td"))))),
      make("tbody", {}, ...rows.map((row, place) => make("tr", { className: place === strong ? "strong" : "" }, ...row.map(cell)))),
    ),
  );
}

const named = (method) => make("span", { title: method }, member(method));
const number = (row) => (row ? row.value.toFixed(3) : "");
const signed = (row) => `${row.value < 0 ? "−" : "+"}${Math.abs(row.value).toFixed(4)}`;

function verdict(row) {
  if (row.ci_low === null) return "has too few users to tell";
  if (row.ci_low > 0) return "helps";
  return row.ci_high < 0 ? "harms" : "makes no sure difference";
}

/** From the lowest to the highest bound of some rows, `from` among them where it is given, and 0. */
function scaleOf(rows, from) {
  const bounds = rows.flatMap((row) => [row?.ci_low ?? row?.value, row?.ci_high ?? row?.value]).filter((bound) => bound != null);
  const low = Math.min(from ?? 0, ...bounds);
  const high = Math.max(0, ...bounds);
  return (value) => 4 + (152 * (value - low)) / (high - low || 1);
}

/** An interval as a line, the value as a dot on it, and 0 as a mark. */
function interval(row, at, strong) {
  if (!row) return "";
  const words = row.ci_low === null ? "no interval" : `interval from ${row.ci_low.toFixed(4)} to ${row.ci_high.toFixed(4)}`;
  const drawing = draw("svg", { viewBox: "0 0 160 16", class: strong ? "interval strong" : "interval", role: "img", "aria-label": words });
  drawing.append(draw("title", {}, words), draw("line", { class: "zero", x1: at(0), x2: at(0), y1: 1, y2: 15 }));
  if (row.ci_low !== null) drawing.append(draw("line", { class: "span", x1: at(row.ci_low), x2: at(row.ci_high), y1: 8, y2: 8 }));
  drawing.append(draw("circle", { cx: at(row.value), cy: 8, r: 3.5 }));
  return drawing;
}
