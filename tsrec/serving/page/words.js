// Words for what the server calls by short names.

const MEMBERS = {
  fused: "All together",
  tsrec: "Language model",
  "item-knn": "Often together",
  popular: "Most popular",
  sasrec: "Sequence model",
  "text-similarity": "Similar texts",
  transitions: "Often right after",
};

/** A member in words; its own name where there are none. */
export const member = (name) => MEMBERS[name] ?? name;

/** The same with its own name, as the API wants it. */
export const memberAndName = (name) => (MEMBERS[name] ? `${MEMBERS[name]} (${name})` : name);

const DRIFT = {
  new_items: ["Items that the model before did not have", "share"],
  new_users: ["Users that the model before did not have", "share"],
  new_item_events: ["Newest events that are on new items", "share"],
  placed_items: ["Items that came after the codes were made", "share"],
  n_new_events: ["New events", "number"],
  n_late_events: ["New events older than the newest known one", "number"],
  n_gone_events: ["Events that are gone", "number"],
  n_held_out_events_known: ["Test events that the model before had learned from", "number"],
  quantization_error_known: ["What the codes miss of known items", "figure"],
  quantization_error_new: ["What the codes miss of new items", "figure"],
  popularity_shift: ["Change of what is popular (bits)", "figure"],
};

/** A figure of drift in words: what it is, and its value. */
export function drift(name, value) {
  const level = /^perplexity_level_(\d+)$/.exec(name);
  const [words, kind] = level ? [`Codes in use, level ${level[1]}`, "number"] : (DRIFT[name] ?? [name, "figure"]);
  return [words, value === null ? "not known" : FORMATS[kind](value)];
}

const FORMATS = {
  share: (value) => `${(100 * value).toFixed(1)} %`,
  number: (value) => Math.round(value).toLocaleString("en"),
  figure: (value) => value.toFixed(3),
};

const METRICS = { hr: "HR", ndcg: "NDCG", mrr: "MRR", coverage: "Coverage" };

export const metric = (name, k) => `${METRICS[name] ?? name}@${k}`;

/** A moment (ISO) as people here write it. */
export const moment = (text) => new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
