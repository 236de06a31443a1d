// Building elements. Text from the lake only ever becomes a text node: nothing here parses HTML.

export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  const { class: className, text, title, data, width, ...attributes } = options;
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  if (title) node.title = title;
  if (data) Object.assign(node.dataset, data);
  // Set through the object model: the page's policy refuses style attributes in markup.
  if (width !== undefined) node.style.width = width;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Text of a stranger: isolated, so that right-to-left characters in it cannot reorder what stands beside it.
export function foreign(text, className = "") {
  return el("bdi", { class: `foreign ${className}`.trim(), dir: "ltr", text, title: text });
}

export function table(columns, rows, options = {}) {
  const head = el("tr", {}, ...columns.map((c) => el("th", { scope: "col", class: classOf(c), text: c.title })));
  const body = rows.map((row) => el("tr", {}, ...columns.map((column) => {
    const value = column.cell(row);
    const cell = el("td", { class: classOf(column) });
    cell.append(value instanceof Node ? value : document.createTextNode(value));
    return cell;
  })));
  const caption = options.caption ? el("caption", { text: options.caption }) : null;
  const whole = el("table", { class: options.class ?? "" }, caption, el("thead", {}, head), el("tbody", {}, ...body));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": options.label ?? options.caption ?? "Table" }, whole);
}

function classOf(column) {
  return `${column.number ? "number" : ""} ${column.class ?? ""}`.trim();
}

// A table that says what a chart shows, made only when somebody opens it.
export function alternative(make) {
  const details = el("details", { class: "alternative" }, el("summary", { text: "Show as table" }));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(make());
  });
  return details;
}

export function message(text, command, kind = "quiet") {
  const box = el("div", { class: `message ${kind}` }, el("p", { text }));
  if (command) box.append(el("pre", {}, el("code", { text: command })));
  return box;
}
