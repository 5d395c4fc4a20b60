"""What all tests of this room have in common."""

from __future__ import annotations

import pytest

from wavelet.resolve import binding


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have who does not wait for a pin get a name without one, as where a registry takes its time."""
    monkeypatch.setattr(binding, "NAME_WAIT", 0.0)
