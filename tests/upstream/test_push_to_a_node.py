"""Pushes to another wavelet node, whose registry keeps what came of a request that broke off."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from doubles.cutter import Cutter
from lab.daemon import Daemon
from lab.push_sources import PIECE, Pushed
from wavelet.image.reference import Repository
from wavelet.plan.tokens import NOBODY
from wavelet.upstream import push_plan, transport
from wavelet.upstream.client import Upstream


@pytest.mark.process
async def test_an_upload_goes_on_at_the_byte_where_it_broke(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_plan, "CHUNK_SIZE", 8 * PIECE)
    monkeypatch.setattr(Pushed, "in_file", True)
    monkeypatch.setattr(transport, "PSEUDONYM", "elsewhere")  # it would be refused as a wavelet of the same node
    node, pushed = Daemon(tmp_path / "state", settings={"hosted": {"pushes": "on"}}), Pushed(os.urandom(30 * PIECE + 3))
    await asyncio.to_thread(node.start)
    try:
        async with Cutter(node.authority, 5 * PIECE, 7 * PIECE) as cutter:
            repository = Repository(cutter.host, "local/pushed")
            assert await upstream.pusher.push_blob(repository, pushed.source, NOBODY, on_bytes=pushed.on_bytes)
            assert await upstream.pusher.has_blob(repository, pushed.digest, NOBODY)
        assert pushed.opened[0] == 0 < pushed.opened[1] and pushed.opened == sorted(pushed.opened)
        assert pushed.sent == len(pushed.data) and cutter.cuts == []
    finally:
        node.stop()
