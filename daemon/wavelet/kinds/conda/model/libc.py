"""The C library of a base image, as a document that is kept: packages for the image may need it."""

from __future__ import annotations

import msgspec


class Libc(msgspec.Struct, frozen=True, rename={"name": "libc"}):
    """A C library: `glibc`, `musl` or, where there is none, empty; and the version (`2.36`) of a glibc."""

    name: str = ""
    version: str = ""

    def encode(self) -> bytes:
        """Return the document."""
        return msgspec.json.encode(self, order="sorted")

    @classmethod
    def decode(cls, data: bytes) -> Libc:
        """Read the document."""
        return msgspec.json.decode(data, type=cls)
