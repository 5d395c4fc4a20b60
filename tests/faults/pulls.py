"""A client that pulls as engines do, and takes nothing that it has not verified."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from dataclasses import dataclass
from typing import Any

import aiohttp

from doubles.registry import Registry

ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"


class Broken(Exception):
    """What came is not what it should be, or no whole answer came."""


@dataclass(frozen=True)
class Got:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The sentence of an error, of whichever door."""
        document = self.json()
        return str(document.get("message") or document["errors"][0]["message"])


class Client:
    """Asks one daemon."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def ask(self, method: str, path: str, **more: Any) -> Got:
        """Send one request. Raises Broken if no whole answer comes."""
        try:
            async with self.session.request(method, self.url + path, allow_redirects=False, **more) as response:
                return Got(response.status, dict(response.headers), await response.read())
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Broken(repr(error)) from error

    async def manifest(self, name: str, reference: str) -> Got:
        return await self.ask("GET", f"/v2/{name}/manifests/{reference}", headers={"Accept": ACCEPT})

    async def blob(self, name: str, digest: str, **headers: str) -> Got:
        return await self.ask("GET", f"/v2/{name}/blobs/{digest}", headers=headers)

    async def pull(self, name: str, reference: str) -> list[str]:
        """Pull an image; return the digests of all that came, verified."""
        got = await self.manifest(name, reference)
        verify(got, got.headers.get("Docker-Content-Digest", ""))
        document = got.json()
        digests = [each["digest"] for each in (document["config"], *document["layers"])]
        for digest in digests:
            verify(await self.blob(name, digest), digest)
        return digests


def verify(got: Got, digest: str) -> None:
    """Raise Broken unless an answer is the content of `digest`."""
    if got.status != 200:
        raise Broken(f"{got.status} {got.body[:300]!r}")
    if sha256(got.body) != digest:
        raise Broken(f"{digest}: {len(got.body)} bytes with the digest {sha256(got.body)}")


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


_SEEDS = itertools.count()


def noise(size: int) -> bytes:
    """Return incompressible bytes, other ones each time: what a daemon holds already is not fetched again."""
    return random.Random(next(_SEEDS)).randbytes(size)


def near(registry: Registry, repository: str) -> str:
    """Return the near-cache name of a repository."""
    return f"{registry.host.replace(':', '_')}/{repository}"
