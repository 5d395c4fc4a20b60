"""Groups of tests that need a part of the machine: skipped with the reason where it is absent, and counted in CI.

A test says by a marker which parts it needs. With `WAVELET_CI=1` every group of `REQUIRED` has to have run at least one
test and skipped none for an absent part; else the session fails with one line for each such group.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

CI_VARIABLE = "WAVELET_CI"


@dataclass(frozen=True)
class Part:
    """What a group needs: programs, the right to act as root, and how to get them."""

    programs: tuple[str, ...]
    remedy: str
    root: bool = False

    def absence(self) -> str:
        """Return why the group cannot run here, or nothing."""
        if self.root and os.geteuid() != 0:
            return "needs root"
        missing = [name for name in self.programs if program(name) is None]
        return f"needs {', '.join(missing)} ({self.remedy})" if missing else ""


PARTS = {
    "registry": Part(("docker-registry", "busybox"), "apt-get install docker-registry busybox-static"),
    "docker": Part(("dockerd", "docker", "unshare"), "apt-get install docker.io", root=True),
    "podman": Part(("podman", "crun", "unshare"), "apt-get install podman crun", root=True),
    "skopeo": Part(("skopeo",), "apt-get install skopeo"),
    "containerd": Part(("containerd", "ctr", "unshare"), "apt-get install docker.io", root=True),
    "containerd2": Part(
        ("containerd-2", "ctr-2", "unshare"),
        "go install github.com/containerd/containerd/v2/cmd/...@v2.4.2, and these names; see .ci/run",
        root=True,
    ),
    "conformance": Part(("conformance",), "go install github.com/opencontainers/distribution-spec/conformance@latest"),
    "crane": Part(("crane",), "go install github.com/google/go-containerregistry/cmd/crane@latest"),
    "cwltool": Part(("cwltool",), "pip install cwltool, into an environment of its own that PATH has"),
    "groovy": Part(("groovy", "java"), "mvn dependency:get -Dartifact=org.apache.groovy:groovy:4.0.28; see .ci/run"),
    "go": Part(
        ("go", "protoc-gen-go", "protoc-gen-go-grpc"),
        "go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.11; "
        "go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1",
    ),
    "users": Part(("useradd", "userdel", "setpriv"), "apt-get install passwd util-linux", root=True),
    "conda": Part(("busybox", "ps", "ldd"), "apt-get install busybox-static procps libc-bin"),
    "qemu": Part(("qemu-x86_64",), "apt-get install qemu-user"),
    "aarch64": Part(("qemu-aarch64", "python3-aarch64"), "apt-get install qemu-user; see .ci/aarch64"),
    "netns": Part(("ip",), "apt-get install iproute2", root=True),
    "chroot": Part(("chroot", "unshare", "busybox"), "apt-get install util-linux busybox-static", root=True),
    "exfat": Part(
        ("mkfs.exfat", "mount.exfat-fuse", "losetup"), "apt-get install exfatprogs exfat-fuse mount", root=True
    ),
    "systemd": Part(("systemd-analyze",), "apt-get install systemd"),
    "squashfs": Part(
        ("mksquashfs", "unsquashfs", "squashfuse", "fusermount3", "mount"),
        "apt-get install squashfs-tools squashfuse fuse3 mount",
        root=True,
    ),
    "siftool": Part(("siftool",), "go install github.com/apptainer/sif/v2/cmd/siftool@v2.25.0"),
    "oras": Part(("oras",), "go install oras.land/oras/cmd/oras@v1.3.6"),
}

REQUIRED = tuple(PARTS)
"""The groups without which CI does not count as run."""


def program(name: str) -> str | None:
    """Return where a program is: in PATH, the system's directories, or where `go install` puts it."""
    go = [os.environ.get("GOBIN", ""), str(Path(os.environ.get("GOPATH", "~/go")).expanduser() / "bin")]
    places = [os.environ.get("PATH", ""), *filter(None, go), "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"]
    return shutil.which(name, path=os.pathsep.join(places))


class Groups:
    """The pytest plugin: skips what cannot run, and counts what ran."""

    def __init__(self) -> None:
        self._ran: Counter[str] = Counter()

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip a test whose part is absent."""
        for name in _groups_of(item):
            reason = PARTS[name].absence()
            if reason:
                pytest.skip(reason)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test that got to run for each of its groups; reports of parallel processes come here too."""
        if report.when == "call":
            self._ran.update(PARTS.keys() & report.keywords.keys())

    def failures(self) -> list[str]:
        """Return one line for each required group that did not run."""
        lines = []
        for name in REQUIRED:
            if not self._ran[name]:
                lines.append(f"group {name}: {PARTS[name].absence() or 'no test ran'}")
        return lines

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """In CI, fail the session for groups that did not run."""
        if _in_ci(session.config) and self.failures() and session.exitstatus in (pytest.ExitCode.OK, 5):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which required groups did not run."""
        lines = self.failures() if _in_ci(terminalreporter.config) else []
        if lines:
            terminalreporter.section(f"{CI_VARIABLE}: required groups that did not run", red=True)
        for line in lines:
            terminalreporter.line(line)


def _groups_of(item: pytest.Item) -> set[str]:
    return {mark.name for mark in item.iter_markers()} & PARTS.keys()


def _in_ci(config: pytest.Config) -> bool:
    is_whole = not config.option.collectonly and not hasattr(config, "workerinput")
    return bool(os.environ.get(CI_VARIABLE)) and is_whole
