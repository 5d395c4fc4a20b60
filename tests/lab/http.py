"""A small blocking HTTP client for tests: every status is an answer, redirects are not followed, no proxy is used."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """What a server answered; header names are lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Return the body's JSON value."""
        return json.loads(self.body)


def request(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"", seconds: float = SECONDS
) -> Answer:
    """Send one request and read the whole answer."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection.request(method, target, body=body or None, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def get(url: str, **headers: str) -> Answer:
    """GET a URL; a header's `_` is written `-`."""
    return request("GET", url, headers={name.replace("_", "-"): value for name, value in headers.items()})


def answers(url: str) -> bool:
    """Tell whether something answers at `url` with a status below 500."""
    try:
        return request("GET", url, seconds=2).status < 500
    except OSError:
        return False
