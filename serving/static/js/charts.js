// Charts, all by Apache ECharts: how a series looks is decided here, what it says in panels.js.

import { el } from "./dom.js";
import { dayAndClock, decimal, number, WEEKDAYS } from "./format.js";

const scheme = window.matchMedia("(prefers-color-scheme: dark)");
const drawn = new Map();

// A chart in `box`, made once; `describe` says in a sentence what it shows, for those who cannot see it.
export function draw(box, option, describe) {
  let chart = drawn.get(box);
  if (!chart) {
    chart = window.echarts.init(box, null, { renderer: "canvas" });
    drawn.set(box, chart);
    new ResizeObserver(() => chart.resize()).observe(box);
  }
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", describe);
  chart.redraw = () => chart.setOption(option(), { notMerge: true });
  chart.redraw();
  return chart;
}

scheme.addEventListener("change", () => {
  for (const chart of drawn.values()) chart.redraw();
});

// Lines over time. `series` is [{ name, at_s, values, colour, dashed, filled }]; `context` knows the offset in minutes.
export function lines(box, series, context, describe) {
  const offset = context.offsetMin * 60;
  const option = () => {
    const look = palette();
    return {
      animation: false,
      useUTC: true, // times are moved by the offset beforehand, so "UTC" here reads as the chosen clock
      grid: { left: 46, right: 14, top: 34, bottom: 26 },
      legend: {
        top: 0, left: 0, itemWidth: 18, itemHeight: 8, itemGap: 16, icon: "roundRect",
        textStyle: { color: look.text, fontFamily: look.font },
      },
      tooltip: tooltip(look, (points) => tip(
        dayAndClock(points[0].value[0] / 1000 - offset, context.offsetMin),
        points.filter((p) => p.value[1] !== null).map((p) => [p.color, p.seriesName, decimal(p.value[1])]),
      )),
      xAxis: {
        type: "time", axisLine: { lineStyle: { color: look.line } }, axisTick: { show: false },
        axisLabel: {
          color: look.quiet, fontFamily: look.font, hideOverlap: true,
          formatter: { year: "{yyyy}", month: "{MMM} {yyyy}", day: "{d} {MMM}", hour: "{HH}:{mm}", minute: "{HH}:{mm}", second: "{HH}:{mm}:{ss}" },
        },
        splitLine: { show: false },
      },
      yAxis: {
        type: "value", min: 0, minInterval: 1,
        axisLabel: { color: look.quiet, fontFamily: look.font, formatter: (v) => number(v) },
        splitLine: { lineStyle: { color: look.grid } },
      },
      toolbox: { show: false }, // the brush would bring its own
      brush: context.onSpan
        ? { xAxisIndex: 0, brushType: "lineX", brushMode: "single", brushStyle: { color: look.brush, borderWidth: 0 } }
        : undefined,
      series: series.map((one) => ({
        name: one.name, type: "line", symbol: "none", connectNulls: false,
        data: one.at_s.map((t, i) => point((t + offset) * 1000, one.values, i)),
        color: look[one.colour],
        lineStyle: { width: one.dashed ? 1.2 : 1.5, type: one.dashed ? [4, 3] : "solid" },
        areaStyle: one.filled ? { opacity: look.area } : undefined,
        z: one.dashed ? 1 : 2,
      })),
    };
  };
  const chart = draw(box, option, describe);
  if (!context.onSpan) return;
  chart.off("brushEnd");
  chart.on("brushEnd", (event) => {
    const area = event.areas[0];
    chart.dispatchAction({ type: "brush", areas: [] });
    if (area) context.onSpan(area.coordRange[0] / 1000 - offset, area.coordRange[1] / 1000 - offset);
  });
  // Dragging selects; on a touch screen it must go on scrolling the page.
  if (window.matchMedia("(pointer: fine)").matches) {
    chart.dispatchAction({ type: "takeGlobalCursor", key: "brush", brushOption: { brushType: "lineX", brushMode: "single" } });
  }
}

// Hour by weekday. `cells` is [{ weekday: 1-7, hour, mean, requests, days, errors }].
export function heat(box, cells, describe) {
  const known = new Set(cells.map((c) => `${c.hour} ${7 - c.weekday}`));
  const blank = [...Array(168).keys()].map((n) => [n % 24, Math.floor(n / 24)]).filter(([h, row]) => !known.has(`${h} ${row}`));
  const option = () => {
    const look = palette();
    return {
      animation: false,
      grid: { left: 36, right: 8, top: 6, bottom: 58 },
      tooltip: { ...tooltip(look, (p) => (p.data.cell === null ? tip("no requests", []) : tip(
        `${WEEKDAYS[6 - p.value[1]]}, ${String(p.value[0]).padStart(2, "0")}:00 – ${String(p.value[0]).padStart(2, "0")}:59`,
        [
          [p.color, "requests a day", decimal(p.value[2])],
          [null, "requests in all", number(p.data.cell.requests)],
          [null, "errors", number(p.data.cell.errors)],
          [null, p.data.cell.days === 1 ? "day" : "days", number(p.data.cell.days)],
        ],
      ))), trigger: "item", axisPointer: undefined },
      xAxis: {
        type: "category", data: [...Array(24).keys()].map(String), splitArea: { show: false },
        axisLine: { show: false }, axisTick: { show: false },
        axisLabel: { color: look.quiet, fontFamily: look.font, interval: 2 },
      },
      yAxis: {
        type: "category", data: [...WEEKDAYS].reverse(), axisLine: { show: false }, axisTick: { show: false },
        axisLabel: { color: look.quiet, fontFamily: look.font },
      },
      visualMap: {
        min: 0, max: Math.max(1, ...cells.map((c) => c.mean)), calculable: false, orient: "horizontal", left: "center", bottom: 0,
        itemWidth: 10, itemHeight: 120, inRange: { color: look.heat }, textGap: 8, precision: 0,
        text: [`${number(Math.max(1, ...cells.map((c) => c.mean)))} requests an hour`, "0"],
        textStyle: { color: look.quiet, fontFamily: look.font },
      },
      series: [{
        type: "heatmap",
        data: [
          ...blank.map(([hour, row]) => ({ value: [hour, row, 0], cell: null, visualMap: false, itemStyle: { color: look.grid } })),
          ...cells.map((cell) => ({ value: [cell.hour, 7 - cell.weekday, cell.mean], cell })),
        ],
        itemStyle: { borderColor: look.panel, borderWidth: 2, borderRadius: 4 },
        emphasis: { itemStyle: { borderColor: look.text, borderWidth: 1 } },
      }],
    };
  };
  draw(box, option, describe);
}

function tooltip(look, content) {
  return {
    trigger: "axis", confine: true, backgroundColor: look.panel, borderColor: look.line, padding: 10,
    textStyle: { color: look.text, fontFamily: look.font, fontSize: 12 },
    axisPointer: { lineStyle: { color: look.line } },
    formatter: content, // an element: the library would insert a string as HTML
  };
}

function tip(title, rows) {
  const list = rows.map(([colour, name, value]) => {
    const dot = el("i", { class: "dot" });
    if (colour) dot.style.background = colour;
    return el("div", { class: "tip-row" }, dot, el("span", { text: name }), el("b", { text: value }));
  });
  return el("div", { class: "tip" }, el("strong", { text: title }), ...list);
}

// A single value between two gaps has no line to show it, so it gets a dot.
function point(x, values, i) {
  const known = (n) => (values[n] ?? null) !== null;
  const value = [x, values[i]];
  return known(i) && !known(i - 1) && !known(i + 1) ? { value, symbol: "circle", symbolSize: 4 } : { value };
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    text: read("--text"), quiet: read("--quiet"), line: read("--line"), grid: read("--grid"), panel: read("--panel"),
    now: read("--now"), earlier: read("--earlier"), error: read("--error"), forecast: read("--forecast"),
    brush: read("--brush"), area: scheme.matches ? 0.16 : 0.12, font: getComputedStyle(document.body).fontFamily,
    heat: read("--heat").split(" "),
  };
}
