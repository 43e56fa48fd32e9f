"""The console in a real browser, against a real service on a port of its own."""

import json
import os
import re
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from hardrank.bundle import save_bundle
from hardrank.context import RunContext
from hardrank.guards.base import Listing, Verdict
from hardrank.models import Tfidf
from hardrank.serve.monitors import Alarm
from hardrank.testing.logs import taste_log
from hardrank.testing.service import WordGuard

pytestmark = pytest.mark.slow

EVIL = '<img src=x onerror="window.evil=1">'
REPORT = f"<!doctype html><h1>All is well</h1><script>top.evil=1</script>{EVIL}"
SECTIONS = ("health", "quarantine", "exposure", "playground", "report", "audit")
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class MarkingGuard(WordGuard):
    """Says where it looked, and says an evil reason."""

    def _one(self, listing: Listing) -> Verdict:
        title = listing.fields.get("title", "")
        if "spam" not in title:
            return super()._one(listing)
        at = title.index("spam")
        return Verdict("quarantine", EVIL, 0.9, EVIL, None, (("title", at, at + 4),))


@dataclass
class Running:
    address: str
    app: Any
    keys: dict[str, str]

    def ask(self, role: str, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.keys[role]}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def hold(self, item_id: str, title: str) -> None:
        self.ask("ingest", "PUT", f"/v1/items/{item_id}", {"fields": {"title": title}})

    def waiting(self) -> list[str]:
        return [row["item_id"] for row in self.ask("review", "GET", "/v1/quarantine")["rows"]]


@dataclass
class Tab:
    """A page, and what went wrong in it."""

    page: Any
    wrong: list[str] = field(default_factory=list)

    def open(self, section: str) -> None:
        self.page.evaluate("name => { location.hash = name }", section)
        self.page.wait_for_selector(f"#section-{section} h1")

    def until(self, true: str) -> None:
        """As `wait_for_function`, which the page's policy forbids: it evaluates a string there."""
        for _ in range(300):
            if self.page.evaluate(true):
                return
            time.sleep(0.05)
        raise TimeoutError(f"{true}: {self.page.inner_text('body')[:2_000]}")

    def sign_in(self, key: str) -> None:
        self.page.fill("#key", key)
        self.page.keyboard.press("Enter")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    import uvicorn

    from hardrank.serve.app import create_app
    from hardrank.serve.settings import Settings
    from hardrank.serve.store import Store

    folder = tmp_path_factory.mktemp("console")
    data = taste_log()
    model = Tfidf().fit(data, RunContext(seed=0))
    for name in ("live", "control"):
        about = {"name": name, "synthetic": True}
        save_bundle(folder / name, Tfidf(), model, data, about, report=REPORT)
    store = Store.open(folder / "s.db")
    keys = {role: store.add_key(EVIL, role) for role in ("read", "ingest", "review", "admin")}
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    settings = Settings(
        bundle=str(folder / "live"), store=f"sqlite:///{folder / 's.db'}", key_seconds=0.0,
        control=str(folder / "control"), port=port,
    )  # fmt: skip
    app = create_app(settings, store=store, guard=MarkingGuard())
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    made = Running(f"http://127.0.0.1:{port}", app, keys)
    for _ in range(600):
        if server.started and app.state.service.ready:
            break
        time.sleep(0.05)
    yield made
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="no playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("the console must be tested in CI: install chromium")
        pytest.skip("no chromium")
    with sync.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield made
        made.close()


@pytest.fixture
def tab(browser: Any, running: Running, request: pytest.FixtureRequest) -> Iterator[Tab]:
    """Fails the test where the page complained, or asked another host."""
    options = getattr(request, "param", {"viewport": {"width": 1280, "height": 800}})
    context = browser.new_context(**options)
    context.set_default_timeout(15_000)
    made = Tab(context.new_page())
    made.page.on("pageerror", lambda error: made.wrong.append(str(error)))
    made.page.on("console", lambda said: _note(made, said))
    made.page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith(running.address) else made.wrong.append(asked.url)
        ),
    )
    made.page.goto(f"{running.address}/console")
    yield made
    context.close()
    assert not made.wrong


def _note(tab: Tab, said: Any) -> None:
    refused = "Failed to load resource" in said.text  # a 401 or 409 that a test asks for
    framed = "console/report" in said.location.get("url", "") or "about:" in said.text
    blocked = "Blocked script execution" in said.text or "violates" in said.text
    if said.type in ("error", "warning") and not refused and not (framed and blocked):
        tab.wrong.append(said.text)


def _inside(tab: Tab, running: Running, section: str = "health") -> Any:
    tab.sign_in(running.keys["review"])
    tab.page.wait_for_selector("#section-health .tile")
    tab.open(section)
    return tab.page


def test_signing_in_tells_what_is_missing_and_a_key_that_stops_leads_back(
    tab: Tab, running: Running
) -> None:
    page, says = tab.page, "#door-says:not(:empty)"
    tab.sign_in("hr_000000000000_" + "a" * 43)
    assert "does not open anything" in page.inner_text(says)
    for role in ("read", "ingest"):
        tab.sign_in(running.keys[role])
        tab.until("document.querySelector('#door-says').innerText.includes('review')")
    assert page.evaluate("sessionStorage.length") == 0 and page.is_hidden("#inside")
    store = running.app.state.service.store
    key = store.add_key("short", "review")
    tab.sign_in(key)
    page.wait_for_selector("#section-health .tile")
    assert key not in page.content() and page.evaluate("localStorage.length") == 0
    page.reload()
    page.wait_for_selector("#section-health .tile")
    store.revoke_key(key.split("_")[1], who="test")
    page.wait_for_selector("#door:not([hidden])")
    assert "Sign in again" in page.inner_text(says)
    assert page.evaluate("sessionStorage.length") == 0
    tab.sign_in(running.keys["review"])
    page.click("#sign-out")
    assert "signed out" in page.inner_text(says)


def test_cases_are_decided_by_keyboard_alone(tab: Tab, running: Running) -> None:
    for n in range(3):
        running.hold(f"k{n}", f"spam number {n}")
    page = _inside(tab, running, "quarantine")
    page.wait_for_selector(".case >> nth=2")
    assert page.locator(".case mark").first.inner_text() == "spam"
    page.keyboard.press("a")  # nothing is in focus: nothing happens
    page.wait_for_selector("#toast.shown.warn")
    for key in "jjk":
        page.keyboard.press(key)
    focused = "document.activeElement.querySelector('h2')?.innerText"
    assert page.evaluate(focused) == "spam number 0"
    assert "solid" in page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("a")
    page.wait_for_selector("#toast.shown.good")
    assert "Admitted" in page.inner_text("#toast")
    assert running.ask("ingest", "GET", "/v1/items/k0")["state"] == "live"
    tab.until(f"{focused} === 'spam number 1'")
    page.keyboard.press("r")
    tab.until("document.querySelector('#toast').innerText.includes('Rejected')")
    assert running.ask("ingest", "GET", "/v1/items/k1")["state"] == "rejected"
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    page.keyboard.press("r")  # not while the help is open
    page.keyboard.press("Escape")
    assert running.waiting() == ["k2"]
    case = running.ask("review", "GET", "/v1/quarantine")["rows"][0]["id"]
    running.ask("review", "POST", f"/v1/quarantine/{case}/reject")
    page.click(".case button.admit")  # somebody else was faster
    tab.until("document.querySelector('#toast').innerText.includes('faster')")
    tab.until("document.querySelectorAll('.case').length === 0")
    assert "Nothing waits" in page.inner_text("#main")


def test_every_section_opens_and_every_button_works(tab: Tab, running: Running) -> None:
    running.hold("b0", "spam a")
    running.hold("b1", "spam b")
    running.app.state.service.watching.ring(
        Alarm("exposure-surge", "i0", 0.4, 0.1, time.time() - 60, "shown far more")
    )
    for n in range(6):
        running.ask("read", "POST", "/v1/recommend", {"user_id": f"u{n}"})
    page = _inside(tab, running)
    for section in SECTIONS:
        tab.open(section)
        assert page.locator(f"nav a[href='#{section}']").get_attribute("aria-current") == "page"
        for box in page.locator("#main input, #main textarea").all():
            assert box.evaluate("box => box.labels.length") == 1
    tab.open("quarantine")
    page.wait_for_selector("#cases .case >> nth=1")
    page.click("text=Refresh")
    page.wait_for_selector("#cases .case >> nth=1")
    page.click("text=By user")
    page.wait_for_selector("button[aria-pressed=true]:has-text('By user')")
    page.click("text=Keys")
    page.click("#help-close")
    page.click("#cases button.admit >> nth=0")
    tab.until("document.querySelectorAll('#cases .case').length === 1")
    page.click("#cases button.reject")
    tab.until("document.querySelectorAll('#cases .case').length === 0")
    tab.open("exposure")
    page.wait_for_selector(".alarm")
    page.locator(".check input").first.uncheck()
    page.locator(".check input").first.check()
    page.click("text=This is meant")
    tab.until("document.querySelectorAll('.alarm').length === 0")
    assert running.app.state.service.watching.standing() == []
    tab.open("report")
    frame = page.frame_locator("iframe.report")
    assert frame.locator("h1").inner_text() == "All is well"
    tab.open("audit")
    page.wait_for_selector("td:has-text('accept-alarm')")
    assert page.evaluate("window.evil") is None


def test_an_edit_shows_what_would_move_and_changes_nothing(tab: Tab, running: Running) -> None:
    page = _inside(tab, running, "playground")
    page.fill("#search", "thing 57")
    page.click(".choices button:has-text('thing 57')")
    page.wait_for_selector("#text-title")
    said = ".verdict"
    assert "stands now" in page.inner_text(said)
    page.fill("#text-title", "group 0 thing 0 spam")
    tab.until("document.querySelector('.verdict').innerText.includes('hold it back')")
    tab.until("document.querySelector('.verdict').innerText.includes('undefended')")
    assert re.search(r"live model 0\.0 % → \d\d", page.inner_text(said))
    assert page.inner_text(".said mark") == "spam"
    for button in page.locator("fieldset button").all():
        button.click()
    tab.until("document.querySelector('.verdict').innerText.includes('stands now')")
    assert page.input_value("#text-title") == "group 0 thing 57"
    page.fill("#people", "u0, u1,nobody")
    tab.until("document.body.innerText.includes('nobody')")
    assert running.ask("ingest", "GET", "/v1/items/i57")["fields"] == {"title": "group 0 thing 57"}
    assert "i57" not in running.waiting()


def test_texts_of_sellers_are_texts_everywhere(tab: Tab, running: Running) -> None:
    """Titles, item ids, users, reasons and key names that hold HTML stay what they are."""
    evil_id = EVIL.replace("/", "")
    running.ask("ingest", "PUT", "/v1/items/i3", {"fields": {"title": f"{EVIL} group 0 thing 0"}})
    running.hold("x1", f"{EVIL} spam \u200b\u202eb")
    event = {"event_id": "x", "user_id": EVIL, "item_id": evil_id, "time": int(time.time())}
    running.ask("ingest", "POST", "/v1/events", {"events": [event]})
    for n in range(9):
        asked = {"history": [f"i{n * 3 + 9}"], "k": 50}
        running.ask("read", "POST", "/v1/recommend", asked)
    running.app.state.service.watching.ring(Alarm(EVIL, EVIL, 1.0, 0.0, time.time(), EVIL))
    page = _inside(tab, running, "quarantine")
    page.wait_for_selector("#cases .case")
    texts = page.inner_text("#main")
    assert texts.count(EVIL) >= 4 and "U+200B" in texts and "U+202E" in texts
    assert evil_id in texts  # of the event that is held
    page.click("ol[aria-label='Events that wait'] button.reject")
    tab.until("document.querySelector('#toast').innerText.includes('Rejected: 1 event of item')")
    assert running.ask("review", "GET", "/v1/quarantine/events")["waiting"] == 0
    tab.open("exposure")
    page.wait_for_selector(".check")
    assert page.inner_text(".alarm").count(EVIL) == 3
    assert EVIL in page.inner_text("#main fieldset")
    page.click("text=This is meant")
    tab.until("document.querySelectorAll('.alarm').length === 0")
    tab.open("playground")
    page.fill("#search", "img src")
    tab.until("document.querySelectorAll('.choices button').length === 1")
    page.click(".choices button")
    page.fill("#text-title", f"{EVIL} spam")
    page.fill("#people", EVIL)
    page.wait_for_selector(".said mark")
    assert page.inner_text("#main").count(EVIL) >= 4
    tab.open("audit")
    page.wait_for_selector("table")
    assert EVIL in page.inner_text("table")
    tab.open("quarantine")
    page.click("#cases button.reject")
    page.wait_for_selector("#toast.shown")
    tab.open("health")
    page.wait_for_selector("table")
    assert EVIL in page.inner_text("#main")  # the guard's name
    tab.open("report")
    page.frame_locator("iframe.report").locator("h1").wait_for()
    assert page.evaluate("window.evil") is None
    assert page.locator("#main img").count() == 0


PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}


@pytest.mark.parametrize("tab", [PHONE], indirect=True)
def test_it_fits_a_phone_and_a_thumb(tab: Tab, running: Running) -> None:
    running.hold("p0", "spam " + "w" * 300)
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert tab.page.evaluate(fits)
    page = _inside(tab, running)
    for section in SECTIONS:
        tab.open(section)
        if section == "quarantine":
            page.wait_for_selector("#cases .case")
        if section == "playground":
            page.click(".choices button >> nth=0")
            page.fill("#text-title", "x" * 500)
            tab.until("!document.body.innerText.includes('stands now')")
        if section in ("exposure", "audit"):
            page.wait_for_selector("table")
        assert page.evaluate(fits), section
        small = page.evaluate(
            """() => [...document.querySelectorAll('button, nav a, input, textarea, label.check')]
                .filter(e => e.offsetParent && !e.closest('label.check input, .skip'))
                .filter(e => e.type !== 'checkbox' && !e.classList.contains('skip'))
                .map(e => [e.innerText, e.getBoundingClientRect().height])
                .filter(([, height]) => height < 40)"""
        )
        assert small == [], section
    case = running.ask("review", "GET", "/v1/quarantine")["rows"][0]["id"]
    running.ask("review", "POST", f"/v1/quarantine/{case}/reject")


def test_a_service_that_is_gone_is_said_so(tab: Tab, running: Running) -> None:
    page = _inside(tab, running)
    page.route("**/v1/**", lambda route: route.abort())
    tab.until("document.body.innerText.includes('cannot be reached')")
    page.unroute("**/v1/**")
    tab.until("!document.body.innerText.includes('cannot be reached')")
