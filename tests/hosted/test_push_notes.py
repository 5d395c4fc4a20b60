"""Where something was pushed, for the other nodes of a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.hosted import ANN, push_image, small_image
from lab.node import open_node
from wavelet.errors import ImageNotFound
from wavelet.hosted.model import HostedRepository, readers_view
from wavelet.plan.tokens import Identity

TOOL = HostedRepository(ANN, "tool")
ANNS, BOBS = readers_view(Identity(1001), "tool"), readers_view(Identity(1002), "tool")


async def test_a_node_says_where_an_image_was_pushed_to_whoever_may_know(tmp_path: Path) -> None:
    async with (
        open_node(tmp_path / "one", shared=tmp_path / "shared") as one,
        open_node(tmp_path / "two", shared=tmp_path / "shared") as two,
    ):
        digest = await push_image(one.hosted, TOOL, "1", small_image("one"))
        for reference in ("1", digest):
            with pytest.raises(ImageNotFound, match="was pushed on node "):
                await two.hosted.images.get(ANNS, reference)
            with pytest.raises(ImageNotFound, match="was not pushed to this node"):
                await two.hosted.images.get(BOBS, reference)
        await push_image(two.hosted, TOOL, "1", small_image("two"))
        await one.hosted.pushes.delete_tag(TOOL, "1")
        with pytest.raises(ImageNotFound, match="was pushed on node "):
            await one.hosted.images.get(ANNS, "1")  # the other node's still stands
        await two.hosted.pushes.delete_tag(TOOL, "1")
        with pytest.raises(ImageNotFound, match="was not pushed to this node"):
            await one.hosted.images.get(ANNS, "1")


async def test_a_push_stands_though_other_nodes_do_not_hear_of_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with open_node(tmp_path / "one", shared=shared) as one:
        await push_image(one.hosted, TOOL, "1", small_image("one"))
        shared.rename(tmp_path / "away")
        shared.write_text("no directory")
        digest = await push_image(one.hosted, TOOL, "1", small_image("another"))
        assert (await one.hosted.images.get(ANNS, "1")).descriptor.digest == digest
        with pytest.raises(ImageNotFound):
            await one.hosted.images.get(ANNS, "2")
