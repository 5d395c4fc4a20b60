"""Which engines the setting `conda.engine` stands for."""

from __future__ import annotations

from wavelet.engine.command import DOCKER, PODMAN
from wavelet.engine.engine import Engine
from wavelet.engine.namespace import NamespaceEngine

_ALL: tuple[Engine, ...] = (DOCKER, PODMAN, NamespaceEngine())


def engines(setting: str) -> tuple[Engine, ...]:
    """Return the engines to try, in their order; none for `none`."""
    return tuple(engine for engine in _ALL if setting in ("auto", engine.name))
