"""The index of sharded repodata (CEP 16): where its shards are. Pure.

An index may send its readers to another server for the shards. The solver asks nobody but the daemon, so such an index
is changed to name a path below the channel, which the daemon turns back into that server's address.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

import msgspec
import zstandard

from wavelet.errors import UpstreamBroken

NAME = "repodata_shards.msgpack.zst"

INFLATED_LIMIT = 256 * 1024 * 1024
"""Bytes of an index; conda-forge's has some two million."""

_ELSEWHERE = ".shards"
_FOREIGN = re.compile(rf"(?P<channel>.+)/[^/]+/{re.escape(_ELSEWHERE)}/(?P<scheme>https?)/(?P<rest>[^/]+/.+)")


def localised(data: bytes, url: str) -> bytes | None:
    """Return an index with all of its shards below the channel; None if they are there already. `url` is its own.

    Raises:
        UpstreamBroken: it is no such index.
    """
    directory = url.rpartition("/")[0]
    channel = directory.rpartition("/")[0]
    try:
        inflated = zstandard.ZstdDecompressor().stream_reader(data).read(INFLATED_LIMIT)
        index = msgspec.msgpack.decode(inflated, type=dict[str, object])
        info = msgspec.convert(index["info"], dict[str, object])
        there = urljoin(f"{directory}/", str(info.get("shards_base_url") or "./"))
        parts = urlsplit(there)
    except (zstandard.ZstdError, msgspec.MsgspecError, KeyError, ValueError):
        raise UpstreamBroken(f"{url} is no index of shards") from None
    if there.startswith(f"{channel}/"):
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise UpstreamBroken(f"{url} has its shards at something that is not an http address")
    path = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""
    info["shards_base_url"] = f"./{_ELSEWHERE}/{parts.scheme}/{parts.netloc}/{path}"
    return zstandard.compress(msgspec.msgpack.encode({**index, "info": info}))


def origin_of(url: str) -> tuple[str, str]:
    """Return the address of a file, and one that is in the channel: they differ as `localised` says."""
    found = _FOREIGN.fullmatch(url)
    return (f"{found['scheme']}://{found['rest']}", f"{found['channel']}/") if found else (url, url)
