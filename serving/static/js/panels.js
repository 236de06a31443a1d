// What each panel shows of its answer. `context` has { offsetMin, data, onSpan, onReason }; texts of the lake go through
// `foreign`, everything else is ours.

import { heat, lines } from "./charts.js";
import { alternative, el, foreign, message, table } from "./dom.js";
import {
  bytes, change, dayAndClock, decimal, duration, number, share, span, WEEKDAYS, zoneName,
} from "./format.js";

export function summary(_, answer) {
  const { totals, earlier } = answer;
  const before = earlier?.requests ? earlier : null;
  card("requests", number(totals.requests), before ? compared(totals.requests, before.requests, number) : earlier && "none earlier");
  card("errors", number(totals.errors), before && compared(totals.errors, before.errors, number), totals.requests ? share(totals.errors, totals.requests) : "");
  card("bytes", bytes(totals.bytes_sent), before && compared(totals.bytes_sent, before.bytes_sent, bytes));
  card("busiest", number(totals.busiest?.requests), before && compared(totals.busiest?.requests, before.busiest.requests, number), totals.busiest ? "requests" : "");
}

export function traffic(box, answer, context) {
  const { at_s, requests, errors, earlier } = trimmed(answer);
  if (!requests.some((v) => v !== null)) return empty(box, answer, context);
  const chart = keep(box, "chart tall");
  const series = [
    { name: "requests", at_s, values: requests, colour: "now", filled: true },
    { name: "errors", at_s, values: errors, colour: "error" },
  ];
  if (earlier?.some((v) => v !== null)) series.push({ name: "earlier", at_s, values: earlier, colour: "earlier", dashed: true });
  const width = answer.period.bucket_s;
  lines(chart, series, context, `Requests per minute from ${span(at_s[0], at_s.at(-1) + width, context.offsetMin)}, `
    + `at most ${decimal(Math.max(...requests))}`);
  note(box, `${unit(width)} · drag to look closer`);
  rest(box, alternative(() => table([
    { title: `From (${zoneName(context.offsetMin)})`, cell: (r) => dayAndClock(r.at, context.offsetMin) },
    { title: "Requests per minute", number: true, cell: (r) => decimal(r.requests) },
    { title: "Errors per minute", number: true, cell: (r) => decimal(r.errors) },
    ...(earlier ? [{ title: "Earlier", number: true, cell: (r) => decimal(r.earlier) }] : []),
  ], grouped(at_s, { requests, errors, earlier: earlier ?? [] }), { label: "Requests per minute" })));
}

export function statuses(box, answer) {
  const all = answer.classes.reduce((sum, c) => sum + c.requests, 0);
  if (!all) return rest(box, message("No requests in this range."));
  const before = answer.classes.reduce((sum, c) => sum + (c.earlier ?? 0), 0);
  const bar = el("div", { class: "stack", role: "img", "aria-label": "Share of each status class" });
  for (const one of answer.classes.filter((c) => c.requests)) {
    bar.append(el("span", { class: `s${one.name}`, width: `${(100 * one.requests) / all}%`, title: `${one.name}: ${share(one.requests, all)}` }));
  }
  const names = { "2xx": "2xx answered", "3xx": "3xx elsewhere or unchanged", "4xx": "4xx refused or not found", "5xx": "5xx server failed", other: "other or none" };
  const classes = table([
    { title: "Status", cell: (c) => el("span", { class: "key" }, el("i", { class: `dot s${c.name}` }), names[c.name]) },
    { title: "Requests", number: true, cell: (c) => number(c.requests) },
    { title: "Share", number: true, cell: (c) => share(c.requests, all) },
    ...(before ? [{ title: "Earlier", number: true, class: "quiet", cell: (c) => share(c.earlier, before) }] : []),
  ], answer.classes, { label: "Status mix" });
  const methods = table([
    { title: "Method", cell: (m) => (m.name === "other" ? "other or none" : m.name.toUpperCase()) },
    { title: "Requests", number: true, cell: (m) => number(m.requests) },
    { title: "Errors", number: true, cell: (m) => share(m.errors, m.requests) },
  ], answer.methods, { label: "Methods" });
  rest(box, bar, classes, methods);
}

export function heatmap(box, answer, context) {
  note(box, `requests an hour, the log’s own time (${zoneName(answer.period.utc_offset_min)})`);
  const cells = answer.cells.map((cell) => ({ ...cell, mean: cell.requests / cell.days }));
  if (!cells.length) return empty(box, answer, context);
  const most = cells.reduce((a, b) => (b.mean > a.mean ? b : a));
  heat(keep(box, "chart heat"), cells, `Requests by hour and weekday; most on ${WEEKDAYS[most.weekday - 1]} at ${most.hour}:00, ${decimal(most.mean)} an hour`);
  const found = new Map(cells.map((c) => [`${c.weekday} ${c.hour}`, c]));
  rest(box, alternative(() => table([
    { title: "Hour", cell: (hour) => `${String(hour).padStart(2, "0")}:00` },
    ...WEEKDAYS.map((name, i) => ({ title: name, number: true, cell: (hour) => decimal(found.get(`${i + 1} ${hour}`)?.mean) })),
  ], [...Array(24).keys()], { label: "Mean requests by hour and weekday" })));
}

export function resources(box, answer) {
  note(box, `${number(answer.different)} different${answer.counted_over === "range" ? "" : `, counted over ${answer.counted_over}`}`);
  rest(box, ranking(answer.resources, "path", "Resource", answer));
}

export function hosts(box, answer) {
  note(box, `${number(answer.different)} different${answer.counted_over === "range" ? "" : `, counted over ${answer.counted_over}`}`);
  rest(box, ranking(answer.hosts, "host", "Host", answer));
}

export function sessions(box, answer, context) {
  const { totals, earlier } = answer;
  const before = earlier?.sessions ? earlier : null;
  card("sessions", number(totals.sessions), before && compared(totals.sessions, before.sessions, number));
  card("median", duration(totals.median_duration_s), before && compared(totals.median_duration_s, before.median_duration_s, duration));
  if (!totals.sessions) return rest(box, message("No session began in this range."));
  const facts = el("dl", { class: "facts" }, ...[
    ["Sessions", number(totals.sessions)], ["Hosts", number(totals.hosts)],
    ["Median duration", duration(totals.median_duration_s)], ["Longest", duration(totals.longest_duration_s)],
    ["Requests in a session", decimal(totals.mean_requests)], ["Of a single request", share(totals.single_request, totals.sessions)],
  ].map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value }))));
  rest(box, facts, table([
    { title: "Host", class: "name", cell: (s) => foreign(s.host) },
    { title: `Began (${zoneName(context.offsetMin)})`, class: "nowrap", cell: (s) => dayAndClock(s.started_s, context.offsetMin) },
    { title: "Duration", number: true, cell: (s) => duration(s.duration_s) },
    { title: "Requests", number: true, cell: (s) => number(s.requests) },
    { title: "Errors", number: true, cell: (s) => number(s.errors) },
    { title: "First resource", class: "name", cell: (s) => foreign(s.entry_path ?? "(none)") },
    { title: "Last resource", class: "name", cell: (s) => foreign(s.exit_path ?? "(none)") },
  ], answer.longest, { caption: "Longest sessions", label: "Longest sessions" }));
}

export function forecast(box, answer, context) {
  const { at_s, forecast: expected, actual } = trimmed({ ...answer, requests: answer.actual, errors: answer.forecast, earlier: null }, true);
  if (!answer.models.length) return rest(box, message("No minute of this range was forecast."));
  const chart = keep(box, "chart");
  lines(chart, [
    { name: "actual", at_s, values: actual, colour: "now", filled: true },
    { name: "forecast", at_s, values: expected, colour: "forecast" },
  ], { ...context, onSpan: null }, "Forecast and actual requests per minute");
  const newest = answer.models[0];
  note(box, `requests per minute · model ${newest.name}, version ${newest.version}`);
  rest(box, table([
    { title: "Model", class: "nowrap", cell: (m) => foreign(`${m.name}, version ${m.version}`) },
    { title: "Minutes", number: true, cell: (m) => number(m.minutes) },
    { title: "Mean absolute error", number: true, cell: (m) => decimal(m.mean_absolute_error) },
    { title: "Mean requests", number: true, cell: (m) => decimal(m.mean_actual) },
    { title: "Forecast made (UTC)", class: "nowrap", cell: (m) => dayAndClock(m.scored_at_s, 0) },
  ], answer.models, { label: "Models of the forecast" }), alternative(() => table([
    { title: `From (${zoneName(context.offsetMin)})`, cell: (r) => dayAndClock(r.at, context.offsetMin) },
    { title: "Forecast", number: true, cell: (r) => decimal(r.expected) },
    { title: "Actual", number: true, cell: (r) => decimal(r.actual) },
  ], grouped(at_s, { expected, actual }), { label: "Forecast and actual" })));
}

export function quarantine(box, answer, context) {
  if (!answer.total) return rest(box, message("No line has been refused: every one that arrived could be read.", null, "good"));
  const chosen = context.reason;
  const reasons = el("ul", { class: "chips" }, ...answer.reasons.map((r) => {
    const button = el("button", {
      type: "button", "aria-pressed": String(r.reason === chosen),
      title: `${dayAndClock(r.first_s, 0)} – ${dayAndClock(r.last_s, 0)} UTC`,
    }, foreign(r.reason), el("b", { text: number(r.lines) }));
    button.addEventListener("click", () => context.onReason(r.reason === chosen ? null : r.reason));
    return el("li", {}, button);
  }));
  rest(box, el("p", { class: "lead" }, el("b", { text: number(answer.total) }), ` ${answer.total === 1 ? "line" : "lines"} in all`), reasons,
    el("ol", { class: "raw" }, ...answer.lines.map((line) => el("li", {},
      el("code", {}, foreign(line.shown || "(empty)"), line.was_cut ? "…" : ""),
      el("small", {}, foreign(line.reason), ` · ${number(line.bytes)} ${line.bytes === 1 ? "byte" : "bytes"} · arrived ${dayAndClock(line.kafka_at_s, 0)} UTC`
        + ` · Kafka partition ${line.kafka_partition}, offset ${line.kafka_offset}`),
    ))));
}

export function oddities(box, answer, context) {
  if (answer.requests === null) return rest(box, message("Too many requests to look through one by one: choose a shorter range."));
  if (!answer.requests) return rest(box, message("Nothing unusual in this range.", null, "good"));
  rest(box, el("p", { class: "lead" }, el("b", { text: number(answer.requests) }), ` ${answer.requests === 1 ? "request" : "requests"} in this range`),
    el("ul", { class: "chips" }, ...answer.flags.map((f) => el("li", {}, el("span", {}, foreign(f.flag), el("b", { text: number(f.requests) }))))),
    el("ol", { class: "raw" }, ...answer.newest.map((one) => el("li", {},
      el("code", {}, foreign(one.request || "(empty)")),
      el("small", {}, foreign(one.host), ` · ${one.status ?? "no status"} · ${dayAndClock(one.requested_s, context.offsetMin)} · `, foreign(one.flags.join(", "))),
    ))));
}

function card(id, value, about, unitName = "") {
  const figure = document.getElementById(`card-${id}`);
  figure.replaceChildren(value, ...(unitName ? [el("span", { class: "unit", text: ` ${unitName}` })] : []));
  figure.parentElement.querySelector(".change").textContent = about ?? "";
}

// "+12.5% against 1,024": the change in percent and the earlier figure itself.
function compared(value, before, format) {
  const by = change(value, before);
  return by ? `${by} against ${format(before)}` : `earlier ${format(before)}`;
}

// A panel's body: an element that stays (a chart), and what is made anew each time after it.
function keep(box, className) {
  let kept = box.querySelector(":scope > .kept");
  if (!kept) {
    kept = el("div", { class: `kept ${className}` });
    box.replaceChildren(kept);
  }
  kept.hidden = false;
  return kept;
}

function rest(box, ...nodes) {
  const kept = box.querySelector(":scope > .kept");
  const charted = kept !== null && nodes.some((n) => n.classList?.contains("alternative"));
  if (kept) kept.hidden = !charted;
  // An open table stays open when the figures change.
  const open = box.querySelector(":scope > details[open]") !== null;
  for (const child of [...box.children]) if (child !== kept) child.remove();
  box.append(...nodes);
  if (open) for (const node of nodes) if (node.tagName === "DETAILS") node.open = true;
}

function empty(box, answer, context) {
  const held = context.data ? ` The lake has requests from ${span(context.data.from_s, context.data.to_s, context.offsetMin)}.` : "";
  rest(box, message(`No requests in this range.${held}`));
}

function note(box, text) {
  box.parentElement.querySelector(".note").textContent = text;
}

function ranking(rows, key, title, answer) {
  if (!rows.length) return message("No requests in this range.");
  const most = rows[0].requests;
  const both = answer.period.earlier !== null && rows.some((r) => r.earlier);
  return table([
    { title, class: "name", cell: (r) => el("span", { class: "bar" }, el("i", { width: `${(100 * r.requests) / most}%` }), foreign(r[key])) },
    { title: "Requests", number: true, cell: (r) => number(r.requests) },
    ...(both ? [{ title: "Earlier", number: true, class: "quiet", cell: (r) => number(r.earlier) }] : []),
    { title: "Errors", number: true, cell: (r) => (r.errors ? number(r.errors) : "0") },
    { title: "Sent", number: true, class: "nowrap roomy", cell: (r) => bytes(r.bytes_sent) },
  ], rows, { label: title });
}

// Without the empty time before the first and after the last value of any series: a log of one morning fills the chart.
function trimmed(answer) {
  const columns = ["requests", "errors", "earlier", "actual", "forecast"].filter((name) => Array.isArray(answer[name]));
  const known = answer.at_s.map((_, i) => columns.some((name) => answer[name][i] !== null));
  const first = known.indexOf(true);
  const last = known.lastIndexOf(true) + 1;
  const cut = { ...answer, at_s: answer.at_s.slice(first, last) };
  for (const name of columns) cut[name] = first < 0 ? [] : answer[name].slice(first, last);
  return cut;
}

// At most about 60 rows for a table: means over equal stretches of a series.
function grouped(at_s, columns) {
  const step = Math.max(1, Math.ceil(at_s.length / 60));
  const nice = [1, 5, 10, 15, 30, 60, 120, 360, 720, 1440].find((n) => n >= step) ?? step;
  const rows = [];
  for (let i = 0; i < at_s.length; i += nice) {
    const row = { at: at_s[i] };
    for (const [name, values] of Object.entries(columns)) {
      const known = values.slice(i, i + nice).filter((v) => v !== null && v !== undefined);
      row[name] = known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
    }
    rows.push(row);
  }
  return rows;
}

function unit(bucketS) {
  if (bucketS === 60) return "each minute";
  if (bucketS < 3600) return `mean of ${bucketS / 60} minutes`;
  if (bucketS < 86400) return bucketS === 3600 ? "mean of an hour" : `mean of ${bucketS / 3600} hours`;
  return bucketS === 86400 ? "mean of a day" : `mean of ${bucketS / 86400} days`;
}


