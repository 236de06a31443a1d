// The page: which range is shown, asking for its figures, and asking again when the tables behind them change.

import { message } from "./dom.js";
import { age, fromField, iso, number, span, toField, zoneName } from "./format.js";
import { listen } from "./live.js";
import * as show from "./panels.js";

const DUPLICATES_EVERY_MS = 10000; // reads a column of bronze, so not after each of its commits

const state = {
  range: {}, // last, or from and to: as they stand in the page's address
  compare: "previous",
  zone: "log",
  reason: null,
  logOffsetMin: 0,
  data: null,
  versions: {},
  stream: null,
  fresh: null,
  duplicates: null,
  clockSkewS: 0,
  news: 0, // events about tables so far
};

const panels = [
  panel("summary", show.summary),
  panel("traffic", show.traffic),
  panel("statuses", show.statuses),
  panel("heatmap", show.heatmap),
  panel("resources", show.resources),
  panel("hosts", show.hosts),
  panel("sessions", show.sessions, { limit: 8 }),
  panel("forecast", show.forecast),
  panel("oddities", show.oddities, { limit: 12 }),
  panel("quarantine", show.quarantine, { limit: 12 }, { ranged: false }),
  panel("freshness", (_, answer) => { state.fresh = answer; showFlow(); }, {}, { ranged: false }),
  panel("duplicates", (_, answer) => { state.duplicates = answer.duplicates; showFlow(); }, {}, { ranged: false, everyMs: DUPLICATES_EVERY_MS }),
];

function panel(name, render, parameters = {}, { ranged = true, everyMs = 0 } = {}) {
  return { name, render, parameters, ranged, everyMs, asking: false, again: false, askedAt: 0, askedNews: -1, versions: null, answer: null };
}

const $ = (id) => document.getElementById(id);
const body = (one) => $(`panel-${one.name}`)?.querySelector(".body") ?? null;
const offsetMin = () => (state.zone === "utc" ? 0 : state.logOffsetMin);
const now = () => Date.now() / 1000 + state.clockSkewS;

function context() {
  return { offsetMin: offsetMin(), data: state.data, reason: state.reason, onSpan: zoom, onReason: chooseReason };
}

// Asking ------------------------------------------------------------------------------------------------------------

function query(one) {
  const asked = new URLSearchParams();
  if (one.ranged) {
    for (const [name, value] of Object.entries(state.range)) asked.set(name, value);
    if (state.compare !== "previous") asked.set("compare", state.compare);
  }
  for (const [name, value] of Object.entries(one.parameters)) asked.set(name, value);
  if (one.name === "quarantine" && state.reason !== null) asked.set("reason", state.reason);
  return asked.toString();
}

// At most one request of a panel is under way; changes meanwhile lead to exactly one more.
async function ask(one) {
  if (one.asking) {
    one.again = true;
    return;
  }
  if (document.hidden) {
    one.askedNews = -1; // asked when somebody looks again
    one.versions = null;
    return;
  }
  const wait = one.askedAt + one.everyMs - Date.now();
  if (one.everyMs && wait > 0) {
    one.timer ??= setTimeout(() => { one.timer = null; ask(one); }, wait);
    return;
  }
  one.asking = true;
  one.askedAt = Date.now();
  one.askedNews = state.news;
  const asked = query(one);
  try {
    const response = await fetch(`/api/${one.name}${asked ? `?${asked}` : ""}`, { headers: { Accept: "application/json" } });
    const answer = await response.json();
    if (asked !== query(one)) one.again = true; // the range was changed meanwhile: this answer is of no use
    else take(one, response, answer);
  } catch {
    one.versions = null; // the server is away; the next event after it is back asks again
  } finally {
    one.asking = false;
    if (one.again || outdated(one)) {
      one.again = false;
      ask(one);
    }
  }
}

function take(one, response, answer) {
  if (response.status === 400) {
    one.versions = {}; // asked again when another range is chosen
    return refuse(answer.error);
  }
  if (!response.ok) {
    one.versions = { ...state.versions }; // until one of the tables changes
    body(one)?.replaceChildren(message(answer.error?.message ?? "The page failed at this.", answer.error?.next_step, "bad"));
    return;
  }
  one.versions = answer.versions;
  one.answer = answer;
  state.clockSkewS = answer.now_s - Date.now() / 1000;
  if (one.name === "summary") takePeriod(answer);
  if (!answer.available) {
    body(one)?.replaceChildren(message("Nothing here yet.", answer.next_step));
    return;
  }
  one.render(body(one), answer, context());
}

function takePeriod(answer) {
  $("alert").hidden = true;
  $("empty").hidden = answer.available;
  $("content").hidden = !answer.available;
  $("controls").hidden = !answer.available;
  if (!answer.available) return showEmpty(answer);
  const { period, data } = answer;
  const moved = state.logOffsetMin !== period.utc_offset_min;
  state.logOffsetMin = period.utc_offset_min;
  state.data = { from_s: Date.parse(data.from) / 1000, to_s: Date.parse(data.to) / 1000 };
  const offset = offsetMin();
  const earlier = period.earlier
    ? ` · compared with ${span(Date.parse(period.earlier.from) / 1000, Date.parse(period.earlier.to) / 1000, offset)}` : "";
  const future = data.future_requests ? ` · ${number(data.future_requests)} requests are dated in the future` : "";
  $("period").textContent = `${span(period.from_s, period.to_s, offset)} (${zoneName(offset)})${earlier}${future}`;
  const form = $("controls").elements;
  if (!$("controls").contains(document.activeElement) || document.activeElement.tagName !== "INPUT") {
    form.from.value = toField(period.from_s, offset);
    form.to.value = toField(period.to_s, offset);
  }
  if (moved) renderAgain();
}

function refuse(error) {
  $("alert").hidden = false;
  $("alert").querySelector("p").textContent = `${error.attempted}: found ${error.found}; required ${error.required}.`;
  $("content").hidden = true;
  $("empty").hidden = true;
  $("controls").hidden = false;
}

function showEmpty(answer) {
  const silver = state.fresh?.tables?.find((t) => t.name === "silver.access_log");
  const waiting = silver && silver.rows > 0;
  $("empty").querySelector("h2").textContent = waiting ? "Requests are in, their figures are on the way" : "No requests yet";
  $("empty").querySelector("p").textContent = waiting
    ? `${number(silver.rows)} requests are in silver; the gold tables follow within seconds while the stream runs.`
    : "The lake is empty. Send a log file through Kafka, for instance the one that comes with the project:";
  $("empty").querySelector("code").textContent = waiting ? "bin/millrace status" : "bin/millrace replay samples/nasa_http/access_09jul1995_am.log";
}

function askAll() {
  for (const one of panels) ask(one);
}

function renderAgain() {
  for (const one of panels) if (one.answer?.available) one.render(body(one), one.answer, context());
}

// Live --------------------------------------------------------------------------------------------------------------

let soon = null;

function onEvent(name, data) {
  if (name === "stream") {
    state.stream = data;
    showFlow();
  } else if (name === "tables") {
    state.versions = data.versions;
    state.news += 1;
    // A micro-batch commits several tables within a moment; they are asked about together.
    soon ??= setTimeout(() => { soon = null; askChanged(); }, 150);
  }
}

function askChanged() {
  showVersions();
  for (const one of panels) if (!one.asking && outdated(one)) ask(one);
}

// Whether an event that came after the panel was asked tells of other versions than those it shows.
function outdated(one) {
  if (one.askedNews === state.news) return false;
  if (one.versions === null) return true;
  return Object.entries(one.versions).some(([table, version]) => state.versions[table] !== version);
}

function onState(live) {
  $("live").dataset.state = live;
  $("live").textContent = live === "live" ? "Live" : "Reconnecting…";
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) askChanged();
});

// The strip at the top ----------------------------------------------------------------------------------------------

function showFlow() {
  const rows = Object.fromEntries((state.fresh?.tables ?? []).map((t) => [t.name, t.rows]));
  const count = (name) => (rows[name] === undefined ? "–" : number(rows[name]));
  const running = state.stream?.running;
  stage("kafka", state.stream === null ? "–" : running ? number(state.stream.lag_records) : "not running",
    running ? "lines waiting" : "the stream", running === false ? "warn" : "");
  stage("bronze", count("bronze.access_log"), "lines arrived");
  stage("silver", count("silver.access_log"), "requests read");
  stage("aside", count("quarantine.access_log"), `in quarantine, ${state.duplicates === null ? "–" : number(state.duplicates)} sent twice`);
  // A version of silver that changes nothing in gold has no commit there: the driver knows that it was looked at.
  const versions = [state.fresh?.gold_covers_silver_version, running ? state.stream.gold_version : null];
  const covers = Math.max(...versions.filter((version) => version !== null && version !== undefined));
  const behind = (state.fresh?.silver_version ?? 0) - covers;
  const known = Number.isFinite(covers);
  stage("gold", known ? `version ${covers}` : "–",
    !known ? "no figures yet" : behind > 0 ? `${number(behind)} ${behind === 1 ? "version" : "versions"} of silver behind` : "covers all of silver");
  showAges();
}

function stage(name, value, about, mood = "") {
  const item = $(`flow-${name}`);
  item.querySelector("strong").textContent = value;
  item.querySelector("small").textContent = about;
  item.dataset.mood = mood;
}

function showAges() {
  const parts = [];
  if (state.fresh?.newest_kafka_at_s) parts.push(`Newest line reached Kafka ${age(now() - state.fresh.newest_kafka_at_s)}`);
  const gold = (state.fresh?.tables ?? []).find((t) => t.name === "gold.access_log_1m");
  if (gold?.committed_at_s) parts.push(`gold written ${age(now() - gold.committed_at_s)}`);
  if (state.stream?.running === false) parts.push("the stream is not running (bin/millrace up)");
  else if (state.stream?.error) parts.push(`the stream says: ${state.stream.error}`);
  else if (state.stream?.running) parts.push(`stream ${state.stream.state}`);
  $("freshness").textContent = parts.join(" · ");
}

function showVersions() {
  const known = Object.entries(state.versions).filter(([, version]) => version !== null);
  $("versions").textContent = known.length ? `Table versions: ${known.map(([name, tag]) => `${name} ${tag.split("-")[0]}`).join(", ")}` : "";
}

setInterval(showAges, 1000);

// Choosing ----------------------------------------------------------------------------------------------------------

function readAddress() {
  const given = new URLSearchParams(location.search);
  state.range = {};
  for (const name of ["last", "from", "to"]) if (given.has(name)) state.range[name] = given.get(name);
  state.compare = given.get("compare") ?? "previous";
  state.zone = given.get("zone") === "utc" ? "utc" : "log";
  const form = $("controls").elements;
  form.compare.value = state.compare;
  $("zone").value = state.zone;
  markPreset();
}

function choose(range) {
  if (range) state.range = range;
  const address = new URLSearchParams(state.range);
  if (state.compare !== "previous") address.set("compare", state.compare);
  if (state.zone !== "log") address.set("zone", state.zone);
  const text = address.toString();
  history.pushState(null, "", text ? `?${text}` : location.pathname);
  markPreset();
  askAll();
}

function markPreset() {
  const last = state.range.last ?? (state.range.from || state.range.to ? null : "24h");
  for (const button of document.querySelectorAll("[data-last]")) {
    button.setAttribute("aria-pressed", String(button.dataset.last === last));
  }
}

function zoom(fromS, toS) {
  const from = Math.floor(fromS / 60) * 60;
  const to = Math.ceil(toS / 60) * 60;
  if (to - from >= 120) choose({ from: iso(from), to: iso(to) });
}

function chooseReason(reason) {
  state.reason = reason;
  ask(panels.find((one) => one.name === "quarantine"));
}

for (const button of document.querySelectorAll("[data-last]")) {
  button.addEventListener("click", () => choose({ last: button.dataset.last }));
}

$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  const range = {};
  for (const name of ["from", "to"]) {
    const field = $("controls").elements[name];
    const at = fromField(field.value, offsetMin());
    // A half-filled or impossible date is sent as it is: the server says what is wrong with it.
    if (at !== null) range[name] = iso(at);
    else if (field.value || field.validity.badInput) range[name] = field.value || "incomplete";
  }
  choose(range);
});

$("controls").elements.compare.addEventListener("change", (event) => {
  state.compare = event.target.value;
  choose();
});

$("zone").addEventListener("change", (event) => {
  state.zone = event.target.value;
  choose();
});

$("alert").querySelector("button").addEventListener("click", () => {
  state.compare = "previous";
  $("controls").elements.compare.value = "previous";
  choose({});
});

window.addEventListener("popstate", () => {
  readAddress();
  askAll();
});

readAddress();
askAll();
listen(onEvent, onState);
