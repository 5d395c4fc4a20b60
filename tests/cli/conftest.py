"""A daemon to be called by commands, one for all modules that call one, and calling it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.command import Wavelet, in_process
from lab.conda_packages import Package
from lab.grpc_site import Site, running_site

PACKAGES = (
    Package("samtools", "1.17", depends=("htslib >=1.17",)),
    Package("htslib", "1.17"),
    Package("awaited"),
    Package("shown"),
    Package("interrupted"),
    Package("unread"),
)


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a running daemon with a public registry, a private one, and a small channel."""
    with running_site(tmp_path_factory.mktemp, PACKAGES, ["lab/secret"]) as running:
        yield running


@pytest.fixture
def wavelet(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wavelet:
    """Return a function that runs the command within this process; `stdin` is what it reads."""
    monkeypatch.setenv("WAVELET_SOCKET", site.user.removeprefix("unix:"))
    return in_process(monkeypatch, capsys)
