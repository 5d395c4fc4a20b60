"""A small client of the distribution-spec, for machines without a container engine: it pulls, verifies and unpacks."""

from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from msgspec import Struct, field

from wavelet.errors import UpstreamBroken
from wavelet.foreign_json import decode
from wavelet.image.image import ACCEPTED_TYPES, Descriptor, Manifest, parse_document
from wavelet.image.reference import Digest

PULL_LIMIT = 120.0
"""Seconds for one request."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought: the digest, the variables of the image's environment, and the bytes over the wire."""

    digest: Digest
    environment: list[str]
    bytes_read: int


class _Settings(Struct):
    environment: list[str] = field(name="Env", default_factory=list)


class _Config(Struct):
    config: _Settings | None = None


async def pull(name: str, directory: Path) -> Pulled:
    """Pull `HOST:PORT/path:tag` over http and unpack it into `directory`.

    Raises:
        UpstreamBroken: an answer other than 200, or bytes without their digest.
    """
    host, _, rest = name.partition("/")
    path, _, tag = rest.rpartition(":")
    base = f"http://{host}/v2/{path}"
    timeout = aiohttp.ClientTimeout(total=PULL_LIMIT)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        data = await _get(session, f"{base}/manifests/{tag}")
        manifest = parse_document(data)
        if not isinstance(manifest, Manifest) or manifest.config is None:
            raise UpstreamBroken(f"{name} is not the manifest of an image")
        config = await _verified(session, base, manifest.config)
        layers = [await _verified(session, base, layer) for layer in manifest.layers]
    for layer in layers:
        await asyncio.to_thread(_unpack, layer, directory)
    settings = decode(config, _Config).config or _Settings()
    return Pulled(Digest.of(data), settings.environment, sum(map(len, (data, config, *layers))))


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url, headers={"Accept": ", ".join(ACCEPTED_TYPES)}) as answer:
        data = await answer.read()
        if answer.status != 200:
            raise UpstreamBroken(f"{url} answered {answer.status}: {data[:500].decode(errors='replace')}")
        return data


async def _verified(session: aiohttp.ClientSession, base: str, descriptor: Descriptor) -> bytes:
    data = await _get(session, f"{base}/blobs/{descriptor.digest}")
    if Digest.of(data, descriptor.digest.algorithm) != descriptor.digest:
        raise UpstreamBroken(f"{base} sent bytes that are not {descriptor.digest}")
    return data


def _unpack(layer: bytes, directory: Path) -> None:
    """Write the files of a layer. Links are left out, so that nothing leads out of `directory`.

    `tarfile`'s own filters for that are younger (3.11.4) than the Python that distributions have.
    """
    inside = directory.resolve()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as archive:
        for member in archive:
            path = (inside / member.name.lstrip("/")).resolve()
            content = archive.extractfile(member) if member.isreg() else None
            if content is None:
                continue
            if not path.is_relative_to(inside):
                raise UpstreamBroken(f"a layer has the path {member.name[:100]!a}, which leads out of it")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
