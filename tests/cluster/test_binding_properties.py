"""Whatever nodes do with names, in whatever order: each name answers by one pin for as long as its record is kept."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster import no_links
from cluster.keepers import Keeper
from cluster.suite import KEY, LIFETIMES, Clock, pin_of, undecided_record
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.kinds.table import FORMS

NAMES = [undecided_record(nonce=nonce) for nonce in ("aa", "bb")]
WHAT = st.sampled_from(["put", "bind", "get", "touch", "restart", "expire", "wait"])
STEPS = st.tuples(st.integers(0, 1), st.integers(0, 1), WHAT, st.integers(0, 3))


class Nodes:
    """Two nodes of one directory, and what each name was seen to be bound to."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._clock = Clock()
        self._nodes: list[Keeper] = [self._opened(), self._opened()]
        self._bound: dict[str, str] = {}

    def _opened(self) -> Keeper:
        return DirectoryRecords(self._root, KEY, FORMS, LIFETIMES, self._clock)

    async def close(self) -> None:
        for node in self._nodes:
            await node.close()

    async def step(self, node: int, name: int, what: str, pin: int) -> None:
        records, record = self._nodes[node], NAMES[name]
        token = record.token(KEY)
        match what:
            case "put":
                await records.put(record, {})
            case "bind":
                await records.put(record, {})
                bound = await records.bind(token, pin_of(record, str(pin)))
                assert self._bound.setdefault(token, bound.name) == bound.name
            case "get":
                stored = await records.get(token, patient=False)
                seen = stored.pin.name if stored and stored.pin else None
                assert seen == (self._bound.get(token) if stored else None)
            case "touch":
                await records.touch(token)
            case "restart":
                await records.close()
                self._nodes[node] = self._opened()
            case "expire":
                assert await records.expire() == 0
            case "wait":
                self._clock.now += 1000


@pytest.mark.parametrize(
    "links", [(True, True), (True, False), (False, False)], ids=["links", "some links", "no links"]
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=14))
def test_each_name_is_bound_once(
    links: tuple[bool, bool], steps: list[tuple[int, int, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(root: Path) -> None:
        nodes = Nodes(root)
        for node, name, what, pin in steps:
            with monkeypatch.context() as patch:
                if not links[node]:
                    patch.setattr(os, "link", no_links.link)
                await nodes.step(node, name, what, pin)
        await nodes.close()

    with tempfile.TemporaryDirectory() as root:
        asyncio.run(run(Path(root)))
