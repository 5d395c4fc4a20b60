"""The listener with real sockets, and with curl as a client that is not ours."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from wavelet.config import ConfigError, Settings, Tls
from wavelet.front import listener
from wavelet.front.listener import BODY_LIMIT, Listening, listen

MB = 1024 * 1024
PORT_0 = Settings(listen="127.0.0.1:0", grace_period=5)

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@pytest.fixture
def app(tmp_path: Path) -> web.Application:
    app = web.Application(client_max_size=BODY_LIMIT)

    async def who(request: web.Request) -> web.Response:
        return web.json_response({"uid": request.protocol.peer_uid})

    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"size": len(await request.read())})

    async def fail(_: web.Request) -> web.Response:
        raise ValueError("a secret")

    async def fail_late(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"begun")
        raise ValueError("a secret")

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response(text="done")

    async def send(request: web.Request) -> web.StreamResponse:
        path = tmp_path / "blob"
        response = web.StreamResponse(headers={"Content-Length": str(path.stat().st_size)})
        await response.prepare(request)
        assert request.transport is not None
        with path.open("rb") as file:
            await asyncio.get_running_loop().sendfile(request.transport, file, fallback=False)
        await response.write_eof()
        return response

    app.router.add_get("/who", who)
    app.router.add_post("/echo", echo)
    app.router.add_get("/fail", fail)
    app.router.add_get("/fail-late", fail_late)
    app.router.add_get("/slow", slow)
    app.router.add_get("/send", send)
    return app


@pytest.fixture
async def listening(app: web.Application) -> AsyncIterator[Listening]:
    listening = await listen(app, PORT_0)
    yield listening
    await listening.close()


def url(listening: Listening, path: str) -> str:
    return "http://{}:{}{}".format(*listening.address, path)


async def exchange(listening: Listening, sent: bytes) -> bytes:
    """Send bytes, and return all that comes until the other side closes."""
    reader, writer = await asyncio.open_connection(*listening.address)
    writer.write(sent)
    received = b""
    with contextlib.suppress(ConnectionResetError):
        received = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()
    return received


async def run(*command: str, **options: Any) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )
    output, _ = await asyncio.wait_for(process.communicate(), 40)
    return output.decode()


async def test_the_peer_is_known_to_a_handler(listening: Listening) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(url(listening, "/who")) as response:
                assert await response.json() == {"uid": os.geteuid()}


@needs_curl
@pytest.mark.users
@pytest.mark.skipif(os.geteuid() != 0, reason="acting as other users takes root")
async def test_each_user_is_known(listening: Listening) -> None:
    uids = [0, 1, 54321, 54322] * 3
    answers = await asyncio.gather(
        *(run("setpriv", f"--reuid={uid}", "--clear-groups", "curl", "-s", url(listening, "/who")) for uid in uids)
    )
    assert [json.loads(answer)["uid"] for answer in answers] == uids


@pytest.mark.parametrize("hello", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"\x16"])
async def test_a_client_hello_is_closed_unanswered(listening: Listening, hello: bytes) -> None:
    started = time.monotonic()
    assert await exchange(listening, hello) == b""
    assert time.monotonic() - started < listener.LINGER


async def test_a_tls_client_learns_at_once(listening: Listening) -> None:
    started = time.monotonic()
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.open_connection(*listening.address, ssl=ssl._create_unverified_context())
    assert time.monotonic() - started < listener.LINGER


async def test_the_byte_is_only_looked_for_at_the_start(listening: Listening) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url(listening, "/echo"), data=b"\x16\x03" * 9) as response,
    ):
        assert await response.json() == {"size": 18}


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70000 + b"\r\n\r\n",
        b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_malformed_requests_get_one_sentence(listening: Listening, sent: bytes) -> None:
    head, _, body = (await exchange(listening, sent)).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 ")), head
    assert b"application/json" in head
    answer = json.loads(body)
    assert answer["message"].startswith("this is not a well-formed HTTP request: ")
    assert answer["message"].isascii()
    assert "Traceback" not in body.decode()
    assert "\n" not in answer["message"]


async def test_a_defect_gets_an_id(listening: Listening, capsys: pytest.CaptureFixture[str]) -> None:
    async with aiohttp.ClientSession() as session, session.get(url(listening, "/fail")) as response:
        assert response.status == 500
        message = (await response.json())["message"]
    assert "secret" not in message
    assert message.rpartition(" ")[2] in capsys.readouterr().out


async def test_a_defect_after_the_answer_has_begun_breaks_the_connection(listening: Listening) -> None:
    async with aiohttp.ClientSession() as session, session.get(url(listening, "/fail-late")) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await response.read()


@pytest.mark.process
@needs_curl
@pytest.mark.parametrize("header", ["Expect:", "Expect: 100-continue"])
async def test_a_body_of_100_mb_is_refused_and_the_answer_is_read(
    listening: Listening, tmp_path: Path, header: str
) -> None:
    body = tmp_path / "body"
    with body.open("wb") as file:
        file.truncate(100 * MB)
    shown = "\n%{http_code} %{size_upload} %{time_total} %{exitcode}"
    for _ in range(5):
        output = await run(
            "curl", "-s", "-w", shown, "-H", header, "--data-binary", f"@{body}", url(listening, "/echo")
        )
        answer, _, figures = output.rpartition("\n")
        status, uploaded, took, code = figures.split()
        assert (status, code) == ("413", "0"), output
        assert f"at most {BODY_LIMIT} bytes" in json.loads(answer)["message"]
        assert float(took) < 3
        if "100" in header:
            assert int(uploaded) == 0


@pytest.mark.process
@needs_curl
async def test_a_body_of_20_mb_is_taken(listening: Listening, tmp_path: Path) -> None:
    body = tmp_path / "body"
    with body.open("wb") as file:
        file.truncate(20 * MB)
    for header in ("Expect:", "Expect: 100-continue"):
        output = await run("curl", "-s", "-H", header, "--data-binary", f"@{body}", url(listening, "/echo"))
        assert json.loads(output) == {"size": 20 * MB}


async def test_a_body_larger_than_the_limit_without_a_length_is_refused(listening: Listening) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // MB + 8):
            yield bytes(MB)

    async with aiohttp.ClientSession() as session, session.post(url(listening, "/echo"), data=chunks()) as response:
        assert response.status == 413


async def test_sendfile_works(listening: Listening, tmp_path: Path) -> None:
    content = os.urandom(MB) * 50
    (tmp_path / "blob").write_bytes(content)
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.get(url(listening, "/send")) as response:
                assert hashlib.sha256(await response.read()).digest() == hashlib.sha256(content).digest()


async def test_close_lets_running_requests_end(app: web.Application) -> None:
    listening = await listen(app, PORT_0)
    async with aiohttp.ClientSession() as session:
        request = asyncio.create_task(session.get(url(listening, "/slow")))
        await asyncio.sleep(0.2)
        await listening.close()
        async with await request as response:
            assert await response.text() == "done"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*listening.address)


async def test_a_busy_port_names_its_owner(app: web.Application, listening: Listening) -> None:
    address = "{}:{}".format(*listening.address)
    with pytest.raises(ConfigError, match=rf"{address} is in use by process {os.getpid()} \(.+\) of user .+; stop it"):
        await listen(app, Settings(listen=address))


@pytest.mark.users
@pytest.mark.skipif(os.geteuid() != 0, reason="acting as other users takes root")
def test_what_is_seen_of_another_users_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = "import os, sys; from wavelet.host.port_owner import describe_owner as d; port = int(sys.argv[1])\n"
        code += "print(d(port)); os.setuid(54321); print(d(port))"
        command = [sys.executable, "-c", code, str(server.getsockname()[1])]
        seen = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.splitlines()
    assert seen[0].startswith(f"process {os.getpid()} (")
    assert seen[1] == "a process of user root (uid 0)"


async def test_addresses_that_cannot_be(app: web.Application) -> None:
    with pytest.raises(ConfigError, match="not an address of this machine"):
        await listen(app, Settings(listen="192.0.2.1:0"))


@pytest.mark.parametrize(("address", "host"), [("localhost:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "::")])
async def test_addresses(app: web.Application, address: str, host: str) -> None:
    listening = await listen(app, Settings(listen=address))
    assert listening.address[0] == host
    reached = {"::": ["[::1]", "127.0.0.1"], "::1": ["[::1]"]}.get(host, ["127.0.0.1", "localhost"])
    async with aiohttp.ClientSession() as session:
        for each in reached:
            async with session.get(f"http://{each}:{listening.address[1]}/who") as response:
                assert await response.json() == {"uid": os.geteuid()}
    await listening.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[..., Tls]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")

    def make(*secret: str) -> Tls:
        key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "1", "-keyout", key, "-out", pem, *names]
        subprocess.run([*command, *(secret or ["-nodes"])], check=True, capture_output=True, timeout=30)
        return Tls(listen="127.0.0.1:0", certificate=str(pem), key=str(key))

    return make


@pytest.mark.process
async def test_the_tls_listener(app: web.Application, certificate: Callable[..., Tls], tmp_path: Path) -> None:
    tls = certificate()
    listening = await listen(app, Settings(listen="127.0.0.1:0", tls=tls))
    assert listening.tls_address is not None
    trusting = ssl.create_default_context(cafile=tls.certificate)
    async with aiohttp.ClientSession() as session:
        async with session.get("https://{}:{}/who".format(*listening.tls_address), ssl=trusting) as response:
            assert await response.json() == {"uid": os.geteuid()}
        async with session.get(url(listening, "/who")) as response:
            assert response.status == 200
    await listening.close()


@pytest.mark.process
async def test_a_key_with_a_password_is_refused_without_asking(
    app: web.Application, certificate: Callable[..., Tls]
) -> None:
    with pytest.raises(ConfigError, match=r"cert\.pem with .*key\.pem cannot be used"):
        await listen(app, Settings(listen="127.0.0.1:0", tls=certificate("-passout", "pass:secret")))


async def test_a_missing_certificate_is_named(app: web.Application) -> None:
    tls = Tls(listen="127.0.0.1:0", certificate="/nowhere/cert.pem", key="/nowhere/key.pem")
    with pytest.raises(ConfigError, match=r"/nowhere/cert\.pem.*No such file"):
        await listen(app, Settings(listen="127.0.0.1:0", tls=tls))


@pytest.mark.process
async def test_what_was_opened_is_closed_when_the_start_fails(
    app: web.Application, certificate: Callable[..., Tls], free_port: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        tls = certificate()
        tls = Tls(listen=f"127.0.0.1:{server.getsockname()[1]}", certificate=tls.certificate, key=tls.key)
        with pytest.raises(ConfigError, match=r"tls\.listen: .* is in use"):
            await listen(app, Settings(listen=f"127.0.0.1:{free_port}", tls=tls))
    failing = web.Application()

    async def fail(_: web.Application) -> None:
        raise ValueError("no")

    failing.on_startup.append(fail)
    with pytest.raises(ValueError, match="no"):
        await listen(failing, Settings(listen=f"127.0.0.1:{free_port}"))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", free_port)
