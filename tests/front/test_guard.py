import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from wavelet.config import Settings
from wavelet.errors import ForeignRequest
from wavelet.front.middlewares import Guard, host_of, is_own, own_names

SETTINGS = Settings(authority="wave.example:9090", hosts=("Node1.Cluster", "alias:80"))
OWN = """\
127.0.0.1 127.0.0.1:9090 10.1.2.3:80 [::1] [::1]:9090 [fe80::1]:1 localhost localhost:9090 LOCALHOST:1 a.b.localhost:2
localhost. wave.example wave.example:1 WAVE.example:9090 node1.cluster alias alias:81
"""
FOREIGN = """\
evil.example evil.example:9090 localhost.evil.example xlocalhost 127.0.0.1.evil.example wave.example.evil 1.2.3
0x7f.1 2130706433 127.0.0.1:9090@evil.example user@127.0.0.1 127.0.0.1/ 127.0.0.1:x 127.0.0.1:123456 ::1 [::1
[evil] [127.0.0.1].evil . .localhost.evil wave.example..evil
"""


@pytest.mark.parametrize("authority", OWN.split())
def test_own_hosts(authority: str) -> None:
    assert is_own(authority, own_names(SETTINGS))


@pytest.mark.parametrize(
    "authority", [*FOREIGN.split(), "", " ", "127.0.0.1 ", "127.0.0.1\n", "löcalhost", "localhost\x00"]
)
def test_foreign_hosts(authority: str) -> None:
    assert not is_own(authority, own_names(SETTINGS))


def test_the_listening_address_is_the_default_name() -> None:
    assert own_names(Settings()) == {"127.0.0.1"}
    assert own_names(Settings(listen="[::1]:9090")) == {"::1"}


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    host = host_of(text)
    assert host is None or host == host.lower()
    is_own(text, frozenset())


async def answer(headers: dict[str, str], settings: Settings = SETTINGS) -> web.StreamResponse:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text="served")

    return await Guard(settings).refuse_foreign(make_mocked_request("GET", "/", headers), handler)


async def test_what_is_ours_is_served_without_cors_headers() -> None:
    for headers in ({"Host": "127.0.0.1:9090"}, {"Host": "node1.cluster"}, {}):
        response = await answer(headers)
        assert response.status == 200
        assert not [name for name in response.headers if name.lower().startswith("access-control")]


async def test_a_foreign_host_is_refused_with_the_remedy() -> None:
    with pytest.raises(ForeignRequest, match=r"'evil\.example:80' is not a name of this daemon.*`hosts`") as caught:
        await answer({"Host": "evil.example:80"})
    assert caught.value.status == 421
    assert caught.value.message.isascii()


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9090", "http://localhost:9090", ""]
)
async def test_any_origin_is_refused(origin: str) -> None:
    with pytest.raises(ForeignRequest, match="Origin"):
        await answer({"Host": "127.0.0.1:9090", "Origin": origin})
