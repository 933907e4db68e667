"""The local server behind the page of decisions.

It listens on this machine alone. Any page that a browser has open could send requests to it, so every address begins
with a token that only the person at the terminal gets, a decision must come from the page itself (its ``Origin``), and
a name that leads to this machine by way of a foreign one (DNS rebinding) is refused by its ``Host``.
"""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import asdict
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from albireo.frames import FrameError
from albireo.overrides import OverridesError
from albireo.results import Results
from albireo.review.decisions import Decisions
from albireo.review.pictures import Histogram, look
from albireo.review.raw import RawFrames
from albireo.review.sheet import facts, page
from albireo.review.thumbnails import FOLDER, Thumbnails

__all__ = ["ReviewServer"]

HOST = "127.0.0.1"

SIDE, GREYS, READ = 1000, 64, 16_000_000
"""Longest side of a large picture in pixels, its grey levels, and about how many pixels are read for it. One picture is
drawn at a time, which bounds the memory."""

KEPT = 8
"""Large pictures that are kept: the page asks for the histogram after the picture, and people go back."""

LONGEST = 20_000
"""Bytes that a decision may have."""

POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: itself and its pictures."""


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        self.status = status
        super().__init__(message)


class ReviewServer(ThreadingHTTPServer):
    """Serves the contact sheet of a run and takes decisions.

    Parameters
    ----------
    run : Results
    decisions : Decisions
    port : int
        0 for any free one.

    Attributes
    ----------
    url : str
        What to open.
    """

    daemon_threads = True

    def __init__(self, run: Results, decisions: Decisions, port: int = 0) -> None:
        super().__init__((HOST, port), _Handler)
        self.run, self.decisions = run, decisions
        self.token = secrets.token_urlsafe(18)
        self.thumbnails = Thumbnails(RawFrames(run), run.folder / "report" / FOLDER)
        self.drawing = threading.Lock()
        self._drawn: dict[str, tuple[bytes, Histogram | None]] = {}
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self.url = f"http://{HOST}:{self.server_port}/{self.token}/"

    @cached_property
    def names(self) -> frozenset[str]:
        """The frames of the run: nothing else can be asked for."""
        return frozenset(str(name) for name in self.run.frames["name"])

    def page(self) -> bytes:
        """Give the page with the decisions made so far."""
        shown = facts(self.run.frames, self.thumbnails.kept)
        return page(self.run, shown, {"which": "all", "review": self.decisions.state()}).encode()

    def thumbnail(self, name: str) -> bytes:
        """Give the thumbnail of a frame; `FrameError` if there can be none."""
        with self.drawing:
            found = self.thumbnails.get(name)
        if not found.file:
            raise FrameError(found.reason)
        return (self.thumbnails.folder / found.file).read_bytes()

    def picture(self, name: str) -> tuple[bytes, Histogram | None]:
        """Give a frame large, and its histogram; `FrameError` if its pixels cannot be read."""
        with self.drawing:
            if name not in self._drawn:
                sample = look(self.thumbnails.raw.frame(name), SIDE, READ)
                while len(self._drawn) >= KEPT:
                    self._drawn.pop(next(iter(self._drawn)), None)
                self._drawn[name] = sample.picture(GREYS), sample.histogram()
            return self._drawn[name]


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Give the page or a picture."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Take a decision."""
        self._answer(self._post)

    def _get(self) -> tuple[str, bytes]:
        what, _, name = self._place().partition("/")
        if not what and not name:
            return "text/html; charset=utf-8", self.server.page()
        if what not in ("thumbnail", "frame", "histogram"):
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")
        name = self._known(unquote(name).removesuffix(".json" if what == "histogram" else ".png"))
        try:
            if what == "thumbnail":
                return "image/png", self.server.thumbnail(name)
            picture, histogram = self.server.picture(name)
        except FrameError as error:
            raise _Refused(HTTPStatus.NOT_FOUND, f"{name} has no picture: {error}") from error
        if what == "frame":
            return "image/png", picture
        return "application/json", json.dumps(histogram and asdict(histogram)).encode()

    def _post(self) -> tuple[str, bytes]:
        if self._place() != "decide":
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")
        if urlsplit(self.headers.get("Origin", "")).netloc not in self.server.hosts:
            raise _Refused(HTTPStatus.FORBIDDEN, "a decision must come from the page itself")
        wish = self._body()
        name = self._known(wish.get("frame"))
        decision, reason = wish.get("decision"), wish.get("reason", "")
        if decision not in ("keep", "drop", "none") or not isinstance(reason, str):
            raise _Refused(
                HTTPStatus.BAD_REQUEST, f"a decision is 'keep', 'drop' or 'none' with a reason, not {decision!r}"
            )
        decisions = self.server.decisions
        if decision == "none":
            decisions.take_back(name)
        else:
            decisions.decide(name, decision, reason)
        return "application/json", json.dumps(decisions.state()).encode()

    def _place(self) -> str:
        """What is asked for, behind the token."""
        if self.headers.get("Host") not in self.server.hosts:
            raise _Refused(HTTPStatus.FORBIDDEN, "this page is for this machine alone")
        token, slash, place = urlsplit(self.path).path.removeprefix("/").partition("/")
        if not (slash and secrets.compare_digest(token.encode(), self.server.token.encode())):
            raise _Refused(
                HTTPStatus.FORBIDDEN, "open the address that 'albireo review' printed; it changes every time"
            )
        return place

    def _known(self, name: Any) -> str:
        if not isinstance(name, str) or name not in self.server.names:
            raise _Refused(HTTPStatus.NOT_FOUND, f"this run has no frame {name!r}")
        return name

    def _body(self) -> dict[str, Any]:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = LONGEST + 1
        if not 0 <= length <= LONGEST:
            self.close_connection = True  # what was sent is not read
            raise _Refused(HTTPStatus.BAD_REQUEST, "a decision is a short text")
        try:
            wish = json.loads(self.rfile.read(length))
        except ValueError:
            wish = None
        if not isinstance(wish, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, "a decision is a JSON object with frame, decision and reason")
        return wish

    def _answer(self, work: Any) -> None:
        status = HTTPStatus.OK
        try:
            kind, body = work()
        except _Refused as error:
            status, kind, body = error.status, "text/plain; charset=utf-8", str(error).encode()
        except (OverridesError, OSError) as error:
            status, kind, body = HTTPStatus.CONFLICT, "text/plain; charset=utf-8", str(error).encode()
        if status != HTTPStatus.OK and self.command == "POST":
            self.close_connection = True  # the body may not have been read
        try:
            self.send_response(status)
            for key, value in {
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                "Cache-Control": "private, max-age=3600" if kind == "image/png" else "no-store",
                "Content-Security-Policy": POLICY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "same-origin",
                **({"Connection": "close"} if self.close_connection else {}),
            }.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:  # the page was closed or scrolled on while a picture was drawn
            self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        """Print nothing: the terminal is for the person."""
