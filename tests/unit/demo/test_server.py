"""Every status the page can answer with, and clients that are slow, gone, many or not what they seem."""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Callable

import pytest
from fake_engine import FakeEngine
from raw_client import TEXT, Client, head, status_of

from summarizer.demo.requests import MOST_BYTES, MOST_CHARACTERS

Serve = Callable[..., Client]
Wait = Callable[[Callable[[], object]], None]


# ---- What it is for ----------------------------------------------------------------------------------------------


def test_a_summary_comes_word_by_word_and_then_whole(client: Client) -> None:
    answer = client.summarize(TEXT, summaries=2)
    assert answer.status == 200
    events = answer.events
    assert [each["text"] for each in events if each["event"] == "partial"] == [
        "one", "one two", "one two three", "one two three four"
    ]  # fmt: skip
    done = events[-1]
    assert done["event"] == "done"
    assert [each["text"] for each in done["summaries"]] == ["one two three four", "one two three new1"]
    assert done["summaries"][1]["novel"] == [False, False, False, True]
    assert (done["read"], done["total"], done["unread"]) == (8, 10, " nine ten")


def test_words_come_as_they_are_written_and_not_at_the_end(client: Client, engine: FakeEngine) -> None:
    engine.gate.clear()
    with client.begin(TEXT) as connection:
        seen = b""
        while b'"text": "one"' not in seen:
            part = connection.recv(1 << 16)
            assert part
            seen += part
        assert engine.finished == []
        engine.gate.set()
        while part := connection.recv(1 << 16):
            seen += part
    assert b'"done"' in seen


def test_the_settings_reach_the_run_that_was_asked(client: Client, engine: FakeEngine) -> None:
    client.summarize(TEXT, run=0, decoding={"beam_size": 7})
    client.summarize(TEXT, run=1)
    assert [request.decoding.beam_size for request in engine.requests] == [7]


def test_about_tells_runs_limits_and_the_first_text(serve: Serve) -> None:
    about = serve(text="Début").request("GET", "/api/about").json
    assert [run["name"] for run in about["runs"]] == ["fake", "second"]
    assert about["limits"]["characters"] == MOST_CHARACTERS
    assert about["text"] == "Début"


@pytest.mark.parametrize("path", ["/", "/?a=b", "/page.js", "/page.css", "/house.css", "/weights.js", "/icon.svg"])
def test_the_page_is_served_with_what_keeps_it_to_itself(client: Client, path: str) -> None:
    answer = client.request("GET", path)
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Python" not in answer.headers["Server"]
    head = client.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(answer.body))


def test_the_page_names_only_what_the_server_has_and_nothing_elsewhere(client: Client) -> None:
    page = client.request("GET", "/").body.decode()
    assert not re.search(r"https?:|\son\w+=|\sstyle=|<style|<script>", page)
    for path in re.findall(r'(?:src|href)="([^"]*)"', page):
        content = client.request("GET", path)
        assert content.status == 200
        code = content.body.decode()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code)


# ---- What it refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:80", 200), ("127.0.0.1:8765", 200), ("[::1]:1", 200),
        ("evil.example", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example:8765", 403),
        ("evil.example:127", 403), ("user@localhost", 403), ("", 403), ("127.0.0.2", 403),
    ],
)  # fmt: skip
def test_only_a_name_of_this_machine_is_answered(client: Client, host: str, status: int) -> None:
    assert client.request("GET", "/", Host=host).status == status
    assert client.ask({"text": TEXT}, Host=host).status == status


def test_no_host_and_two_hosts_are_refused(client: Client) -> None:
    assert status_of(client.send(b"GET / HTTP/1.1\r\n\r\n")) == 403
    assert status_of(client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")) == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:99", 200), ("http://evil.example", 403), ("https://localhost:99", 403), ("null", 403)],
)
def test_a_page_of_another_site_may_not_ask(client: Client, origin: str, status: int) -> None:
    assert client.ask({"text": TEXT}, Host="localhost:99", Origin=origin).status == status


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_summaries_are_asked_for_with_post(client: Client, method: str) -> None:
    answer = client.request(method, "/api/summaries")
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/page.js", "/api/about"])
def test_the_page_is_only_read(client: Client, path: str) -> None:
    answer = client.request("POST", path, b"{}")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/nothing", "/page.html", "/../server.py", "/%2e%2e/server.py", "//etc/passwd", "/api", "/api/summaries/"]
)
def test_nothing_else_is_there(client: Client, path: str) -> None:
    answer = client.request("GET", path)
    assert answer.status == 404
    assert "the page is at /" in answer.error


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_of_another_site_can_send_is_refused(client: Client, kind: str) -> None:
    assert client.ask({"text": TEXT}, Content_Type=kind).status == 415


def test_json_may_name_its_charset(client: Client) -> None:
    assert client.ask({"text": TEXT}, Content_Type="application/json; charset=utf-8").status == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b'{"text": " "}', "no text"),
        (b'{"text": "a", "decoding": {"beam_size": 13}}', "decoding.beam_size (13) is unlucky: take another"),
    ],
)
def test_a_request_that_makes_no_sense_is_told_why(client: Client, body: bytes, reason: str) -> None:
    answer = client.ask(body)
    assert answer.status == 400
    assert reason in answer.error


def test_a_text_that_is_too_long_is_refused(client: Client, engine: FakeEngine) -> None:
    answer = client.summarize("x" * (MOST_CHARACTERS + 1))
    assert answer.status == 413
    assert "may have 100,000: shorten it" in answer.error
    assert engine.requests == []


def test_a_body_that_is_too_long_is_refused_unread_and_its_sender_hears_of_it(client: Client) -> None:
    answer = client.ask(b"x" * (15 * MOST_BYTES))  # more than the sockets hold between them
    assert answer.status == 413
    assert "shorten the text" in answer.error


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (head(), 411),
        (head("Transfer-Encoding: chunked"), 411),
        (head("Content-Length: 2", "Transfer-Encoding: chunked"), 411),
        (head("Content-Length: -1"), 400),
        (head("Content-Length: two"), 400),
        (head("Content-Length: ٣"), 400),
        (head("Content-Length: 2", "Content-Length: 3"), 400),
        (head("Content-Length: 99999999999999"), 413),
        (head("Content-Length: " + "9" * 5000), 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # https on a page of http
    ],
)  # fmt: skip
def test_broken_requests_get_an_answer(client: Client, request_bytes: bytes, status: int) -> None:
    assert status_of(client.send(request_bytes)) == status


def test_a_body_that_ends_early_is_told_so(client: Client) -> None:
    with client.connect() as connection:
        connection.sendall(head("Content-Length: 10") + b"{}")
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    assert status_of(answer) == 400
    assert b"ended early" in answer


def test_who_waits_for_permission_to_send_gets_it_or_a_refusal(client: Client) -> None:
    body = json.dumps({"text": TEXT}).encode()
    with client.connect() as connection:
        connection.sendall(head("Expect: 100-continue", f"Content-Length: {len(body)}"))
        assert status_of(connection.recv(1 << 10)) == 100
        connection.sendall(body)
        assert status_of(connection.recv(1 << 10)) == 200
    assert status_of(client.send(head("Expect: 100-continue", "Content-Length: 99999999"))) == 413


def test_no_answer_tells_of_this_machine(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    answers = [client.summarize("!bug").body, client.request("GET", "/x").body, client.ask(b"{").body]
    answers.append(client.send(b"GET <script>alert(1)</script> HTTP/1.1 x\r\n\r\n"))
    for answer in answers:
        assert not re.search(rb"Traceback|/secret|\.py|site-packages|<script", answer)
    assert "/secret/path.py is broken" in caplog.text
    assert b"this failed" in answers[0]


def test_what_a_user_can_mend_is_told_in_the_stream(client: Client) -> None:
    answer = client.summarize("!user")
    assert answer.status == 200
    assert answer.events[-1] == {"event": "failed", "message": "the text is of the wrong kind: take another"}
