"""A client of the page's server without a browser's good manners."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from summarizer.demo.server import HOST, DemoServer

TEXT = "one two three four five six seven eight nine ten"
PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Answer:
    """What came back, all of it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]


class Client:
    def __init__(self, server: DemoServer) -> None:
        self.port = server.server_port

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def ask(self, content: object = None, **headers: str) -> Answer:
        """A request for a summary: of this JSON value, or of these bytes."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.request("POST", "/api/summaries", body, **{"Content_Type": "application/json", **headers})

    def summarize(self, text: str, **more: object) -> Answer:
        return self.ask({"text": text, **more})

    def connect(self) -> socket.socket:
        return socket.create_connection((HOST, self.port), timeout=PATIENCE)

    def send(self, content: bytes) -> bytes:
        """Bytes as they are, and all that comes back."""
        with self.connect() as connection:
            connection.sendall(content)
            return read_all(connection)

    def begin(self, text: str) -> socket.socket:
        """A request for a summary whose answer nobody has read yet."""
        body = json.dumps({"text": text}).encode()
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        connection = self.connect()
        connection.sendall(f"POST /api/summaries HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n\r\n".encode() + body)
        return connection


def read_all(connection: socket.socket) -> bytes:
    content = b""
    while part := connection.recv(1 << 16):
        content += part
    return content


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def head(*lines: str) -> bytes:
    fixed = ["POST /api/summaries HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode()
