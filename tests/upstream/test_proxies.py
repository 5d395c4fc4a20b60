"""Proxies of the environment, by the rules of Go's `net/http`: the table was compared with what that itself answers."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from doubles.registry import Registry
from doubles.tunnel import Tunnel
from lab.network import Namespace
from wavelet.config import ConfigError, Settings
from wavelet.errors import UpstreamUnreachable
from wavelet.image.reference import Reference, Repository
from wavelet.plan.tokens import NOBODY
from wavelet.reload.trial import check
from wavelet.upstream import endpoints

PROXY = "http://proxy.example:3128"

RULES = [  # NO_PROXY, the URL that is asked for, whether a proxy is used
    ("", "http://reg.example/", True),
    ("192.0.2.0/24", "http://192.0.2.2/", False),
    ("192.0.2.0/24", "http://192.0.3.2/", True),
    ("192.0.2.7/24", "http://192.0.2.2:5000/", False),
    ("192.0.2.2", "http://192.0.2.2:5000/", False),
    ("192.0.2.2:5000", "http://192.0.2.2:5000/", False),
    ("192.0.2.2:5000", "http://192.0.2.2/", True),
    ("192.0.2.2:80", "http://192.0.2.2/", False),
    ("192.0.2", "http://192.0.2.2/", True),
    ("2001:db8::/32", "http://[2001:db8::1]/", False),
    ("2001:db8::/32", "http://[2001:db9::1]/", True),
    ("[2001:db8::1]:443", "https://[2001:db8::1]/", False),
    ("2001:db8::1", "https://[2001:db8::1]:8443/", False),
    ("192.0.2.0/24", "http://[::ffff:192.0.2.2]/", False),
    ("example.com", "http://example.com/", False),
    ("example.com", "http://a.example.com/", False),
    ("example.com", "http://notexample.com/", True),
    (".example.com", "http://a.b.example.com/", False),
    (".example.com", "http://example.com/", True),
    ("*.example.com", "http://a.example.com/", False),
    ("*.example.com", "http://example.com/", True),
    ("*example.com", "http://a.example.com/", True),
    ("Example.COM", "http://EXAMPLE.com/", False),
    ("example.com:443", "https://example.com/", False),
    ("example.com:443", "http://example.com/", True),
    (".example.com:5000", "http://a.example.com:5000/", False),
    ("example.com:x", "http://example.com/", True),
    ("*", "https://anything.example/", False),
    ("x.example, *", "https://anything.example/", False),
    (" a.example ,, b.example ", "https://b.example/", False),
    ("2", "http://192.0.2.2/", True),
    ("", "http://localhost:5000/", False),
    ("", "https://127.0.0.1:5000/", False),
    ("", "http://127.8.9.1/", False),
    ("", "http://[::1]:5000/", False),
]


@pytest.fixture
def surrounded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets variables of proxies."""

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(("excepted", "url", "proxied"), RULES)
def test_rules_of_no_proxy(surrounded: Callable[..., None], excepted: str, url: str, proxied: bool) -> None:
    """Fault B1: `NO_PROXY` has CIDR blocks, ports, leading dots and `*`; loopback is never proxied."""
    surrounded(http_proxy=PROXY, https_proxy=PROXY, NO_PROXY=excepted)
    assert endpoints.chosen().proxy_for(URL(url)) == (URL(PROXY) if proxied else None)


def test_which_variable_counts(surrounded: Callable[..., None]) -> None:
    """Fault B1: upper case goes before lower case, an empty one is none, and each scheme has its own."""
    surrounded(HTTP_PROXY="upper.example:3128", http_proxy="http://lower.example", https_proxy="https://u:p@s.example")
    url, secure = URL("http://reg.example"), URL("https://reg.example")
    assert endpoints.chosen().proxy_for(url) == URL("http://upper.example:3128")
    assert endpoints.chosen().proxy_for(secure) == URL("https://u:p@s.example")
    surrounded(HTTP_PROXY="", NO_PROXY="reg.example", no_proxy="")
    assert endpoints.chosen().proxy_for(url) is None
    surrounded(NO_PROXY="")
    assert endpoints.chosen().proxy_for(url) == URL("http://lower.example")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTPS_PROXY"])
@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://me:secret@127.0.0.1:1080", "socks5:// proxy is not served"),
        ("socks5h://127.0.0.1:1080", "socks5h:// proxy is not served"),
        ("SOCKS4://127.0.0.1", "socks4:// proxy is not served"),
        ("ftp://proxy.example", "ftp:// proxy is not served"),
        ("http://", "not the address of a proxy"),
        ("proxy.example:99999", "not the address of a proxy"),
        ("me:secret@proxy.example:port", "not the address of a proxy"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_refused_at_start(
    surrounded: Callable[..., None], client: Callable[..., Any], variable: str, proxy: str, said: str
) -> None:
    """Fault B2: such a setting is not dropped in silence."""
    surrounded(**{variable: proxy})
    with pytest.raises(ConfigError, match=said) as caught:
        await client()
    assert variable in caught.value.message and "secret" not in caught.value.message
    with pytest.raises(ConfigError, match=said):
        check(Settings())


def test_a_variable_that_is_not_read_is_said_to_be(surrounded: Callable[..., None]) -> None:
    assert endpoints.check(os.environ) == ""
    surrounded(all_proxy="socks5://127.0.0.1:1")
    assert "ALL_PROXY is not read" in endpoints.check(os.environ)
    surrounded(http_proxy=PROXY, https_proxy=PROXY)
    assert endpoints.check(os.environ) == ""


@given(st.text(), st.text())
def test_any_text_is_read_or_refused(proxy: str, excepted: str) -> None:
    try:
        endpoints._read(("HTTP_PROXY", proxy), ("HTTPS_PROXY", ""), ("NO_PROXY", excepted)).proxy_for(URL("http://a.b"))
    except ConfigError as error:
        assert error.message


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace(number=79)
    made.create()
    yield made
    made.remove()


@pytest.mark.netns
async def test_a_registry_of_the_sites_network_is_asked_directly(
    namespace: Namespace, client: Callable[..., Any], surrounded: Callable[..., None]
) -> None:
    """Fault B1: `NO_PROXY` of the registry's network, and a proxy that is not there."""
    surrounded(http_proxy="http://127.0.0.1:9", NO_PROXY="10.213.79.0/24")
    async with Registry(host=namespace.outer) as registry:
        registry.add_image("lab/tool", "1")
        upstream = await client(registries={registry.host: {"plain_http": True}})
        reference = Reference(Repository(registry.host, "lab/tool"), "1")
        assert (await upstream.head(reference, NOBODY)).size
        surrounded(NO_PROXY="10.213.80.0/24")
        with pytest.raises(UpstreamUnreachable, match="its proxy: connection refused"):
            await upstream.head(reference, NOBODY)


@pytest.mark.process
async def test_a_proxy_that_speaks_https(
    secure: Registry, client: Callable[..., Any], certificate: tuple[Path, Path], server_tls: ssl.SSLContext,
    surrounded: Callable[..., None],
) -> None:  # fmt: skip
    """Fault B2: a tunnel through a proxy that itself is spoken to by TLS."""
    tunnel = Tunnel(secure.host)
    listening = socket.create_server(("127.0.0.1", 0))
    async with await asyncio.start_server(tunnel, sock=listening, ssl=server_tls):
        surrounded(https_proxy=f"https://localhost:{listening.getsockname()[1]}")
        upstream = await client(registries={"reg.example": {"ca_file": str(certificate[1])}})
        assert (await upstream.head(Reference(Repository("reg.example", "lab/tool"), "1"), NOBODY)).size
        await upstream.close()
    assert tunnel.asked == [b"CONNECT reg.example:443 HTTP/1.1"]
