"""An image of several layers in which they collide in every way that engines agree upon."""

from __future__ import annotations

import random
import tarfile

from lab import images
from lab.odd_layers import BLOCK, CAPABILITY, Member, directory, file, hard_link, layer, link, opaque, whiteout

DEVICE = b"etc/null"
"""The device that is in it, which SIFs do not have."""

SMALL = file(b"one/small", b"a tail\n", mode=0o600, owner=(3, 4), mtime=1_234_567_890.75)
TWICE = file(b"two/first", b"two names\n")
LAST = b"two/last"
"""The name that remains of `TWICE`: an overlay counts the other still."""


def odd_image(**settings: object) -> images.Image:
    """Return the image; it runs, by busybox."""
    return images.image(odd_layers(), **settings)  # type: ignore[arg-type]


def odd_layers() -> list[images.Layer]:
    """Return its layers, the lowest first."""
    return [images.busybox_layer(), _below(), _above(), _top()]


def of_podman_alone(path: bytes, attribute: str) -> bool:
    """Tell where podman's tree of it is podman's own: the root, and names of a file that only lower layers have."""
    return (path, attribute) in {(b"", "mode"), (b"", "mtime"), (LAST, "names")}


def _noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _below() -> images.Layer:
    """What is there first: everything of one layer alone, and what the next ones change."""
    return layer(
        directory(b"./", mtime=86_400),
        directory(b"one", mode=0o2750, owner=(1000, 1_000_000)),
        file(b"one/empty", owner=(65_534, 65_534)),
        SMALL,
        file(b"one/block", _noise(BLOCK, 1), mode=0o4755),
        file(b"one/more", _noise(BLOCK + 1, 2), mode=0o2711),
        file(b"one/equal", _noise(BLOCK + 1, 2), owner=(1, 2)),
        file(b"one/holes", bytes(3 * BLOCK) + b"end", mtime=0),
        file(b"one/mixed", _noise(1000, 3) + bytes(2 * BLOCK) + _noise(BLOCK, 4)),
        file(b"one/noted", b"noted\n", xattrs={"user.note": b"\x00\xff note"}),
        file(b"one/able", b"#!/bin/sh\n", mode=0o755, xattrs={"security.capability": CAPABILITY}),
        directory(b"one/" + b"d" * 255, mode=0o1777),
        file(b"one/" + b"d" * 255 + b"/" + b"f" * 255, b"long names\n"),
        file(b"one/n\xe4me \xff\n", b"no text\n"),
        file("one/ümläut".encode(), b"text\n"),
        link(b"one/relative", b"../one/small", owner=(5, 6), mtime=77),
        link(b"one/dangling", b"/nowhere/\xfe"),
        hard_link(b"one/second", SMALL),
        hard_link(b"one/third", SMALL),
        Member(b"one/fifo", tarfile.FIFOTYPE, mode=0o622),
        directory(b"etc", mtime=0),
        Member(DEVICE, tarfile.CHRTYPE),
        directory(b"two"),
        file(b"two/goes", b"is taken away\n"),
        file(b"two/stays", b"stays\n"),
        directory(b"two/goes-too"),
        file(b"two/goes-too/below", b"is taken away with it\n"),
        directory(b"two/opaque", mode=0o700),
        file(b"two/opaque/hidden", b"hidden\n"),
        directory(b"two/opaque/deeper"),
        file(b"two/opaque/deeper/hidden", b"hidden\n"),
        directory(b"two/to-file"),
        file(b"two/to-file/below", b"below a directory that is a file later\n"),
        file(b"two/to-directory", b"a file that is a directory later\n"),
        link(b"two/to-real", b"opaque"),
        file(b"two/changed", b"before\n", owner=(1, 1)),
        TWICE,
        hard_link(LAST, TWICE),
    )


def _above() -> images.Layer:
    """What takes away, hides and replaces."""
    return layer(
        directory(b"two", mode=0o711, owner=(42, 42), mtime=2_000_000_000),
        whiteout(b"two/goes"),
        whiteout(b"two/goes-too"),
        directory(b"two/opaque", mode=0o755),
        opaque(b"two/opaque"),
        file(b"two/opaque/new", b"new\n"),
        file(b"two/to-file", b"a file now\n"),
        directory(b"two/to-directory", mode=0o750),
        file(b"two/to-directory/below", b"below what was a file\n"),
        directory(b"two/to-real"),
        file(b"two/to-real/real", b"no link any more\n"),
        file(b"two/changed", b"after, and longer than before\n", mode=0o640),
        whiteout(b"two/first"),
        directory(b"many"),
        *(file(b"many/%d" % number, b"%d\n" % number, mtime=number) for number in range(700)),
    )


def _top() -> images.Layer:
    """What comes back."""
    return layer(
        directory(b"two", mode=0o711, owner=(42, 42), mtime=2_000_000_001),
        directory(b"two/goes-too", mode=0o555),
        file(b"two/goes-too/again", b"again\n"),
        directory(b"two/opaque", mode=0o755, mtime=5),
        file(b"two/opaque/hidden", b"not hidden\n"),
        whiteout(b"two/to-directory"),
    )
