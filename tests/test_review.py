"""``albireo review``: a click on the page becomes a decision in a file, and the recipe replays it.

The server runs as a process of its own, as for a person. The browser is Chromium, driven through its WebDriver; where
either is missing, the tests that need them are skipped.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest

from albireo import Results, contact_sheet, read_pixels
from albireo.review.decisions import Decisions
from albireo.review.server import ReviewServer

AUTHOR = "E. Halley"
FRAME, FLAT = "science-0003.fits", "flat-0002.fits"


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    body: bytes
    kind: str

    @property
    def text(self) -> str:
        return self.body.decode()


class Page:
    """A review that is running: its address, and requests as a browser or a stranger sends them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port, self.root = urlsplit(url).port, urlsplit(url).path
        self.origin = f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        text = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, text, headers)
        answer = connection.getresponse()
        found = Answer(answer.status, answer.read(), answer.headers.get("Content-Type", ""))
        connection.close()
        return found

    def get(self, place: str = "") -> Answer:
        return self.ask("GET", self.root + place)

    def decide(self, frame: str, decision: str, reason: str = "") -> Answer:
        wish = {"frame": frame, "decision": decision, "reason": reason}
        return self.ask("POST", f"{self.root}decide", wish, Origin=self.origin)


@contextmanager
def serving(out: Path) -> Iterator[Page]:
    """A review in this process, which starts at once."""
    run = Results(out)
    with ReviewServer(run, Decisions(run, AUTHOR)) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever)
        try:
            yield Page(server.url)
        finally:
            server.shutdown()


@contextmanager
def reviewing(out: Path, environment: dict[str, str]) -> Iterator[tuple[Page, subprocess.Popen[str]]]:
    """``albireo review`` as a person starts it, ended with Ctrl-C."""
    with subprocess.Popen(
        ["albireo", "review", str(out), "--no-browser", "--author", AUTHOR],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().rstrip("\n") for _ in range(3)]
        assert said[1].startswith("decisions go to ")
        try:
            yield Page(said[0].removeprefix("review: ")), process
        finally:
            process.send_signal(signal.SIGINT)


@pytest.fixture
def out(night: Any, undisturbed: Path, reduce: Any, tmp_path: Path) -> Path:
    """A finished run beside its recipe, with links to its raw frames: ``night.toml``, ``raw`` and ``run``."""
    shutil.copytree(undisturbed, tmp_path / "run")
    done = reduce(night.write(tmp_path), night.linked(tmp_path), tmp_path / "run")
    assert done.code == 0, done.text
    return tmp_path / "run"


@pytest.fixture(scope="module")
def shared(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run for tests that only look or that expect nothing to be written."""
    out = tmp_path_factory.mktemp("shared") / "run"
    shutil.copytree(undisturbed, out)
    return out


@pytest.fixture(scope="module")
def page(shared: Path) -> Iterator[Page]:
    with serving(shared) as started:
        yield started


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def overrides(path: Path) -> list[dict[str, str]]:
    """The decisions in a file."""
    return tomllib.loads(path.read_text(encoding="utf-8")).get("override", [])


# --- who may ask, and for what


def test_the_page_shows_every_frame_to_whoever_has_the_token(page: Page, shared: Path) -> None:
    answer = page.get()
    assert (answer.status, answer.kind) == (200, "text/html; charset=utf-8")
    for name in Results(shared).frames["name"]:
        assert f'"name":"{name}"' in answer.text


@pytest.mark.parametrize("path", ["/", "/index.html", "/wrong/", "/wrong/frame/science-0003.fits.png", "//", "/%00/"])
def test_without_the_token_there_is_nothing(page: Page, path: str) -> None:
    assert page.ask("GET", path).status == 403
    assert page.ask("POST", path, {}, Origin=page.origin).status in (403, 404)
    assert page.ask("GET", page.root.rstrip("/")).status == 403


def test_a_foreign_host_or_origin_is_refused_and_nothing_is_written(page: Page, shared: Path) -> None:
    wish = {"frame": FRAME, "decision": "drop"}
    assert page.ask("GET", page.root, Host=f"evil.example:{page.port}").status == 403
    for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}):
        assert page.ask("POST", f"{page.root}decide", wish, **origin).status == 403
    assert page.ask("POST", f"{page.root}decide", wish, Host="evil.example", Origin=page.origin).status == 403
    assert not list(shared.parent.rglob("overrides.toml"))


@pytest.mark.parametrize(
    "name", ["nothing.fits", "../run.json", "..%2Frun.json", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "", "frames/.."]
)
def test_only_frames_of_the_run_can_be_asked_for(page: Page, name: str) -> None:
    for place in (f"frame/{name}.png", f"thumbnail/{name}", f"{name}", f"frame/{name}"):
        if place:
            assert page.get(place).status == 404, place
    assert page.decide(name, "drop").status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"frame": FRAME, "decision": "burn"},
        {"frame": FRAME},
        {"frame": FRAME, "decision": "drop", "reason": 7},
        b"frame=1",
        b"[]",
        b"\xff\xfe",
        b"",
        b"x" * 30_000,
    ],
    ids=str,
)
def test_what_is_no_decision_is_refused(page: Page, body: Any, shared: Path) -> None:
    assert page.ask("POST", f"{page.root}decide", body, Origin=page.origin).status == 400
    assert not list(shared.parent.rglob("overrides.toml"))


def test_pictures_are_drawn_on_demand_and_thumbnails_kept(out: Path) -> None:
    before = contents(out.parent)
    with serving(out) as page:
        large, small = page.get(f"frame/{quote(FRAME, safe='')}.png"), page.get(f"thumbnail/{FRAME}.png")
        assert large.kind == small.kind == "image/png"
        for answer, side in ((small, 180), (large, 1000)):
            assert max(int.from_bytes(answer.body[16:20]), int.from_bytes(answer.body[20:24])) <= side
        assert f'"name":"{FRAME}"' in page.get().text
        assert re.search(rf'"name":"{FRAME}"[^}}]*"picture":"\w+\.png"', page.get().text)
    new = contents(out.parent).keys() - before.keys()
    assert len(new) == 1
    assert re.fullmatch(r"run/report/frames/\w{24}\.png", new.pop())
    assert contents(out.parent).items() >= before.items()


def test_the_histogram_of_a_frame_has_its_range_of_counts(page: Page, shared: Path) -> None:
    answer = page.get(f"histogram/{FLAT}.json")
    found = json.loads(answer.text)
    (path,) = [row["path"] for row in Results(shared).frames if row["name"] == FLAT]
    counts = read_pixels(path)
    assert (answer.kind, len(found["counts"])) == ("application/json", 80)
    assert counts.min() <= found["low"] < found["high"] <= counts.max()
    middle = found["low"] + (found["high"] - found["low"]) * (found["counts"].index(max(found["counts"])) + 0.5) / 80
    assert abs(middle - np.median(counts)) < 0.1 * np.median(counts)


def test_a_frame_that_was_moved_is_shown_without_a_picture(out: Path) -> None:
    (out.parent / "raw" / FRAME).unlink()
    with serving(out) as page:
        assert f'"name":"{FRAME}"' in page.get().text
        answer = page.get(f"thumbnail/{FRAME}.png")
        path = (out.parent / "raw").resolve() / FRAME
        assert (answer.status, answer.text) == (404, f"{FRAME} has no picture: the raw file is not at {path} any more")
        assert page.decide(FRAME, "drop").status == 200


# --- decisions


def test_decisions_are_written_beside_the_recipe_replaced_and_taken_back(out: Path) -> None:
    file = out.parent / "overrides.toml"
    file.write_text('# of last night\n[[override]]\nframe = "bias*"\ndecision = "keep"\n')
    with serving(out) as page:
        page.decide(FRAME, "keep")
        page.decide(FLAT, "drop", "a star  in it\n ")
        state = json.loads(page.decide(FRAME, "drop", 'a "cloud"').text)
        assert state["decisions"][FRAME]["reason"] == 'a "cloud"'
        assert state["decisions"]["bias-0001.fits"]["pattern"] == "bias*"
        entries = {entry["frame"]: entry for entry in overrides(file)}
        assert entries.keys() == {"bias*", FRAME, FLAT}
        assert entries[FLAT]["reason"] == "a star in it"
        assert {key: entries[FRAME][key] for key in ("decision", "author")} == {"decision": "drop", "author": AUTHOR}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", entries[FRAME]["time"])
        assert f'"{FRAME}":{{"decision":"drop"' in page.get().text  # also after the page is loaded again
        page.decide(FRAME, "none")
    assert {entry["frame"] for entry in overrides(file)} == {"bias*", FLAT}
    assert file.read_text().startswith("# of last night\n")


def test_clicks_at_the_same_time_lose_nothing(out: Path) -> None:
    names = list(Results(out).frames["name"])
    with serving(out) as page, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda name: page.decide(name, "drop", f"why {name}"), names))
    assert {answer.status for answer in answers} == {200}
    entries = overrides(out.parent / "overrides.toml")
    assert {entry["frame"]: entry["reason"] for entry in entries} == {name: f"why {name}" for name in names}
    assert len(entries) == len(names)


def test_the_file_that_the_recipe_names_is_used_and_needs_no_more_lines(out: Path) -> None:
    recipe = out.parent / "night.toml"
    with serving(out) as page:
        state = json.loads(page.decide(FRAME, "none").text)
        assert state["stage"] == '[[select]]\nuse = "overrides"\nfile = "overrides.toml"\n'
        assert state["command"] == f"albireo run {recipe} {out.parent / 'raw'} --out {out}"
    text = recipe.read_text()
    recipe.write_text(text.replace("[[select]]", '[[select]]\nuse = "overrides"\nfile = "mine.toml"\n[[select]]', 1))
    with serving(out) as page:
        assert json.loads(page.decide(FRAME, "drop").text)["stage"] == ""
    assert [entry["frame"] for entry in overrides(out.parent / "mine.toml")] == [FRAME]


def test_without_its_recipe_a_run_keeps_decisions_in_its_folder(out: Path) -> None:
    (out.parent / "night.toml").unlink()
    with serving(out) as page:
        state = json.loads(page.decide(FRAME, "drop").text)
    assert state["command"] == f"albireo run {out / 'run.toml'} --out {out}"
    assert len(overrides(out / "overrides.toml")) == 1


# --- the command


def test_control_c_ends_it_in_peace(out: Path, environment: dict[str, str]) -> None:
    with reviewing(out, environment) as (page, process):
        assert page.get(f"frame/{FRAME}.png").status == 200
        process.send_signal(signal.SIGINT)
        assert process.communicate()[1] == ""
        assert process.returncode == 0


def test_what_is_no_run_is_told(command: Any, tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text("")
    wanted = "give the folder that 'albireo run' wrote, with run.json in it\n"
    for name, what in (("none", "not there"), ("night.toml", "a file"), (".", "a folder without a finished run")):
        done = command("review", tmp_path / name, "--no-browser")
        assert (done.code, done.err) == (2, f"albireo: {tmp_path / name} is {what}; {wanted}")


def test_a_file_of_decisions_that_cannot_be_understood_is_told_before_the_first_click(out: Path, command: Any) -> None:
    (out.parent / "overrides.toml").write_text('[[override]]\nframe = "a.fits"\ndecision = "burn"\n')
    done = command("review", out, "--no-browser")
    assert done.code == 2
    assert "decision must be 'drop' or 'keep', not 'burn'" in done.err


def test_a_port_that_is_taken_is_told(page: Page, shared: Path, command: Any) -> None:
    done = command("review", shared, "--no-browser", "--port", page.port)
    assert done.code == 2
    assert f"port {page.port} cannot be used" in done.err


# --- in a browser


class Browser:
    """Chromium, as far as these tests need it: the W3C WebDriver protocol over HTTP."""

    def __init__(self, port: int, profile: Path) -> None:
        self.base = f"http://127.0.0.1:{port}/session"
        options = {
            "binary": shutil.which("chromium"),
            "args": [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                f"--user-data-dir={profile}",
                "--window-size=1200,900",
            ],
        }
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        self.base += "/" + self.call("POST", "", {"capabilities": wanted})["sessionId"]

    def call(self, method: str, place: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.base + place,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        self.call("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """Run a script in the page; what it returns."""
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, condition: str) -> Any:
        """Wait until an expression is true in the page; its value."""
        script = (
            "const done = arguments[0];"
            f"const look = () => {{ const found = {condition}; found ? done(found) : setTimeout(look, 20); }}; look();"
        )
        return self.call("POST", "/execute/async", {"script": script, "args": []})

    def element(self, css: str) -> str:
        (key,) = self.call("POST", "/element", {"using": "css selector", "value": css}).values()
        return str(key)

    def click(self, css: str) -> None:
        self.call("POST", f"/element/{self.element(css)}/click", {})

    def type(self, css: str, text: str) -> None:
        self.call("POST", f"/element/{self.element(css)}/value", {"text": text})

    def press(self, key: str) -> None:
        """Press a key, wherever the page has its focus."""
        events = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": events}]})

    def complaints(self) -> list[str]:
        """What the page wrote to the console."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed (Debian: chromium, chromium-driver)")
    with subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        port = next(
            int(found[1]) for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line))
        )
        started = None
        try:
            started = Browser(port, tmp_path_factory.mktemp("profile"))
            yield started
        finally:
            if started is not None:
                started.call("DELETE", "")
            driver.terminate()


def card(name: str, inside: str = "") -> str:
    return f'.card[data-name="{name}"] {inside}'.strip()


def test_a_click_on_drop_with_a_reason_is_replayed_by_the_recipe(
    out: Path, browser: Browser, reduce: Any, environment: dict[str, str]
) -> None:
    with reviewing(out, environment) as (page, _):
        browser.open(page.url)
        browser.wait(f"document.querySelectorAll('.card').length === {len(Results(out).frames)}")
        loaded = f"document.querySelector('{card(FRAME, 'img')}')"
        assert browser.wait(f"{loaded}.complete && {loaded}.naturalWidth") > 100
        browser.type(card(FRAME, "input"), "a plane crossed the field")
        browser.click(card(FRAME, "[data-decision=drop]"))
        browser.wait("document.getElementById('decided').textContent === '1 frame decided by hand'")
        assert browser.run(f"return document.querySelector('{card(FRAME, '.said')}').textContent").startswith(AUTHOR)
        assert 'use = "overrides"' in browser.run("return document.querySelector('#stage pre').textContent")
        assert browser.complaints() == []
    (entry,) = overrides(out.parent / "overrides.toml")
    assert entry.keys() == {"frame", "decision", "reason", "author", "time"}
    assert (entry["frame"], entry["decision"], entry["author"]) == (FRAME, "drop", AUTHOR)
    assert entry["reason"] == "a plane crossed the field"
    recipe = out.parent / "night.toml"
    text = recipe.read_text()
    recipe.write_text(text.replace("[[select]]", '[[select]]\nuse = "overrides"\n[[select]]', 1))
    done = reduce(recipe, out.parent / "raw", out)
    assert done.code == 0, done.text
    fates = {row["name"]: (row["fate"], row["reason"]) for row in Results(out).frames}
    assert fates[FRAME] == ("dropped", f"dropped by hand ({AUTHOR}): a plane crossed the field")
    assert [name for name, (fate, _) in fates.items() if fate == "dropped"] == [FRAME]


def test_keys_move_keep_drop_and_take_back(out: Path, browser: Browser) -> None:
    file = out.parent / "overrides.toml"
    right, enter, escape = "\ue014", "\ue007", "\ue00c"
    with serving(out) as page:
        browser.open(page.url)
        browser.wait("document.querySelector('.card')")
        browser.press(right)
        browser.press(right)
        browser.press("d")
        browser.wait("document.querySelectorAll('#list > div').length === 1")
        browser.press(right)
        browser.press("k")
        browser.wait("document.querySelectorAll('#list > div').length === 2")
        assert {e["frame"]: e["decision"] for e in overrides(file)} == {
            "science-0002.fits": "drop",
            "science-0003.fits": "keep",
        }
        browser.press(enter)
        picture = "document.getElementById('large-picture')"
        assert (
            browser.wait(f"document.getElementById('large').open && {picture}.complete && {picture}.naturalWidth") > 180
        )
        assert browser.run("return document.getElementById('large-name').textContent") == "science-0003.fits"
        browser.wait("document.querySelector('#large-histogram path').getAttribute('d')")
        browser.press("u")
        browser.wait("document.querySelectorAll('#list > div').length === 1")
        browser.press(escape)
        browser.wait("!document.getElementById('large').open")
        browser.click("#list button:last-child")
        browser.wait("document.getElementById('decided').textContent === 'Nothing decided yet'")
        assert browser.complaints() == []
    assert overrides(file) == []


def test_a_decision_that_could_not_be_written_is_told(out: Path, browser: Browser) -> None:
    with serving(out) as page:
        browser.open(page.url)
        browser.wait("document.querySelector('.card')")
        (out.parent / "overrides.toml").write_text("[[override]\n")
        browser.click(card(FLAT, "[data-decision=drop]"))
        told = browser.wait("document.getElementById('told').textContent")
        assert told.startswith(f"Nothing was written for {FLAT}: ")
        assert "is not valid TOML" in told
        assert browser.run(f"return document.querySelector('{card(FLAT, '[aria-pressed=true]')}')") is None


def test_the_contact_sheet_of_a_report_shows_what_its_buttons_say(
    shared: Path, browser: Browser, tmp_path: Path
) -> None:
    shutil.copytree(shared, tmp_path / "run")
    frames = Results(shared).frames
    frames["fate"] = ["dropped" if name == FLAT else "used" for name in frames["name"]]
    frames.write(tmp_path / "run" / "frames.ecsv", format="ascii.ecsv", overwrite=True)
    sheet = contact_sheet(Results(tmp_path / "run"), tmp_path / "run" / "report")
    browser.open(sheet.as_uri())
    browser.wait("document.querySelectorAll('.card').length === 14")
    browser.wait("[...document.querySelectorAll('.card img')].every(i => i.complete && i.naturalWidth > 100)")
    fates = list(frames["fate"])
    for fate in sorted(set(fates)):
        browser.click(f"#fates [data-value={fate}]")
        browser.wait(f"document.querySelectorAll('.card.{fate}').length === {fates.count(fate)}")
        assert browser.run("return document.querySelectorAll('.card').length") == fates.count(fate)
        browser.click(f"#fates [data-value={fate}]")
    browser.click("#kinds [data-value=bias]")
    browser.wait("document.querySelectorAll('.card').length === 3")
    assert browser.run("return document.querySelector('.decide')") is None


def test_a_large_night_keeps_few_cards_at_a_time(out: Path, browser: Browser) -> None:
    from astropy.table import Table, vstack

    frames = Results(out).frames
    many = vstack([frames] * 215, metadata_conflicts="silent")
    many["name"] = [f"night/{number:05d}.fits" for number in range(len(many))]
    Table(many).write(out / "frames.ecsv", format="ascii.ecsv", overwrite=True)
    with serving(out) as page:
        browser.open(page.url)
        assert browser.wait("document.getElementById('shown').textContent") == "3010 of 3010 shown"
        browser.wait("document.querySelectorAll('.card').length")
        browser.run("document.querySelector('section:last-of-type .chunk:last-child').scrollIntoView()")
        last = card("night/03009.fits")
        browser.wait(f"document.querySelector('{last}') || document.querySelector('section:last-of-type .card')")
        assert browser.run("return document.querySelectorAll('.card').length") < 600
