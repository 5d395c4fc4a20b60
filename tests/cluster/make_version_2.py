"""Makes `version_2.json`: what version 0.2.0 leaves in a shared directory. It is made once, and read for ever.

    cd tests && PYTHONPATH=.:../daemon ../.venv/bin/python -m cluster.make_version_2 > cluster/version_2.json

A version that keeps records in another form has a file of its own; this one is made anew only before it is released.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec

from cluster import golden
from cluster.suite import KEY, LIFETIMES, Clock
from wavelet.cluster.records import Record
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.image.reference import Digest
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import Pin
from wavelet.plan.node import Node, map_parts

MAKER = "2.1"
VERSION_1 = golden.load(1)


def pin_of(record: Record, content: str) -> Pin:
    """Return a pin whose digests are those of `content`, and whose locks are that of version 1."""
    locked = VERSION_1.record("a lock").plan
    assert isinstance(locked, LockedEnvironment)
    digest = Digest.of(content.encode())

    def fix(part: Node) -> Node:
        if isinstance(part, CondaEnvironment):
            base = replace(part.base, reference=part.base.reference.at(digest))
            return replace(locked, platform=part.platform, base=base, layers=part.layers)
        if isinstance(part, LockedEnvironment):
            return replace(part, base=replace(part.base, reference=part.base.reference.at(digest)))
        return part if part.reference.digest else replace(part, reference=part.reference.at(digest))

    pin = Pin.of(map_parts(record.plan, fix))
    return replace(pin, maker=MAKER if pin.maker else "")


async def fill(root: Path) -> golden.Golden:
    tokens: dict[str, str] = {}
    pins: dict[str, str] = {}
    records = DirectoryRecords(root, KEY, FORMS, LIFETIMES, Clock())

    async def keep(name: str, record: Record, asked: str, bound: Pin | None = None) -> str:
        inline = {} if record.first else VERSION_1.inline(asked)
        token = tokens[name] = await records.put(record, inline)
        if bound is not None:
            await records.bind(token, bound)
        if (pin := record.pin or bound) is not None:
            pins[name] = pin.name
        return token

    for number, asked in enumerate(VERSION_1.tokens):
        record = VERSION_1.record(asked)
        today, tomorrow = pin_of(record, "today"), pin_of(record, "tomorrow")
        await keep(f"{asked}, of version 1", record, asked)
        await keep(f"{asked}, decided", replace(record, pin=today), asked)
        first = await keep(f"{asked}, undecided", replace(record, nonce=f"{number:032x}"), asked, tomorrow)
        if tomorrow != today:
            await keep(f"{asked}, named before", replace(record, pin=tomorrow, first=first), asked)
    bound = "packages, of version 1"
    await records.bind(tokens[bound], pin := pin_of(VERSION_1.record("packages"), "today"))
    pins[bound] = pin.name
    await keep("not bound", replace(VERSION_1.record("an image"), nonce="f" * 32), "an image")
    await records.close()
    files = {str(path.relative_to(root)): path.read_text() for path in sorted(root.glob("*/*"))}
    return golden.Golden(KEY.hex(), tokens, files, pins)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        made = asyncio.run(fill(Path(directory)))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(made), indent=1).decode() + "\n")
