"""Image configurations: the few members that are read (image-spec config.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from wavelet import foreign_json
from wavelet.errors import InvalidRequest
from wavelet.foreign_json import ForeignJsonError
from wavelet.image.digest import Digest
from wavelet.image.manifest import MalformedManifest
from wavelet.image.platform import Platform


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """View of an image configuration: the platform it was made for and its layers' diff IDs.

    `names_platform` is false where it says nothing of its architecture, and the platform is a guess.
    """

    platform: Platform
    diff_ids: tuple[Digest, ...]
    names_platform: bool = True


class _Rootfs(msgspec.Struct):
    diff_ids: list[str] | None = None


class _Settings(msgspec.Struct, rename="pascal"):
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: list[str] | None = None


class _Document(msgspec.Struct):
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None
    rootfs: _Rootfs | None = None
    config: _Settings | None = None
    history: list[dict[str, Any]] | None = None


def parse_config(data: bytes) -> tuple[dict[str, Any], ImageConfig]:
    """Return the document as it is (key order kept) and the view of it.

    Raises:
        MalformedManifest: not a JSON object, or its members are of the wrong types.
    """
    try:
        view = foreign_json.decode(data, _Document)
        diff_ids = () if view.rootfs is None else view.rootfs.diff_ids or ()
        platform = Platform.of(view.os or "linux", view.architecture or "amd64", view.variant or "")
        parsed = ImageConfig(platform, tuple(map(Digest.parse, diff_ids)), bool(view.architecture))
        return foreign_json.decode(data, dict[str, Any]), parsed
    except (ForeignJsonError, InvalidRequest) as error:
        raise MalformedManifest(f"not an image configuration: {error}") from None


def merge_env(*lists: Iterable[str]) -> list[str]:
    """Join lists of `NAME=value`: each name once, at its first place, with its last value."""
    merged: dict[str, str] = {}
    for entry in (entry for entries in lists for entry in entries):
        merged[entry.partition("=")[0]] = entry
    return list(merged.values())
