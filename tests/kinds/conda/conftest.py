"""Fixtures for tests of conda images: the standard channel, and a server of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.conda_channel import ChannelServer, standard_channel


@pytest.fixture(scope="session")
def channel(common_directory: Path) -> Path:
    """Return the directory of the standard channel. It is shared: copy it (conda_channel.copy) to change it."""
    return standard_channel(common_directory / "standard-channel")


@pytest.fixture
def channel_server(channel: Path) -> Iterator[ChannelServer]:
    """Return a server of the standard channel, by the name `lab`."""
    with ChannelServer({"lab": channel}) as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count tests with the channel to the group of those that need what it is made of."""
    for item in items:
        if "channel" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.conda)
