"""The page's HTTP server: for the browsers of this machine, one computation at a time, and nothing it need believe.

GET  /               the page, its style and its script
GET  /api/about      the runs, their settings, the limits
POST /api/summaries  a request (requests.py); answered with one JSON object a line: what happens to it (jobs.py)
"""

from __future__ import annotations

import json
import logging
import queue
import re
import sys
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader
from socketserver import TCPServer
from typing import Any

from summarizer.decoding.reading import LongDocument
from summarizer.demo.assets import Asset, assets
from summarizer.demo.connection import RequestReader, TooSlow, discard, has_gone
from summarizer.demo.engine import Engine
from summarizer.demo.form import MOST_SUMMARIES, choices_of, fields_as_json
from summarizer.demo.jobs import FINAL, Event, Job, JobQueue
from summarizer.demo.requests import MOST_BYTES, MOST_CHARACTERS, Refusal, bad, parse
from summarizer.errors import UserError

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_MOST_CONNECTIONS = 256  # each has a thread
_READ_SECONDS = 10.0  # for a whole request
_WRITE_SECONDS = 20.0  # for one line of an answer
_LOOK_SECONDS = 0.25  # how often a waiting request looks whether its client is still there
# By name: a page of another site may point a name of its own at this machine, and then its Host tells (DNS rebinding).
# Not by port: the page may be seen through a tunnel.
_OWN_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class DemoServer(ThreadingHTTPServer):
    """Listens on the loopback interface only.

    :param port: 0 for a free one; ``address`` tells which.
    :param text: what the page starts with.
    :raises OSError: the port is taken.
    """

    daemon_threads = True  # a thread that waits for a client keeps nobody from leaving
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        port: int = 0,
        text: str = "",
        most_waiting: int = 64,
        time_limit: float = 60.0,
        read_seconds: float = _READ_SECONDS,
    ) -> None:
        super().__init__((HOST, port), _Handler)
        self.engines = engines
        self.jobs = JobQueue(most_waiting=most_waiting, time_limit=time_limit)
        self.read_seconds = read_seconds
        self.assets = assets()
        limits = {"characters": MOST_CHARACTERS, "summaries": MOST_SUMMARIES}
        self.about = {
            "runs": [engine.describe() for engine in engines],
            "settings": fields_as_json(),
            "long_documents": choices_of(LongDocument),
            "limits": limits,
            "text": text,
        }
        self._connections = threading.BoundedSemaphore(_MOST_CONNECTIONS)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def start(self) -> None:
        """Serve on threads of its own until :meth:`stop`."""
        self.jobs.start()
        threading.Thread(target=self.serve_forever, args=(0.1,), name="serving", daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self.jobs.stop()

    def server_bind(self) -> None:
        # Not that of HTTPServer, which asks the network for this machine's name and may wait long for it.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)  # without an answer: whoever opens so many connections is no browser
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # those are of clients that left
            logger.exception("a request failed")


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self._reader = RequestReader(self.connection, self.server.read_seconds)
        self.rfile = BufferedReader(self._reader)
        self.command, self.requestline, self.request_version = "", "", "HTTP/1.1"  # until the client has told

    def handle(self) -> None:
        """One request a connection: a kept one would keep a thread."""
        self.close_connection = True
        try:
            self.handle_one_request()
        except TooSlow:
            if self._reader.begun:  # browsers open connections ahead of use, and close them without a word
                self._refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, "the request was not there in time"))
        except ConnectionError:
            pass  # the client has gone

    def _answer(self) -> None:
        self.close_connection = True
        self.connection.settimeout(_WRITE_SECONDS)
        try:
            self._require_own_host()
            path = self.path.partition("?")[0]
            if path == "/api/summaries":
                self._require_method("POST")
                self._stream(self._submit())
            elif path == "/api/about":
                self._require_method("GET", "HEAD")
                self._send(HTTPStatus.OK, Asset("application/json", json.dumps(self.server.about).encode()))
            elif path in self.server.assets:
                self._require_method("GET", "HEAD")
                self._send(HTTPStatus.OK, self.server.assets[path])
            else:
                raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing here: the page is at /")
        except Refusal as refusal:
            self._refuse(refusal)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer

    # ---- What is asked -------------------------------------------------------------------------------------------

    def _require_own_host(self) -> None:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not _OWN_HOST.fullmatch(hosts[0].strip()):
            raise Refusal(HTTPStatus.FORBIDDEN, f"this page is for this machine: open {self.server.address}")

    def _require_method(self, *allowed: str) -> None:
        if self.command not in allowed:
            self._allowed = ", ".join(allowed)
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{self.command} does nothing here: use {self._allowed}")

    def _submit(self) -> Job:
        """The job that the request in the body asks for. Raises Refusal."""
        origin = self.headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{self.headers['Host'].strip().lower()}":
            raise Refusal(HTTPStatus.FORBIDDEN, "a page of another site may not ask for summaries")
        # Another site's page could send text/plain or a form unasked, but not this.
        if self.headers.get_content_type() != "application/json" or "Content-Type" not in self.headers:
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the request must be application/json")
        request = parse(self._body(), runs=len(self.server.engines))
        try:
            work = self.server.engines[request.run].prepare(request)
        except UserError as error:
            raise bad(str(error)) from error
        return self.server.jobs.submit(work)

    def _body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length") or []
        if "Transfer-Encoding" in self.headers or not lengths:
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "the request must tell its Content-Length")
        if len(lengths) > 1 or not re.fullmatch(r"\d{1,18}", lengths[0].strip(), re.ASCII):
            raise bad("Content-Length must be one number")
        length = int(lengths[0])
        if length > MOST_BYTES:
            raise Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the request has {length:,} bytes and may have {MOST_BYTES:,}: shorten the text",
            )
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
        body = self.rfile.read(length)
        self.connection.settimeout(_WRITE_SECONDS)
        if len(body) < length:
            raise bad("the request ended early")
        return body

    def handle_expect_100(self) -> bool:
        return True  # not before the rest of the request is found good: _body

    # ---- What is answered ----------------------------------------------------------------------------------------

    def _stream(self, job: Job) -> None:
        """Every event of the job as a line, as soon as there is one; the job ends with its client."""
        try:
            chunked = {} if self.request_version == "HTTP/1.0" else {"Transfer-Encoding": "chunked"}
            self._begin(HTTPStatus.OK, {"Content-Type": "application/x-ndjson", **chunked})
            while True:
                try:
                    event = job.events.get(timeout=_LOOK_SECONDS)
                except queue.Empty:
                    if has_gone(self.connection):
                        break
                    continue
                self._send_line(event, chunked=bool(chunked))
                if event["event"] in FINAL:
                    self.wfile.write(b"0\r\n\r\n" if chunked else b"")
                    break
        except OSError:
            pass  # gone, or does not read
        finally:
            self.server.jobs.cancel(job)

    def _send_line(self, event: Event, *, chunked: bool) -> None:
        line = json.dumps(event).encode() + b"\n"
        self.connection.settimeout(_WRITE_SECONDS)
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line) if chunked else line)

    def _send(self, status: HTTPStatus, asset: Asset, more: dict[str, str] | None = None) -> None:
        length = str(len(asset.content))
        self._begin(status, {"Content-Type": asset.content_type, "Content-Length": length, **(more or {})})
        if self.command != "HEAD":
            self.wfile.write(asset.content)

    def _begin(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**_SECURITY_HEADERS, **headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, refusal: Refusal) -> None:
        more = {}
        if refusal.status is HTTPStatus.METHOD_NOT_ALLOWED:
            more["Allow"] = self._allowed
        if refusal.status is HTTPStatus.TOO_MANY_REQUESTS:
            more["Retry-After"] = "5"
        content = json.dumps({"error": str(refusal)}).encode()
        self.connection.settimeout(_WRITE_SECONDS)
        self._send(refusal.status, Asset("application/json", content), more)
        discard(self.connection, most_bytes=16 * MOST_BYTES, seconds=2.0)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses: a broken first line, too many headers, a method without a name."""
        self.request_version = "HTTP/1.1"  # whatever it was: an answer without headers would be none
        status = HTTPStatus(code)
        self._refuse(Refusal(status, status.description or status.phrase))

    def version_string(self) -> str:
        return "summarizer"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is for what matters."""
