"""Channels: names, the allow-list, logins and mirrors as values; and files fetched from real servers on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from lab.conda_channel import ChannelServer
from wavelet.config import Conda, ConfigError, Settings
from wavelet.errors import (
    AccessRefused,
    InvalidRequest,
    NotFound,
    UpstreamBusy,
    UpstreamError,
    UpstreamUnreachable,
    WaveletError,
)
from wavelet.kinds.conda.channels import client
from wavelet.kinds.conda.channels import names as channel_names
from wavelet.kinds.conda.channels.client import Channels, Version
from wavelet.kinds.conda.channels.condarc import Condarc
from wavelet.kinds.conda.channels.names import ChannelNames
from wavelet.upstream import transport

FORGE = "https://conda.anaconda.org/conda-forge"
FILE = "linux-64/a-1-0.conda"
DATA = bytes(range(256)) * 2000
SECRET = "s3cr3t-T0ken"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the daemon's user a home of the test's, and no right that others lack."""
    path = tmp_path / "home"
    path.mkdir()
    for name in ("CONDARC", "RATTLER_AUTH_FILE", "NETRC", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return path


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Any]]:
    """Return a function that starts `Channels`; its arguments are settings of `conda`."""
    async with AsyncExitStack() as stack:

        async def started(
            private: str = "when-local", registries: object = None, mirrors_only: bool = False, **conda: Any
        ) -> Channels:
            upstream = {"private_networks": private, "registries": registries or {}, "mirrors_only": mirrors_only}
            document = {"conda": conda, "upstream": upstream}
            return await stack.enter_async_context(Channels(msgspec.convert(document, Settings)))

        yield started


def named(**conda: Any) -> Channels:
    return Channels(msgspec.convert({"conda": conda}, Settings))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "channel"
    (path / "linux-64").mkdir(parents=True)
    (path / FILE).write_bytes(DATA)
    return path


@pytest.fixture
def server(directory: Path) -> Iterator[ChannelServer]:
    with ChannelServer({"lab": directory}) as running:
        yield running


async def read(source: Channels, url: str, offset: int = 0) -> bytes:
    async with source.open(url, offset) as stream:
        assert stream.granted.public
        data = b"".join([chunk async for chunk in stream.chunks])
        return data[offset - stream.offset :]


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("conda-forge", FORGE),
        ("conda-forge/label/dev", f"{FORGE}/label/dev"),
        ("bioconda/", "https://conda.anaconda.org/bioconda"),
        ("pkgs/main", "https://repo.anaconda.com/pkgs/main"),
        ("https://Conda.Anaconda.org:443/conda-forge/", FORGE),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
        ("file:///srv/channel/", "file:///srv/channel"),
        ("/srv/channel", "file:///srv/channel"),
    ],
)
def test_a_name_is_a_url(name: str, url: str) -> None:
    assert named().resolve([name]).urls == (url,)
    assert named().resolve([url]).urls == (url,)


@pytest.mark.parametrize(
    "name",
    ["", "..", "a/../b", "a b", "a//b", "-x", "a?b", "ftp://h/x", "https://", "https://h/a/../b", "https://h/a/%2e%2E/b",
     "https://h/a%2fb", "https://h/a\\b", "https://h/x?token=1", "https://h/x#y", "file://host/x", "file:///a/../b",
     "file://", "file:///", "/", "/a/../b", "x\ny", "a" * 5000, "https://h:port/x", "https://[/x"],
)  # fmt: skip
def test_what_is_no_channel(name: str) -> None:
    with pytest.raises(InvalidRequest):
        named().resolve([name])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        st.text(),
        st.builds(lambda scheme, rest: f"{scheme}://{rest}", st.sampled_from(["http", "https", "file"]), st.text()),
        st.text("abt:@./%2eF\\?#[] é").map("https://h".__add__),
        st.text("abt./%2e-_+ "),
    )
)
def test_any_text_is_a_channel_in_one_form_or_none(text: str) -> None:
    names = ChannelNames(Conda(channels=()), Condarc(), alone=True)
    try:
        urls = names.resolve([text]).urls
    except InvalidRequest:
        return
    assert names.resolve(urls).urls == urls
    for url in urls:
        scheme, _, rest = url.partition("://")
        assert scheme in ("http", "https", "file")
        assert "@" not in rest.partition("/")[0]
        assert not {"..", ".", ""} & {unquote(step) for step in rest.split("/")[1:]}


@pytest.mark.parametrize(
    "name",
    [f"https://user:{SECRET}@h/x", f"https://{SECRET}@h/x", f"https://h/t/{SECRET}/x", f"t/{SECRET}/x",
     f"https://h/conda/t/{SECRET}", f"http://user:{SECRET}@", f"https://h/x?token={SECRET}"],
)  # fmt: skip
def test_a_login_in_a_request_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        named().resolve([name])
    assert SECRET not in caught.value.message
    with pytest.raises(InvalidRequest) as caught:
        named().check(f"{name}/linux-64/a-1-0.conda")
    assert SECRET not in caught.value.message


def test_defaults_are_left_out_unless_the_settings_allow_them(home: Path) -> None:
    chosen = named().resolve(["conda-forge", "defaults", "nodefaults", "conda-forge"])
    assert chosen.urls == (FORGE,)
    assert ["conda.defaults" in warning for warning in chosen.warnings] == [True]
    assert named(defaults=True).resolve(["defaults"]).urls == channel_names.DEFAULT_CHANNELS
    (home / ".condarc").write_text("default_channels: [https://cache.site/main, conda-forge]")
    assert named(defaults=True).resolve(["defaults"]).urls == ("https://cache.site/main", FORGE)


def test_the_settings_channels_stand_in_for_none() -> None:
    assert named(channels=["bioconda"]).resolve(["nodefaults"]).urls == ("https://conda.anaconda.org/bioconda",)
    assert len(named().resolve(["defaults"]).warnings) == 1


def test_condarc_names_channels(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (home / ".condarc").write_text(
        "channel_alias: https://old.site/\n"
        "custom_channels: {lab: https://a.site/conda, lab/sub: https://b.site}\nssl_verify: true\n"
    )
    (tmp_path / "more").write_text("channel_alias: https://${WHERE}/conda\n")
    monkeypatch.setenv("CONDARC", str(tmp_path / "more"))
    monkeypatch.setenv("WHERE", "alias.site")
    source = named()
    assert source.resolve(["conda-forge"]).urls == ("https://alias.site/conda/conda-forge",)
    assert source.resolve(["lab", "lab/sub/x", "labs"]).urls == (
        "https://a.site/conda/lab", "https://b.site/lab/sub/x", "https://alias.site/conda/labs",
    )  # fmt: skip
    assert named(channel_alias="https://set.site").resolve(["x"]).urls == ("https://set.site/x",)


@pytest.mark.parametrize(
    "text", ["[", "- a", "channel_alias: [a]", "custom_channels: {lab: 'https://h/a/../b'}", "\x00"]
)
def test_a_condarc_that_cannot_be_used_is_left_out(home: Path, text: str) -> None:
    (home / ".condarc").write_text(text)
    assert named().resolve(["conda-forge"]).urls == (FORGE,)


# -- what may be used --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "name"),
    [
        (["conda-forge"], "conda-forge"),
        (["conda-forge/*"], "conda-forge/label/dev"),
        (["https://conda.anaconda.org/*"], "bioconda"),
        (["https://h.site/a*"], "https://h.site/abc/d"),
        (["/srv/*"], "/srv/channel"),
        (["https://h.site*"], "https://h.site/x"),
    ],
)
def test_allowed(allowed: list[str], name: str) -> None:
    source = named(allowed_channels=allowed, channels=[name])
    (url,) = source.resolve([name]).urls
    source.check(f"{url}/linux-64/a-1-0.conda")
    source.check_below(f"{url}/linux-64/shards/x")


@pytest.mark.parametrize(
    ("allowed", "name"),
    [
        (["conda-forge"], "bioconda"),
        (["conda-forge"], "conda-forge/label/dev"),
        (["https://h.site/a/*"], "https://h.site/ab"),
        (["https://h.site*"], "https://h.site.evil/x"),
        (["https://h.site/*"], "http://h.site/x"),
        (["https://h.site/*"], "https://h.site:8443/x"),
        (["/srv/*"], "/srvx/channel"),
    ],
)
def test_not_allowed(allowed: list[str], name: str) -> None:
    with pytest.raises(AccessRefused, match=r"conda\.allowed_channels") as caught:
        named(allowed_channels=allowed).resolve([name])
    assert name.strip("/") in caught.value.message
    url = named().resolve([name]).urls[0]
    with pytest.raises(AccessRefused):
        named(allowed_channels=allowed).check(f"{url}/linux-64/a-1-0.conda")


def test_a_daemon_of_root_reads_listed_directories_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named().resolve(["/srv/x"]).urls == ("file:///srv/x",)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(AccessRefused, match=r"conda\.allowed_channels"):
        named().resolve(["/srv/x"])
    assert named(allowed_channels=["/srv/*"]).resolve(["/srv/x"]).urls == ("file:///srv/x",)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("allowed_channels", ["*"]),
        ("allowed_channels", ["https://h/../x"]),
        ("channel_alias", f"https://user:{SECRET}@h"),
        ("channels", ["a b"]),
        ("mirrors", {"https://h/x": [f"https://h/t/{SECRET}/x"]}),
        ("mirrors", {"https://h/x": ["ftp://h"]}),
    ],
)
def test_wrong_settings_are_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        named(**{key: value})
    assert f"conda.{key}" in caught.value.message
    assert SECRET not in caught.value.message


# -- fetching ----------------------------------------------------------------------------------------------------------


async def test_a_file_from_a_server_and_from_a_directory(
    make: Callable[..., Any], server: ChannelServer, directory: Path
) -> None:
    source = await make()
    for channel in (server.channel(), f"file://{directory}"):
        assert await read(source, f"{channel}/{FILE}") == DATA
        assert await read(source, f"{channel}/{FILE}", 100_000) == DATA[100_000:]
        assert await read(source, f"{channel}/{FILE}", len(DATA)) == b""
        with pytest.raises(NotFound) as caught:
            await read(source, f"{channel}/linux-64/b-1-0.conda")
        assert f"{channel}/linux-64/b-1-0.conda" in caught.value.message


async def test_what_is_no_file_is_not_there(make: Callable[..., Any], directory: Path) -> None:
    source = await make()
    for path in (directory, directory / FILE / "x"):
        with pytest.raises(NotFound):
            await read(source, f"file://{path}")


async def test_a_known_version_is_not_sent_again(
    make: Callable[..., Any], server: ChannelServer, directory: Path
) -> None:
    source = await make()
    for channel in (server.channel(), f"file://{directory}"):
        async with source.fetch(f"{channel}/{FILE}") as fetched:
            version = fetched.version
        async with source.fetch(f"{channel}/{FILE}", known=version) as fetched:
            assert fetched is None
        other = Version("http://elsewhere/x", version.etag, version.modified)
        async with source.fetch(f"{channel}/{FILE}", known=other) as fetched:
            assert fetched is not None


async def test_it_is_tried_again(make: Callable[..., Any], server: ChannelServer) -> None:
    source = await make()
    server.fault("a-1-0", status=503, times=1, headers={"Retry-After": "0"})
    server.fault("a-1-0", reset=-1, times=1)
    assert await read(source, f"{server.channel()}/{FILE}") == DATA
    server.fault("a-1-0", status=429, headers={"Retry-After": "77"})
    with pytest.raises(UpstreamBusy) as caught:
        await read(source, f"{server.channel()}/{FILE}")
    assert caught.value.retry_after == 77


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (403, AccessRefused), (500, UpstreamBusy)])
async def test_refusals(make: Callable[..., Any], server: ChannelServer, status: int, kind: type[WaveletError]) -> None:
    source = await make()
    server.fault("a-1-0", status=status)
    with pytest.raises(kind):
        await read(source, f"{server.channel()}/{FILE}")


async def test_one_that_is_off(make: Callable[..., Any], server: ChannelServer) -> None:
    source = await make()
    server.off()
    with pytest.raises(UpstreamUnreachable, match="connection refused"):
        await read(source, f"{server.channel()}/{FILE}")


async def test_a_package_of_another_channel_is_not_fetched(make: Callable[..., Any], server: ChannelServer) -> None:
    source = await make(allowed_channels=["conda-forge"])
    with pytest.raises(AccessRefused, match=r"conda\.allowed_channels"):
        await read(source, f"{server.channel()}/{FILE}")
    assert server.requests == []


async def test_the_address_policy_holds_for_servers_that_the_site_has_not_named(
    make: Callable[..., Any], server: ChannelServer
) -> None:
    url = f"{server.channel()}/{FILE}"
    with pytest.raises(InvalidRequest, match="private_networks"):
        await read(await make("never"), url)
    assert await read(await make("never", allowed_channels=[server.channel()]), url) == DATA
    mirrored = await make("never", mirrors={"conda-forge": [server.channel()]})
    assert await read(mirrored, f"{FORGE}/{FILE}") == DATA
    admitted = await make("never")
    admitted.admit([f"{server.url}/simple"])
    assert await read(admitted, url) == DATA


@pytest.mark.process
async def test_an_authority_of_the_sites_own(make: Callable[..., Any], tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, timeout=20)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=DATA)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    running = TestServer(app)
    await running.start_server(ssl=context)
    try:
        host = f"127.0.0.1:{running.port}"
        with pytest.raises(UpstreamUnreachable, match="certificate is not trusted"):
            await read(await make(), f"https://{host}/lab/{FILE}")
        trusting = await make(registries={host: {"ca_file": str(certificate)}})
        assert await read(trusting, f"https://{host}/lab/{FILE}") == DATA
    finally:
        await running.close()


# -- mirrors -----------------------------------------------------------------------------------------------------------


async def test_mirrors_are_asked_in_order_and_the_channel_last(
    make: Callable[..., Any], server: ChannelServer, directory: Path, tmp_path: Path
) -> None:
    with ChannelServer({"empty": tmp_path / "home"}) as other, ChannelServer({"down": directory}) as down:
        down.off()
        mirrors = {server.channel(): [down.channel("down"), other.channel("empty")]}
        source = await make(mirrors=mirrors)
        assert await read(source, f"{server.channel()}/{FILE}") == DATA
        assert (other.count("a-1-0"), server.count("a-1-0")) == (1, 1)
        down.on()
        assert await read(source, f"{server.channel()}/{FILE}") == DATA
        assert down.count("a-1-0") == 0  # it rests
        server.off()
        with pytest.raises(NotFound, match="empty"):  # who can be reached has the last word
            await read(source, f"{server.channel()}/{FILE}")


async def test_mirrors_only_never_asks_the_channel(
    make: Callable[..., Any], server: ChannelServer, directory: Path, tmp_path: Path
) -> None:
    """Fault D11: channels that have mirrors are asked there alone, also where one of these rests."""
    with ChannelServer({"empty": tmp_path / "home"}) as other, ChannelServer({"down": directory}) as down:
        mirrors = {server.channel(): [other.channel("empty"), down.channel("down")]}
        source = await make(mirrors=mirrors, mirrors_only=True)
        assert await read(source, f"{server.channel()}/{FILE}") == DATA
        down.off()
        for _ in range(2):
            with pytest.raises(UpstreamUnreachable, match=r"nothing at .*empty.*refused.*mirrors_only"):
                await read(source, f"{server.channel()}/{FILE}")
        down.on()
        with pytest.raises(NotFound, match=r"nothing at .*empty.*nothing at .*down.*mirrors_only"):
            await read(source, f"{server.channel()}/linux-64/none-1-0.conda")
        assert server.count("") == 0


async def test_a_directory_is_a_mirror(make: Callable[..., Any], directory: Path) -> None:
    source = await make(mirrors={"https://conda.anaconda.org": ["/nothing/there", f"file://{directory.parent}"]})
    assert await read(source, f"https://conda.anaconda.org/channel/{FILE}") == DATA


async def test_mirrors_of_condarc(make: Callable[..., Any], server: ChannelServer, home: Path) -> None:
    (home / ".condarc").write_text(f"mirrored_channels: {{conda-forge: [{server.channel()}, {FORGE}]}}")
    assert await read(await make("never"), f"{FORGE}/{FILE}") == DATA


# -- logins ------------------------------------------------------------------------------------------------------------


def auth_file(path: Path, monkeypatch: pytest.MonkeyPatch, **entries: object) -> None:
    path.write_text(json.dumps(entries))
    monkeypatch.setenv("RATTLER_AUTH_FILE", str(path))


async def test_logins_of_rattlers_file(
    make: Callable[..., Any], server: ChannelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{server.channel()}/{FILE}"
    server.bearer = SECRET
    with pytest.raises(AccessRefused) as caught:
        await read(await make(), url)
    assert url in caught.value.message
    file = tmp_path / "auth.json"
    auth_file(file, monkeypatch, **{"127.0.0.1": {"BearerToken": SECRET}, "s3://x": {"S3Credentials": {"a": "b"}}})
    assert await read(await make(), url) == DATA
    server.bearer, server.login = None, ("ann", SECRET)
    auth_file(file, monkeypatch, **{URL(url).authority: {"BasicHTTP": {"username": "ann", "password": SECRET}}})
    assert await read(await make(), url) == DATA
    server.login, server.token = None, SECRET
    auth_file(file, monkeypatch, **{"*.0.0.1": {"CondaToken": SECRET}})
    assert await read(await make(), url) == DATA
    assert server.requests[-1].path == f"/t/{SECRET}/lab/{FILE}"


async def test_entries_of_rattlers_file_that_are_wrong_or_null(
    make: Callable[..., Any], server: ChannelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault B9: null means absent in the JSON of others, and one bad entry voids itself only."""
    server.bearer = SECRET
    bad: dict[str, Any] = {"a.site": None, "b.site": {"BasicHTTP": None}, "c.site": {"BearerToken": 1}, "d.site": []}
    own = {"BearerToken": SECRET, "BasicHTTP": None, "CondaToken": None}
    auth_file(tmp_path / "auth.json", monkeypatch, **bad, **{"127.0.0.1": own})
    assert await read(await make(), f"{server.channel()}/{FILE}") == DATA


async def test_null_in_a_condarc_is_absent(make: Callable[..., Any], server: ChannelServer, home: Path) -> None:
    """Fault B9: also in the files of conda."""
    mirrors = f"conda-forge: [{server.channel()}], bioconda: null"
    (home / ".condarc").write_text(
        f"channel_alias: null\nmirrored_channels: {{{mirrors}}}\ncustom_channels: {{x: null}}"
    )
    assert await read(await make(), f"{FORGE}/{FILE}") == DATA


async def test_logins_of_condarc_urls(make: Callable[..., Any], server: ChannelServer, home: Path) -> None:
    host = URL(server.url).authority
    (home / ".condarc").write_text(
        f"channel_alias: http://{host}/t/{SECRET}\ncustom_channels: {{x: http://a:b@h.site}}"
    )
    server.token = SECRET
    source = await make()
    assert source.resolve(["lab", "x"]).urls == (server.channel(), "http://h.site/x")
    assert await read(source, f"{server.channel()}/{FILE}") == DATA


async def test_netrc_is_for_servers_that_the_site_has_named(
    make: Callable[..., Any], server: ChannelServer, home: Path
) -> None:
    (home / ".netrc").write_text(f"machine 127.0.0.1 login ann password {SECRET}\ndefault login x password y\n")
    (home / ".netrc").chmod(0o600)
    server.login = "ann", SECRET
    with pytest.raises(AccessRefused):
        await read(await make(), f"{server.channel()}/{FILE}")
    assert all("authorization" not in seen.headers for seen in server.requests)
    assert await read(await make(channels=[server.channel()]), f"{server.channel()}/{FILE}") == DATA


async def test_a_login_stays_with_its_host(
    make: Callable[..., Any], server: ChannelServer, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth_file(tmp_path / "auth.json", monkeypatch, **{URL(server.url).authority: {"BearerToken": SECRET}})
    with ChannelServer({"lab": directory}) as other:
        server.fault("a-1-0", redirect=f"{other.channel()}/{FILE}")
        assert await read(await make(), f"{server.channel()}/{FILE}") == DATA
        assert "authorization" in server.requests[-1].headers
        assert "authorization" not in other.requests[-1].headers


def test_a_login_is_not_sent_in_the_open_to_whom_a_request_names() -> None:
    source = named(allowed_channels=["http://site.example/x", "https://*.example/x"][:1])
    held = channel_names.take_login(f"https://a:{SECRET}@site.example")[1]
    other = channel_names.take_login(f"https://a:{SECRET}@other.example")[1]
    assert held is not None
    assert other is not None
    logins = client.channel_site.ChannelLogins([held, other])
    names = source._site.names
    for url, sent in (
        ("http://site.example/x", True), ("http://other.example/x", False), ("https://other.example/x", True),
        ("https://another.example/x", False), ("http://localhost/x", False),
    ):  # fmt: skip
        assert (logins.find(URL(url), site=names.is_site(URL(url))) is not None) == sent, url


async def test_files_are_read_again_when_they_change(
    make: Callable[..., Any], server: ChannelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FILES_LIFETIME", 0.0)
    auth_file(tmp_path / "auth.json", monkeypatch, **{"127.0.0.1": {"BearerToken": "old"}})
    source = await make()
    server.bearer = SECRET
    with pytest.raises(AccessRefused):
        await read(source, f"{server.channel()}/{FILE}")
    auth_file(tmp_path / "auth.json", monkeypatch, **{"127.0.0.1": {"BearerToken": SECRET}})
    assert await read(source, f"{server.channel()}/{FILE}") == DATA


async def test_no_secret_is_shown(
    make: Callable[..., Any],
    server: ChannelServer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither errors nor the log, down to `debug`, nor representations show a login."""
    auth_file(tmp_path / "auth.json", monkeypatch, **{"127.0.0.1": {"CondaToken": SECRET}})
    (home / ".condarc").write_text(
        f"custom_channels: {{lab: 'https://u:{SECRET}@h.site/t/{SECRET}', x: 'a b {SECRET}'}}"
    )
    (home / ".netrc").write_text(f"machine {SECRET}")
    source = await make(mirrors={"conda-forge": [server.channel()]})
    shown: list[str] = []
    for fault in ({"status": 404}, {"status": 403}, {"status": 500}, {"reset": -1}, {"redirect": "loop"}):
        wrong = server.fault("a-1-0", **fault)
        with pytest.raises((UpstreamError, NotFound, AccessRefused)) as caught:
            await read(source, f"{server.channel()}/{FILE}")
        wrong.lift()
        shown.append(caught.value.message)
    site = source._site
    shown += [repr(site), repr(site.names.held), repr(site.logins), *map(repr, site.logins._held)]
    assert server.requests[-1].path.startswith(f"/t/{SECRET}/")
    assert SECRET not in "".join(shown)
    captured = capsys.readouterr()
    assert "upstream request" in captured.out + captured.err
    assert SECRET not in captured.out + captured.err


def test_the_shown_form_of_a_url_has_no_token() -> None:
    assert transport.shown(URL(f"https://h/t/{SECRET}/x/y?q={SECRET}")) == "https://h/t/…/x/y"


async def test_many_at_once_share_the_hosts_slots(make: Callable[..., Any], server: ChannelServer) -> None:
    source = await make()
    found = await asyncio.gather(*(read(source, f"{server.channel()}/{FILE}") for _ in range(40)))
    assert found == [DATA] * 40
    assert server.most_open <= 16
