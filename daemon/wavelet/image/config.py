"""Image configurations: the few members that are read (image-spec config.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from wavelet.errors import InvalidRequest
from wavelet.image.digest import Digest
from wavelet.image.manifest import MalformedManifest
from wavelet.image.platform import Platform


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """View of an image configuration: the platform it was made for and its layers' diff IDs."""

    platform: Platform
    diff_ids: tuple[Digest, ...]


def parse_config(data: bytes) -> tuple[dict[str, Any], ImageConfig]:
    """Return the document as it is (key order kept) and the view of it.

    Raises:
        MalformedManifest: not a JSON object, or its members are of the wrong types.
    """
    try:
        document = msgspec.json.decode(data, type=dict[str, Any])
        rootfs = document.get("rootfs") or {}
        platform = Platform.of(
            str(document.get("os") or "linux"),
            str(document.get("architecture") or "amd64"),
            str(document.get("variant") or ""),
        )
        return document, ImageConfig(platform, tuple(Digest.parse(text) for text in rootfs.get("diff_ids") or ()))
    except (msgspec.DecodeError, InvalidRequest, TypeError, AttributeError, RecursionError) as error:
        raise MalformedManifest(f"not an image configuration: {error}") from None


def merge_env(*lists: Iterable[str]) -> list[str]:
    """Join lists of `NAME=value`: each name once, at its first place, with its last value."""
    merged: dict[str, str] = {}
    for entry in (entry for entries in lists for entry in entries):
        merged[entry.partition("=")[0]] = entry
    return list(merged.values())
