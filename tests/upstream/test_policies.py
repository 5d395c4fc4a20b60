"""The pure parts: addresses, realms, challenges, retries, lists; and URLs of requests under the address policy."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from doubles.registry import Registry
from wavelet.errors import AccessRefused, InvalidRequest, NotFound, UpstreamBroken, UpstreamBusy, UpstreamUnreachable
from wavelet.upstream import addresses, listing, realm, retry, transport
from wavelet.upstream.addresses import FOR_REGISTRIES, PUBLIC_ONLY, AddressError, AddressPolicy
from wavelet.upstream.client import Upstream
from wavelet.upstream.token_scope import PUSH, Challenge, TokenScope, parse_challenges

NEVER = [
    "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1",
    "255.255.255.255", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "100.100.100.200",
    "2002:a9fe:a9fe::1", "::169.254.169.254",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.8.9.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fc00::1", "fec0::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:0a00:0001::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "140.82.112.3", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("text", NEVER)
def test_never(text: str) -> None:
    assert FOR_REGISTRIES.objection(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PRIVATE)
def test_private(text: str) -> None:
    assert FOR_REGISTRIES.objection(ipaddress.ip_address(text)) is None
    assert PUBLIC_ONLY.objection(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    assert PUBLIC_ONLY.objection(ipaddress.ip_address(text)) is None


@given(st.ip_addresses())
def test_what_private_networks_allow_includes_what_they_do_not(address: addresses.Address) -> None:
    if FOR_REGISTRIES.objection(address):
        assert PUBLIC_ONLY.objection(address)


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fe80::1]", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "metadata.google.internal"],
)
def test_hosts_as_they_are_written(host: str) -> None:
    with pytest.raises(AddressError):
        AddressPolicy(private=True).check_host(host)


def test_names_are_no_addresses() -> None:
    for host in ("quay.io", "0xdead.example", "1.example", "localhost"):
        FOR_REGISTRIES.check_host(host)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "127.1", "::1", "[::1]"])
def test_loopback(host: str) -> None:
    assert addresses.is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example", "128.0.0.1", "10.0.0.1", "::2", "127.example"])
def test_not_loopback(host: str) -> None:
    assert not addresses.is_loopback(host)


@pytest.mark.parametrize(
    ("registry", "server"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("https://quay.io", "https://quay.io/v2/auth"),
        ("https://Quay.io", "https://quay.IO/v2/auth"),
        ("https://a.azurecr.io", "https://a.azurecr.io/oauth2/token"),
        ("https://registry.uni.ac.uk", "https://login.uni.ac.uk/token"),
        ("https://reg.example:5050", "https://reg.example/token"),
        ("https://registry.xn--55qx5d.cn", "https://registry.xn--55qx5d.cn/token"),
        ("https://registry.team.xn--55qx5d.cn", "https://login.team.xn--55qx5d.cn/token"),
        ("https://registry.team.city.kobe.jp", "https://login.city.kobe.jp/token"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/token"),
        ("http://10.0.0.1:5000", "http://10.0.0.1:5000/token"),
        ("http://reg:5000", "http://reg:5000/token"),
    ],
)
def test_realm_that_gets_a_login(registry: str, server: str) -> None:
    assert realm.objection(URL(registry), URL(server), with_login=True) is None


@pytest.mark.parametrize(
    ("registry", "server"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io.evil.example/token"),
        ("https://registry-1.docker.io", "https://notdocker.io/token"),
        ("https://lscr.io", "https://ghcr.io/token"),
        ("https://a.azurecr.io", "https://b.azurecr.io/oauth2/token"),
        ("https://a.github.io", "https://b.github.io/token"),
        ("https://x.y.amazonaws.com", "https://z.y.amazonaws.com/token"),
        ("https://1.dkr.ecr.us-east-1.amazonaws.com", "https://2.dkr.ecr.us-east-1.amazonaws.com/token"),
        ("https://10-0-0-1.nip.io", "https://1-2-3-4.nip.io/token"),
        ("https://a.b.kobe.jp", "https://c.b.kobe.jp/token"),
        ("https://one.xn--55qx5d.cn", "https://two.xn--55qx5d.cn/token"),
        ("https://one.co.uk", "https://two.co.uk/token"),
        ("https://quay.io", "http://quay.io/v2/auth"),
        ("https://quay.io", "https://u:p@quay.io/v2/auth"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ("http://127.0.0.1:5000", "http://localhost:5000/token"),
        ("https://quay.io", "https://127.0.0.1/token"),
        ("https://quay.io", "https://[::1]/token"),
        ("https://10.0.0.1", "https://10.0.0.2/token"),
        ("https://registry.corp", "https://auth.corp/token"),
        ("https://quay.io", "https://intranet/token"),
        ("https://quay.io", "file:///token"),
        ("https://quay.io", ""),
    ],
)
def test_realm_that_gets_none(registry: str, server: str) -> None:
    assert realm.objection(URL(registry), URL(server), with_login=True)


def test_realm_of_a_front_is_asked_without_login() -> None:
    front, behind = URL("https://lscr.io"), URL("https://ghcr.io/token")
    assert realm.objection(front, behind, with_login=False) is None
    assert realm.is_foreign(front, behind)
    for server in ("http://ghcr.io/token", "https://127.0.0.1/token", "https://2130706433/token", "https://host/token"):
        assert realm.objection(front, URL(server), with_login=False)


def test_challenges() -> None:
    text = 'Bearer realm="https://a/t",service="s, x",scope="repository:a/b:pull,push", Basic realm="say \\"hi\\""'
    bearer, basic = parse_challenges([text])
    assert (bearer.scheme, bearer.realm, bearer.service) == ("bearer", "https://a/t", "s, x")
    assert (basic.scheme, basic.realm) == ("basic", 'say "hi"')
    assert TokenScope("x/y").asked(bearer) == ("repository:a/b:pull",)
    assert TokenScope("x/y").asked(basic) == ("repository:x/y:pull",)
    assert TokenScope("x/y", PUSH).asked(bearer) == ("repository:a/b:pull,push",)
    assert TokenScope("x/y", PUSH).asked(basic) == ("repository:x/y:pull,push",)
    assert TokenScope("").asked(bearer) == ()
    mounting = TokenScope("x/y", PUSH, "x/z").asked(bearer)
    assert mounting == ("repository:a/b:pull,push", "repository:x/z:pull")
    assert TokenScope("x/y").asked(Challenge("bearer", scope="aws")) == ("aws",)
    assert TokenScope("x/y").asked(Challenge("bearer", scope="repository:")) == ("repository:",)
    several = Challenge("bearer", scope="repository:x/z:pull,push repository:x/y:pull,push")
    assert TokenScope("x/y", PUSH, "x/z").asked(several) == ("repository:x/y:pull,push", "repository:x/z:pull")
    assert [c.scheme for c in parse_challenges(["Negotiate", "BASIC realm=x, foo=1"])] == ["negotiate", "basic"]


BEARER = Challenge("bearer", "https://a/t", "s, x")
BASIC = Challenge("basic", "r")
NEGOTIATE = Challenge("negotiate")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (['Negotiate, Basic realm="r"'], [NEGOTIATE, BASIC]),
        (["Negotiate", 'Basic realm="r"'], [NEGOTIATE, BASIC]),
        (['Basic realm="r", Negotiate'], [BASIC, NEGOTIATE]),
        (['Negotiate YWJj==, Basic realm="r"'], [NEGOTIATE, BASIC]),
        (['NTLM,Negotiate , ,Basic  realm = "r"'], [Challenge("ntlm"), NEGOTIATE, BASIC]),
        (['Basic realm="r",Bearer realm="https://a/t",service="s, x"'], [BASIC, BEARER]),
        (['Basic realm="r"', 'Bearer service="s, x" , realm=https://a/t'], [BASIC, BEARER]),
        (['Digest qop="auth, auth-int", nonce="a\\"b,c", Basic realm="r"'], [Challenge("digest"), BASIC]),
        (['Basic charset="UTF-8", realm="r"'], [BASIC]),
        (['realm="lost"', 'Basic realm="r"'], [BASIC]),
        (['Basic realm="r'], [Challenge("basic")]),
        ([""], []),
    ],
)
def test_several_challenges(fields: list[str], expected: list[Challenge]) -> None:
    """Fault B10: in one field or in several, with token68s and parameters of all kinds (RFC 9110, 11.6.1)."""
    assert parse_challenges(fields) == expected


@given(st.lists(st.text(), max_size=3))
def test_any_header_can_be_read(headers: list[str]) -> None:
    for challenge in parse_challenges(headers):
        TokenScope("a/b").asked(challenge)


def test_retry_after() -> None:
    assert retry.retry_after("120", 0) == 120
    assert retry.retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 10) == 50
    assert retry.retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 100) == 0
    for text in (None, "", "soon", "-1", "1.5", "²"):
        assert retry.retry_after(text, 0) is None


def test_delays_are_bounded() -> None:
    assert retry.REQUESTS.delay(retry.ATTEMPTS, None) is None
    assert retry.REQUESTS.delay(1, retry.RETRY_AFTER_LIMIT + 1) is None
    assert retry.REQUESTS.delay(1, 3) == 3
    assert [retry.is_passing(status) for status in (408, 429, 500, 503, 501, 404, 200)] == [True] * 4 + [False] * 3


def test_next_page() -> None:
    url = URL("http://r/v2/a/tags/list?n=2")
    assert listing.next_query(['</v2/a/tags/list?n=2&last=b>; rel="next"'], url) == {"n": "2", "last": "b"}
    assert listing.next_query(["<http://evil/x?last=b>; rel=next"], url) == {"last": "b"}
    for link in ([], ['<?n=3>; rel="prev"'], ["<//[>; rel=next"], ["nonsense"]):
        assert listing.next_query(link, url) is None


def test_lists_in_one_piece() -> None:
    assert listing.whole(["b", "a", "C"], None) == ["C", "a", "b"]
    assert listing.whole(["a", "B", "c"], "a") == ["B", "c"]
    assert listing.whole(["c", "a", "b"], "a") == ["b", "c"]
    assert listing.whole(["c", "d"], "b") == ["c", "d"]


def test_urls_are_shown_without_secrets() -> None:
    assert transport.shown(URL("https://u:p@h:1/a?sig=x#y")) == "https://h:1/a"
    assert transport.printable("a\x1b[31m\r\nb" + "c" * 500).startswith("a [31m b")
    assert len(transport.printable("c" * 500)) == 200


async def read(upstream: Upstream, url: str, offset: int = 0) -> bytes:
    async with upstream.location(url, offset) as stream:
        assert stream.granted.public
        return b"".join([chunk async for chunk in stream.chunks])


async def test_location(registry: Registry, upstream: Upstream) -> None:
    url = f"{registry.url}/v2/a/blobs/{registry.add_blob('a', b'0123456789')}"
    assert await read(upstream, url) == b"0123456789"
    assert await read(upstream, url + "?x=1#y", 4) == b"456789"
    assert await read(upstream, url, 99) == b"0123456789"
    registry.fault("/blobs/", status=503, times=2)
    assert await read(upstream, url) == b"0123456789"


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFound), (410, NotFound), (403, AccessRefused), (401, AccessRefused),
                          (418, UpstreamBroken), (429, UpstreamBusy)],
)  # fmt: skip
async def test_location_errors(registry: Registry, upstream: Upstream, status: int, error: type[Exception]) -> None:
    registry.fault(".", status=status, headers={"Retry-After": "99"})
    with pytest.raises(error) as caught:
        await read(upstream, f"{registry.url}/x?sig=secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "x", "http://", "http://u:p@h/x", "http://[", "data:,x"])
async def test_location_that_is_no_url(upstream: Upstream, url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await read(upstream, url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("listen", ["127.0.0.1:9090", "0.0.0.0:9090"])
@pytest.mark.parametrize("setting", ["when-local", "always", "never"])
async def test_loopback_only_where_allowed(registry: Registry, client, listen: str, setting: str) -> None:
    upstream = await client(listen, private_networks=setting)
    url = f"{registry.url}/v2/a/blobs/{registry.add_blob('a', b'x')}"
    if setting == "always" or (setting == "when-local" and listen.startswith("127")):
        assert await read(upstream, url) == b"x"
    else:
        for name in ("127.0.0.1", "localhost", "2130706433"):
            with pytest.raises(InvalidRequest, match=r"private or loopback|by a number"):
                await read(upstream, url.replace("127.0.0.1", name))
        assert registry.requests == []


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "http://0.0.0.0/"])
async def test_redirects_pass_the_policy(registry: Registry, upstream: Upstream, target: str) -> None:
    registry.fault(".", redirect=target)
    with pytest.raises(InvalidRequest, match="never asked"):
        await read(upstream, f"{registry.url}/x")


async def test_rebinding_passes_the_policy(client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is judged by the address that is dialled."""
    upstream = await client(private_networks="never")
    real = socket.getaddrinfo

    def lie(host: str, port: object, *args: object, **more: object) -> object:
        return real("127.0.0.1" if host == "public.example" else host, port, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", lie)
    with pytest.raises(InvalidRequest, match="private or loopback"):
        await read(upstream, "http://public.example/x")


async def test_proxy_does_not_lift_the_policy(registry: Registry, client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", registry.url)
    upstream = await client(private_networks="never")
    registry.add_blob("a", b"x")
    for url in (
        "http://10.0.0.1/x",
        "http://169.254.169.254/",
        "http://metadata.google.internal/",
        "http://167772161/",
    ):
        with pytest.raises(InvalidRequest):
            await read(upstream, url)
    assert registry.requests == []
    with pytest.raises(NotFound):
        await read(upstream, "http://files.example/x")
    assert registry.count() == 1


async def test_location_that_is_down(upstream: Upstream, free_port: int) -> None:
    with pytest.raises(UpstreamUnreachable, match="connection refused"):
        await read(upstream, f"http://127.0.0.1:{free_port}/x")
