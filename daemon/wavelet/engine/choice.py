"""The engines that there are, and which of them a setting stands for."""

from __future__ import annotations

from wavelet.engine.command_line import DOCKER, PODMAN
from wavelet.engine.namespace import NamespaceEngine
from wavelet.engine.protocol import Engine

_ALL: tuple[Engine, ...] = (DOCKER, PODMAN, NamespaceEngine())


def engines_for(setting: str) -> tuple[Engine, ...]:
    """Return the engines to try, in their order: all for `auto`, none for `none`."""
    return tuple(engine for engine in _ALL if setting in ("auto", engine.name))
