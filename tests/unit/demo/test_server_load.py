"""Clients of the page's server that are slow, gone or many, and its end."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fake_engine import FakeEngine
from raw_client import TEXT, Client, head, status_of

from summarizer.demo.server import DemoServer

Serve = Callable[..., Client]
Wait = Callable[[Callable[[], object]], None]


def test_a_request_that_drips_is_given_up(serve: Serve) -> None:
    client = serve(read_seconds=0.3)
    with client.connect() as connection:
        started = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\n")
        answer = b""
        connection.settimeout(0.02)
        while not answer:
            assert time.monotonic() - started < 30
            try:
                connection.sendall(b"A")  # each byte in time, all of them never
                answer = connection.recv(1 << 16)
            except TimeoutError:
                pass
    assert status_of(answer) == 408
    assert client.request("GET", "/").status == 200


def test_a_body_that_does_not_come_is_given_up(serve: Serve) -> None:
    started = time.monotonic()
    assert status_of(serve(read_seconds=0.2).send(head("Content-Length: 10"))) == 408
    assert time.monotonic() - started < 10


def test_a_connection_without_a_request_is_closed_without_a_word(serve: Serve) -> None:
    assert serve(read_seconds=0.2).send(b"") == b""


def test_a_closed_tab_ends_the_summary_that_is_written(client: Client, engine: FakeEngine, wait_until: Wait) -> None:
    engine.gate.clear()
    connection = client.begin("gone one two")
    wait_until(lambda: engine.at_once == 1)
    connection.close()
    wait_until(lambda: engine.at_once == 0)
    engine.gate.set()
    assert client.summarize(TEXT).events[-1]["event"] == "done"
    assert engine.finished == [TEXT], "the other one never was"


def test_a_tab_closed_while_it_waits_leaves_the_queue(client: Client, engine: FakeEngine, wait_until: Wait) -> None:
    engine.gate.clear()
    connections = []
    for text in ("a", "b", "c"):
        connections.append(client.begin(text))
        wait_until(lambda text=text: engine.requests and engine.requests[-1].text == text)
    wait_until(lambda: engine.begun == ["a"])
    first, second, third = connections
    second.close()
    while b'"waiting", "before": 1' not in third.recv(1 << 16):
        pass
    engine.gate.set()
    wait_until(lambda: engine.finished == ["a", "c"])
    first.close()
    third.close()


def test_who_does_not_read_holds_nobody_up(client: Client, engine: FakeEngine, wait_until: Wait) -> None:
    with client.begin("deaf " + "long " * 19_000):
        wait_until(lambda: len(engine.finished) == 1)
        assert client.summarize(TEXT).events[-1]["event"] == "done"


def test_a_full_queue_refuses_one_more(serve: Serve, engine: FakeEngine, wait_until: Wait) -> None:
    client = serve(most_waiting=2)
    engine.gate.clear()
    waiting = []
    for number in range(3):
        waiting.append(client.begin(f"text {number}"))
        wait_until(lambda: len(engine.requests) == len(waiting) and engine.begun)
    answer = client.summarize(TEXT)
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert "try again" in answer.error
    engine.gate.set()
    wait_until(lambda: len(engine.finished) == 3)
    assert client.summarize(TEXT).status == 200
    for connection in waiting:
        connection.close()


def test_a_summary_that_takes_too_long_is_given_up(serve: Serve, engine: FakeEngine) -> None:
    client = serve(time_limit=0.1)
    engine.gate.clear()
    assert "longer than 0.1 seconds" in client.summarize(TEXT).events[-1]["message"]


def test_fifty_at_once_all_get_their_summary_one_after_the_other(client: Client, engine: FakeEngine) -> None:
    texts = [f"text number {n} of fifty" for n in range(50)]
    barrier = threading.Barrier(len(texts))

    def ask(text: str) -> str:
        barrier.wait(60)
        answer = client.summarize(text)
        return str(answer.events[-1]["summaries"][0]["text"])

    with ThreadPoolExecutor(len(texts)) as pool:
        found = list(pool.map(ask, texts))
    assert found == [" ".join(text.split()[:4]) for text in texts]
    assert engine.most_at_once == 1
    assert sorted(engine.finished) == sorted(texts)


def test_the_page_answers_while_many_connections_do_nothing(client: Client) -> None:
    idle = [client.connect() for _ in range(100)]
    assert client.request("GET", "/").status == 200
    for connection in idle:
        connection.close()


def test_more_connections_than_any_browser_opens_are_closed(client: Client, wait_until: Wait) -> None:
    idle = [client.connect() for _ in range(300)]

    def is_answered() -> bool:
        try:
            return client.request("GET", "/").status == 200
        except OSError:
            return False

    assert not is_answered()
    for connection in idle:
        connection.close()
    wait_until(is_answered)


def test_stopping_ends_the_streams_and_frees_the_port(engine: FakeEngine) -> None:
    server = DemoServer([engine])
    server.start()
    engine.gate.clear()
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
        body = json.dumps({"text": TEXT}).encode()
        connection.sendall(head(f"Content-Length: {len(body)}") + body)
        assert connection.recv(1 << 16)
        server.stop()
        rest = b""
        while part := connection.recv(1 << 16):
            rest += part
    assert b"the program behind this page is ending" in rest
    again = DemoServer([engine], port=server.server_port)
    again.server_close()


def test_it_listens_on_the_loopback_interface_only(engine: FakeEngine) -> None:
    server = DemoServer([engine])
    assert server.socket.getsockname()[0] == "127.0.0.1"
    server.server_close()
