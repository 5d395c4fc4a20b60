"""A daemon to be called by commands, one for all modules that call one, and calling it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from lab import images
from lab.command import Said, Wavelet
from lab.conda_asks import CHANNEL, CondaSite
from lab.conda_channel import ChannelServer, make_channel
from lab.conda_packages import Package
from lab.daemon import Daemon
from lab.grpc_site import Site
from lab.registry import Registry
from wavelet.cli.main import main

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
    registry = Registry(tmp_path_factory.mktemp("registry"))
    private = Registry(tmp_path_factory.mktemp("private"), accounts=("ann",))
    busybox = images.busybox()
    channel = tmp_path_factory.mktemp("channel")
    make_channel(channel, PACKAGES)
    registry.start()
    private.start()
    try:
        registry.push("lab/busybox", "1", busybox)
        private.push("lab/secret", "1", busybox)
        with ChannelServer({CHANNEL: channel}) as server:
            settings = CondaSite(registry, server, f"{registry.host}/lab/busybox:1").settings()
            node = Daemon(tmp_path_factory.mktemp("node") / "state", settings=settings)
            try:
                yield Site(node.start(), registry, private, server, busybox)
            finally:
                node.stop()
    finally:
        registry.stop()
        private.stop()


@pytest.fixture
def wavelet(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wavelet:
    """Return a function that runs the command within this process; `stdin` is what it reads."""
    monkeypatch.setenv("WAVELET_SOCKET", site.user.removeprefix("unix:"))

    def run(*arguments: str, stdin: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        try:
            code = main(list(arguments))
        except SystemExit as end:  # argparse's own
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run
