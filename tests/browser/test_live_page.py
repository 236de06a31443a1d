"""What a person sees: the page in a real browser, on tables written from real log lines."""

import re
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from contracts.settings import Settings
from tests.browser.conftest import Site
from tests.serving.server import serving

PROMISED_MS = 5_000

HOSTILE_REQUESTS = (
    "GET /<script>window.hacked=1</script> HTTP/1.0",
    'GET /<img src=x onerror="window.hacked=1"> HTTP/1.0',
    "GET /'\"><svg onload=window.hacked=1> HTTP/1.0",
    "GET /javascript:window.hacked=1 HTTP/1.0",
    "GET /שלום\u202eevil\u202c HTTP/1.0",
)
HOSTILE_LINES = (
    b"\x16\x03\x01\x00<script>window.hacked=1</script>",
    b"\xff\xfe<img src=x onerror=window.hacked=1>",
    "שלום \u202e<b>bold</b>".encode(),
    b"</code><h1>heading</h1>",
)


def card(page: Page, name: str) -> str:
    return page.locator(f"#card-{name}").inner_text()


def wait_for_card(page: Page, name: str, text: str, timeout_ms: int = 10_000) -> None:
    expect(page.locator(f"#card-{name}")).to_have_text(re.compile(text), timeout=timeout_ms)


def test_the_morning_of_9_july_1995_is_shown(site: Site) -> None:
    site.write(site.morning, forecast=True, duplicates=20)
    page = site.open()
    wait_for_card(page, "requests", "12,430")
    assert card(page, "errors") == "125 1.0%"
    assert card(page, "busiest") == "67 requests"
    expect(page.locator("#period")).to_contain_text(
        "Sat 8 Jul 1995, 12:00 \u2013 Sun 9 Jul 1995, 12:00 (UTC\u221204:00)"
    )
    expect(page.locator("#panel-statuses")).to_contain_text("11,335")
    expect(page.locator("#panel-resources tbody tr").first).to_contain_text("/images/NASA-logosmall.gif")
    expect(page.locator("#panel-hosts tbody tr").first).to_contain_text("piweba4y.prodigy.com")
    expect(page.locator("#panel-sessions")).to_contain_text("1,157")
    expect(page.locator("#panel-forecast .note")).to_contain_text("access_log_volume, version 3")
    expect(page.locator("#panel-oddities")).to_contain_text("41 requests")
    expect(page.locator("#panel-quarantine")).to_contain_text("every one that arrived could be read")
    expect(page.locator("#flow-bronze strong")).to_have_text("12,450")
    expect(page.locator("#flow-aside small")).to_have_text("in quarantine, 20 sent twice")
    expect(page.locator("#flow-gold small")).to_have_text("covers all of silver")
    expect(page.locator("#flow-kafka strong")).to_have_text("not running", timeout=10_000)
    expect(page.locator("#live")).to_have_text("Live")
    for chart in ("traffic", "heatmap", "forecast"):
        assert page.locator(f"#panel-{chart} canvas").count() >= 1
    assert site.complaints == []


def test_a_commit_reaches_every_open_tab_within_five_seconds(site: Site) -> None:
    # More tabs than a browser opens connections to one server.
    pages = [site.open() for _ in range(8)]
    for page in pages:
        expect(page.locator("#empty h2")).to_have_text("No requests yet")
    site.write(site.first(500))
    committed = time.monotonic()
    for page in pages:
        wait_for_card(page, "requests", "^500$", PROMISED_MS)
    assert time.monotonic() - committed < PROMISED_MS / 1000
    assert site.server.get("/health")[1]["listeners"] == 1  # the tabs share one event stream


def test_when_the_listening_tab_closes_another_takes_over(site: Site) -> None:
    pages = [site.open() for _ in range(3)]
    for page in pages:
        expect(page.locator("#live")).to_have_text("Live")
    pages[0].close()
    site.write(site.first(300))
    for page in pages[1:]:
        wait_for_card(page, "requests", "^300$", PROMISED_MS)


def test_an_open_page_does_not_ask_while_nothing_changes(site: Site) -> None:
    site.write(site.first(500))
    page = site.open()
    wait_for_card(page, "requests", "^500$")
    page.wait_for_timeout(1500)
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.wait_for_timeout(6000)
    assert asked == []
    site.write(site.first(600))
    wait_for_card(page, "requests", "^600$", PROMISED_MS)
    page.wait_for_timeout(1500)
    per_panel = {path: sum(path in url for url in asked) for path in ("/api/summary", "/api/hosts", "/api/freshness")}
    assert all(1 <= n <= 9 for n in per_panel.values()), per_panel  # once a commit at most, of eight tables


def test_the_page_reconnects_after_the_server_was_started_again(site: Site) -> None:
    site.write(site.first(200))
    page = site.open()
    wait_for_card(page, "requests", "^200$")
    expect(page.locator("#live")).to_have_text("Live")
    assert site.server.stop() == 0
    expect(page.locator("#live")).to_have_text("Reconnecting…", timeout=10_000)
    site.write(site.first(700))
    with serving(site.python, site.state, port=site.server.port):
        wait_for_card(page, "requests", "^700$", 15_000)
        expect(page.locator("#live")).to_have_text("Live")


def test_markup_in_log_lines_is_shown_as_text(site: Site) -> None:
    line = '{} - - [09/Jul/1995:10:{:02d}:00 -0400] "{}" 404 5\n'
    lines = [line.format(f"10.0.0.{n}", n, request).encode() for n, request in enumerate(HOSTILE_REQUESTS)]
    lines.append(line.format("<script>window.hacked=1</script>", 30, "GET / HTTP/1.0").encode())
    log = site.folder / "hostile.log"
    log.write_bytes(b"".join(lines) + b"\n".join(HOSTILE_LINES) + b"\n")
    site.write(log)
    page = site.open()
    resources, quarantine = page.locator("#panel-resources"), page.locator("#panel-quarantine")
    wait_for_card(page, "requests", "^6$")
    expect(resources).to_contain_text("/<script>window.hacked=1</script>")
    expect(resources).to_contain_text('/<img src=x onerror="window.hacked=1">')
    expect(resources).to_contain_text("/'\"><svg onload=window.hacked=1>")
    expect(resources).to_contain_text("/שלום\\xE2\\x80\\xAEevil\\xE2\\x80\\xAC")
    expect(page.locator("#panel-hosts")).to_contain_text("<script>window.hacked=1</script>")
    expect(quarantine).to_contain_text("\\x16\\x03\\x01\\x00<script>window.hacked=1</script>")
    expect(quarantine).to_contain_text("\\xFF\\xFE<img src=x onerror=window.hacked=1>")
    expect(quarantine).to_contain_text("שלום \\xE2\\x80\\xAE<b>bold</b>")
    expect(quarantine).to_contain_text("</code><h1>heading</h1>")
    for details in page.locator("details").all():
        details.locator("summary").click()
    page.wait_for_timeout(500)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main script, main img, main svg, main b:has-text('bold'), main h1").count() == 0
    # Letters that run right to left stay in their own box: the next column is where it belongs.
    assert all(box.get_attribute("dir") == "ltr" for box in page.locator("main bdi").all())
    assert site.complaints == []


def test_a_reason_can_be_chosen(site: Site) -> None:
    log = site.folder / "bad.log"
    log.write_bytes(
        b'h - - [nonsense] "GET / HTTP/1.0" 200 1\nrubbish\nh - - [09/Jul/1995:10:00:00 -0400] "GET / HTTP/1.0" 200 1\n'
    )
    site.write(log)
    page = site.open()
    panel = page.locator("#panel-quarantine")
    expect(panel.locator(".raw li")).to_have_count(2)
    panel.get_by_role("button", name="bad_time").click()
    expect(panel.locator(".raw li")).to_have_count(1)
    expect(panel.locator(".raw li")).to_contain_text("nonsense")
    panel.get_by_role("button", name="bad_time").click()
    expect(panel.locator(".raw li")).to_have_count(2)


def test_a_range_and_a_comparison_can_be_chosen_and_shared(site: Site) -> None:
    line = '10.0.0.1 - - [{:02d}/Jul/1995:10:{:02d}:00 -0400] "GET /{} HTTP/1.0" 200 5\n'
    log = site.folder / "two_weeks.log"
    log.write_text("".join(line.format(d, m, d) for d, n in ((2, 40), (9, 50)) for m in range(n)))
    site.write(log)
    page = site.open()
    wait_for_card(page, "requests", "^50$")
    page.locator("select[name=compare]").select_option("week")
    expect(page.locator("#panel-summary .change").first).to_have_text("+25.0% against 40")
    assert "compare=week" in page.url
    page.locator("input[name=from]").fill("1995-07-02T10:10")
    page.locator("input[name=to]").fill("1995-07-02T10:30")
    page.get_by_role("button", name="Show", exact=True).click()
    wait_for_card(page, "requests", "^20$")
    assert "from=1995-07-02T14%3A10" in page.url
    expect(page.locator("#period")).to_contain_text("Sun 2 Jul 1995, 10:10 \u2013 10:30 (UTC\u221204:00)")
    page.locator("#zone").select_option("utc")
    expect(page.locator("#period")).to_contain_text("Sun 2 Jul 1995, 14:10 \u2013 14:30 (UTC)")
    expect(page.locator("input[name=from]")).to_have_value("1995-07-02T14:10")
    other = site.open(page.url.removeprefix(site.server.url).lstrip("/"))
    wait_for_card(other, "requests", "^20$")
    expect(other.locator("#zone")).to_have_value("utc")
    page.get_by_role("button", name="24 hours", exact=True).click()
    wait_for_card(page, "requests", "^50$")
    page.go_back()
    wait_for_card(page, "requests", "^20$")


def test_dragging_over_the_chart_looks_closer(site: Site) -> None:
    site.write(site.morning)
    page = site.open()
    wait_for_card(page, "requests", "12,430")
    chart = page.locator("#panel-traffic canvas")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box
    page.wait_for_timeout(300)
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.5, steps=5)
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.5, steps=5)
    page.mouse.up()
    page.wait_for_url(re.compile("from=1995-07-09"))
    expect(page.locator("#card-requests")).not_to_have_text("12,430")


@pytest.mark.parametrize("query", ["from=yesterday", "from=1995-02-30", "last=soon", "compare=year"])
def test_a_wrong_date_in_the_address_is_answered_with_400_and_explained(site: Site, query: str) -> None:
    site.write(site.first(100))
    page = site.context.new_page()
    answer = page.goto(f"{site.server.url}/?{query}")
    assert answer
    assert answer.status == 400
    alert = page.locator("#alert")
    expect(alert).to_be_visible()
    name, value = query.split("=")
    expect(alert).to_contain_text(f"parameter {name}: found '{value}'")
    expect(page.locator("#content")).to_be_hidden()
    alert.get_by_role("button").click()
    wait_for_card(page, "requests", "^100$")
    expect(alert).to_be_hidden()


def test_an_empty_lake_says_what_to_type(site: Site) -> None:
    page = site.open()
    expect(page.locator("#empty h2")).to_have_text("No requests yet")
    expect(page.locator("#empty code")).to_have_text("bin/millrace replay samples/nasa_http/access_09jul1995_am.log")
    expect(page.locator("#content")).to_be_hidden()
    assert site.complaints == []


def test_a_damaged_table_is_explained_where_it_is_missing(site: Site) -> None:
    site.write(site.first(100))
    for file in (site.state / "lake/gold/sessions").rglob("*.parquet"):
        file.write_bytes(b"not a data file")
    page = site.open()
    wait_for_card(page, "requests", "^100$")
    expect(page.locator("#panel-sessions .message")).to_contain_text("Reading gold.sessions")
    expect(page.locator("#panel-resources tbody tr").first).to_be_visible()


def test_charts_have_a_table_and_everything_has_a_name(site: Site) -> None:
    site.write(site.morning, forecast=True)
    page = site.open()
    wait_for_card(page, "requests", "12,430")
    heat = page.locator("#panel-heatmap")
    heat.get_by_text("Show as table").click()
    expect(heat.locator("tbody tr")).to_have_count(24)
    expect(heat.locator("tbody tr").nth(11)).to_contain_text("1,936")
    assert "most on Sun at 11:00" in (heat.locator("[role=img]").get_attribute("aria-label") or "")
    assert all(p.get_attribute("aria-labelledby") for p in page.locator("section.panel").all())
    for field in page.locator("button, input, select").all():
        assert field.evaluate("e => !!(e.textContent.trim() || e.labels?.length)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_page_fits_its_window_in_both_schemes(site: Site, scheme: str, width: int, height: int) -> None:
    site.write(site.morning, forecast=True)
    page = site.open()
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": height})
    wait_for_card(page, "requests", "12,430")
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=site.folder / f"page_{width}_{scheme}.png", full_page=True)
    # Text on its background has at least the contrast that WCAG asks for (4.5 to 1).
    for selector in ("body", ".note", ".card dt, .cards dt", ".chip", "td", "th", ".freshness"):
        assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, selector


@pytest.mark.stack
def test_the_page_of_the_running_stack_shows_its_stream(browser: Browser, screenshots: Path) -> None:
    url = f"http://127.0.0.1:{Settings().ports.page}"
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()  # noqa: S310 - our own page
    except OSError:
        pytest.skip(f"no page at {url} (bin/millrace up)")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(url)
    wait_for_card(page, "requests", r"^[\d,]+$")
    expect(page.locator("#flow-kafka small")).to_have_text("lines waiting", timeout=10_000)
    expect(page.locator("#live")).to_have_text("Live")
    page.wait_for_timeout(1500)
    page.screenshot(path=screenshots / "live_page.png", full_page=True)
    page.close()


CONTRAST = """element => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behindOf = e => parse(getComputedStyle(e).backgroundColor)[3] === 0 ? behindOf(e.parentElement) : e;
  const [a, b] = [
    light(parse(getComputedStyle(element).color)), light(parse(getComputedStyle(behindOf(element)).backgroundColor)),
  ];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""
