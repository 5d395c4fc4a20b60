"""Content digests as the OCI image-spec writes them (descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from wavelet.errors import InvalidDigest

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_SHAPE = re.compile(r"(?P<algorithm>[a-z0-9]+):(?P<hex>[0-9a-f]+)")


class Hasher(Protocol):
    """What of `hashlib`'s objects is used."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far, in lower-case hexadecimal."""


class Digest(str):
    """`algorithm:hex`, validated: sha256 or sha512, lower-case hexadecimal of the right length."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, field: str | None = None) -> Digest:
        """Validate `text`.

        Raises:
            InvalidDigest: another algorithm or not the algorithm's number of hexadecimal digits.
        """
        found = _SHAPE.fullmatch(text)
        if found is None or _HEX_LENGTH.get(found["algorithm"]) != len(found["hex"]):
            shown = text if len(text) < 160 else text[:150] + "…"
            message = f"{shown!r} is not a digest; it takes sha256:<64 hexadecimal digits> (or sha512:<128>)"
            raise InvalidDigest(message if field is None else f"{field}: {message}", field=field)
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of `data`."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The encoded part, without the algorithm."""
        return self.partition(":")[2]

    def hasher(self) -> Hasher:
        """Return a fresh hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def matches(self, hasher: Hasher) -> bool:
        """Tell whether what `hasher` has taken in is this digest's content."""
        return hasher.hexdigest() == self.hex
