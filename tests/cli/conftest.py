"""A daemon to be called by commands, one for all modules that call one, and calling it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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

RULES = """
- name: lab-refuses
  when: {labels: {lab: refuse}}
  do: {refuse: Not on this node.}
- name: lab-adds
  when: {labels: {lab: add}}
  do: {packs: [lab], env: {SITE: "1"}}
"""

PACK = """
version: "1.2"
layers: [{files: {/opt/lab/tool: tool}}]
env: {LAB: "1"}
needs: {devices: [/dev/fuse], capabilities: [SYS_ADMIN]}
"""


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a running daemon with a public registry, a private one, and a small channel."""
    decided = decisions(tmp_path_factory.mktemp("decided"))
    with running_site(tmp_path_factory.mktemp, PACKAGES, ["lab/secret"], lambda _: decided) as running:
        yield running


def decisions(directory: Path) -> dict[str, dict[str, str]]:
    """Return settings of a site that has a pack, and rules for requests that ask for them by a label."""
    rules, pack = directory / "rules.d", directory / "packs" / "lab"
    rules.mkdir()
    (rules / "10-lab.yaml").write_text(RULES)
    pack.mkdir(parents=True)
    (pack / "pack.yaml").write_text(PACK)
    (pack / "tool").write_text("#!/bin/sh\n")
    return {"rules": {"directory": str(rules)}, "packs": {"directory": str(pack.parent)}}


@pytest.fixture
def wavelet(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wavelet:
    """Return a function that runs the command within this process; `stdin` is what it reads."""
    monkeypatch.setenv("WAVELET_SOCKET", site.user.removeprefix("unix:"))
    return in_process(monkeypatch, capsys)
