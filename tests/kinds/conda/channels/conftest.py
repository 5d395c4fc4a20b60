"""Fixtures: requests that are repeated without long waits, and no proxy of whoever runs the tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wavelet.upstream import retry


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without long waits, with no proxy."""
    monkeypatch.setattr(retry, "REQUESTS", replace(retry.REQUESTS, first_delay=0.01))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
