// Numbers, sizes, durations and instants as people read them.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat("en-US", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const NONE = "–";
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

export const number = (n) => (n === null || n === undefined ? NONE : whole.format(n));
export const decimal = (n) => (n === null || n === undefined ? NONE : short.format(n));
export const share = (part, all) => (all ? percent.format(part / all) : NONE);

export function bytes(n) {
  if (n === null || n === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let value = n;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? whole.format(value) : short.format(value)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${pad(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${pad(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function age(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1.5) return "just now";
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 129600) return `${Math.round(s / 3600)} h ago`;
  return `${whole.format(Math.round(s / 86400))} days ago`;
}

// Change against an earlier figure, e.g. "+12.5%"; null where there is nothing to compare with.
export function change(now, before) {
  if (before === null || before === undefined || before === 0 || now === null || now === undefined) return null;
  const by = (now - before) / before;
  const sign = by > 0 ? "+" : by < 0 ? "−" : "±";
  return `${sign}${percent.format(Math.abs(by))}`;
}

// Instants are shown at a fixed offset, never in the zone of whoever looks: the log's own time, or UTC.
export function clock(seconds, offsetMin) {
  const d = moved(seconds, offsetMin);
  return `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}`;
}

export function day(seconds, offsetMin) {
  const d = moved(seconds, offsetMin);
  return `${DAYS[d.getUTCDay()]} ${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]} ${d.getUTCFullYear()}`;
}

export const dayAndClock = (seconds, offsetMin) => `${day(seconds, offsetMin)}, ${clock(seconds, offsetMin)}`;

export function span(fromS, toS, offsetMin) {
  const sameDay = day(fromS, offsetMin) === day(toS, offsetMin);
  const end = sameDay ? clock(toS, offsetMin) : dayAndClock(toS, offsetMin);
  return `${dayAndClock(fromS, offsetMin)} – ${end}`;
}

export function zoneName(offsetMin) {
  const sign = offsetMin < 0 ? "−" : "+";
  const minutes = Math.abs(offsetMin);
  return offsetMin === 0 ? "UTC" : `UTC${sign}${pad(Math.floor(minutes / 60))}:${pad(minutes % 60)}`;
}

// For <input type="datetime-local">, and back: seconds since 1970, null if the field is empty or wrong.
export function toField(seconds, offsetMin) {
  return moved(seconds, offsetMin).toISOString().slice(0, 16);
}

export function fromField(text, offsetMin) {
  const at = Date.parse(`${text}Z`);
  return Number.isNaN(at) ? null : at / 1000 - offsetMin * 60;
}

export const iso = (seconds) => new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, "Z");

function moved(seconds, offsetMin) {
  return new Date((seconds + offsetMin * 60) * 1000);
}

function pad(n) {
  return String(n).padStart(2, "0");
}
