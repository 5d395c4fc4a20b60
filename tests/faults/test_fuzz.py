"""Black box: random requests at both doors. No status that is our fault, no hang, and it serves on."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lab.daemon import Daemon

SECONDS = 10.0
FUZZ = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

PIECES = ["v2", "wt", "0" * 32, "127.0.0.1_1", "localhost:1", "lab", "manifests", "blobs", "tags", "list", "referrers"]
PIECES += ["sha256:" + "0" * 64, "1", "..", ".", "", "conda", "sif", "_catalog", "x" * 300, "uploads"]
SEGMENTS = st.sampled_from(PIECES) | st.text(max_size=6)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Range", "Accept", "If-None-Match", "If-Range", "Authorization", "Host", "Origin", "Expect", "Cookie"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
    | st.sampled_from(["bytes=0-", "*/*", "*", "Basic Og==", "Bearer x", "100-continue", "127.0.0.1"]),
    max_size=3,
)
QUERIES = st.dictionaries(
    st.sampled_from(["n", "last", "ns", "artifactType"]), st.text(max_size=6) | st.just("127.0.0.1:1"), max_size=2
)
METHODS = st.sampled_from(["GET", "HEAD", "GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["127.0.0.1:1/a:1", "A=1", "data:x"])
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
MEMBERS = ["containerImage", "containerPlatform", "containerIncludes", "containerFile", "packages", "freeze", "dryRun"]
MEMBERS += ["timestamp", "fingerprint", "workflowId", "nameStrategy", "scanMode", "format", "buildRepository", "mirror"]
LAYER = st.dictionaries(st.sampled_from(["location", "gzipDigest", "gzipSize", "tarDigest", "skipHashing"]), VALUES)
CONFIG = st.dictionaries(
    st.sampled_from(["entrypoint", "cmd", "env", "workingDir", "layers"]), VALUES | st.lists(LAYER, max_size=2)
)
BODIES = st.builds(
    lambda members, config: members | ({} if config is None else {"containerConfig": config}),
    st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=4),
    st.none() | CONFIG | VALUES,
)
OURS = (500, 504, 505, 507)


def ask(node: Daemon, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=SECONDS)
    try:
        connection.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value.encode("latin-1"))
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def check(node: Daemon, status: int, body: bytes, method: str) -> None:
    assert status not in OURS, body
    if status >= 400 and method != "HEAD" and body:
        document = json.loads(body)
        assert document.get("message") or document["errors"][0]["message"]


@FUZZ
@given(METHODS, st.lists(SEGMENTS, max_size=7), QUERIES, HEADERS)
def test_the_registry(
    node: Daemon, method: str, segments: list[str], query: dict[str, str], headers: dict[str, str]
) -> None:
    path = "/v2/" + urllib.parse.quote("/".join(segments), safe="/:%")
    target = path + ("?" + urllib.parse.urlencode(query) if query else "")
    status, body = ask(node, method, target, headers)
    check(node, status, body, method)


@FUZZ
@given(
    st.sampled_from(["/v1alpha2/container", "/container-token", "/v1alpha1/inspect", "/v1alpha2/validate-creds"]),
    BODIES.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=60),
)
@example("/v1alpha2/container", b'{"containerImage": "\\ud800"}')
@example("/v1alpha2/container", b'{"containerImage": "127.0.0.1:1/a", "containerConfig": {"env": ["A=\\ud800"]}}')
@example("/v1alpha2/container", b'{"containerImage": 1e999}')
def test_the_api(node: Daemon, path: str, body: bytes) -> None:
    status, answer = ask(node, "POST", path, {"Content-Type": "application/json"}, body)
    check(node, status, answer, "POST")


@FUZZ
@given(METHODS, st.lists(SEGMENTS, max_size=4), HEADERS)
def test_other_paths(node: Daemon, method: str, segments: list[str], headers: dict[str, str]) -> None:
    prefix = ["", "v1alpha2/container", "container-token", "v1alpha1/builds", "view"][len(segments) % 5]
    path = "/" + urllib.parse.quote("/".join([prefix, *segments]).lstrip("/"), safe="/:%")
    status, _ = ask(node, method, path, headers)
    assert status not in OURS


@FUZZ
@given(
    st.lists(st.binary(max_size=80) | st.sampled_from([b"GET ", b"/v2/", b" HTTP/1.1\r\n", b"\r\n", b"Host: x\r\n"]))
)
@example([b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n"])
@example([b"POST /container-token HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])
@example([b"GET /v2/ HTTP/9.9\r\n\r\n"])
@example([b"\x16\x03\x01\x00\xa5\x01\x00"])
def test_bytes_that_are_hardly_http(node: Daemon, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=SECONDS) as connection:
        try:
            connection.sendall(b"".join(pieces))
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while block := connection.recv(65536):
                answer += block
        except ConnectionError:
            return
    if answer:
        status = int(answer.split(None, 2)[1])
        assert status not in OURS, answer


def test_it_serves_on_without_a_defect(node: Daemon) -> None:
    answer: Any = node.get("/v2/")
    assert answer.status == 200
    assert "Traceback" not in node.log()
