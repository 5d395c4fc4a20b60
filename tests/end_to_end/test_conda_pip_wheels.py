"""Requirements for pip: wheels of an index on loopback become layers, beside what conda has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import conda_asks, conda_channel
from lab.conda_asks import CondaSite, ask, build_log, digest, done, lock, made
from lab.conda_packages import Package
from lab.daemon import Daemon
from lab.engines import Docker
from lab.wheels import PackageIndex, WheelFile, running_index, write_sdist

pytestmark = pytest.mark.registry

FILE = "channels: [conda-forge]\ndependencies:\n  - python\n  - pip:\n    - greets>=1\n"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    root = tmp_path_factory.mktemp("index")
    program = b"import sys\ndef main():\n    import helps\n    print('hello from', sys.prefix, helps.x)\n"
    points = "[console_scripts]\ngreets = greets:main\n"
    with running_index(root) as running:
        running.add(
            WheelFile("greets", files={"greets/__init__.py": program}, requires=["helps"], entry_points=points),
            WheelFile("helps", "2.1"),
        )
        write_sdist(root / "sources", "sources")
        yield running


@pytest.fixture
def node(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, index: PackageIndex, channel: Path, tmp_path: Path
) -> Daemon:
    with_pip = conda_channel.copy(channel, tmp_path / "with-pip")
    own_site.server.channels[conda_asks.CHANNEL] = conda_channel.add(with_pip, Package("pip", "24.0"))
    return start_daemon(settings=own_site.settings(), PIP_INDEX_URL=index.simple, PIP_CONFIG_FILE="/dev/null")


@pytest.mark.docker
def test_wheels_run(node: Daemon, docker: Docker) -> None:
    answer = ask(node, "python", "pip:greets")
    state = done(node, answer["requestId"])
    assert state["succeeded"] is True, state
    name = answer["targetImage"]
    docker.pull(name)
    assert docker.run(name, "greets") == "hello from /opt/conda 1\n"
    assert "greets-1.0" in build_log(node, answer["buildId"])
    # Fault E2: every form of a lock is read back whole, the one with wheels in comments too.
    for form in ("explicit", "pixi", "conda-lock"):
        text = lock(node, answer["buildId"], form)
        assert "greets-1.0-py3-none-any.whl" in text
        assert digest(node, made(node, environment=text, channels=())) == digest(node, name)
    assert digest(node, f"{node.authority}/conda/python/pip--greets:latest") == digest(node, name)
    again = made(node, environment=FILE, channels=())
    assert [layer["digest"] for layer in conda_asks.manifest(node, again)["layers"]] == [
        layer["digest"] for layer in conda_asks.manifest(node, name)["layers"]
    ]


def test_sources_alone(node: Daemon) -> None:
    why = conda_asks.why_not(node, conda_asks.post(node, "python", "pip:sources"))
    assert "sources" in why
    assert "built from source" in why


def test_a_wheel_by_its_url(node: Daemon, index: PackageIndex) -> None:
    """Fault E4: a wheel that is named by its URL is the wheel that the index has there, with its digest in the lock."""
    url = f"{index.url}/files/greets/greets-1.0-py3-none-any.whl"
    answer = ask(node, "python", f"pip:{url}")
    state = done(node, answer["requestId"])
    assert state["succeeded"] is True, state
    assert digest(node, answer["targetImage"]) == digest(node, made(node, "python", "pip:greets"))
    assert f"# pip greets @ {url}#sha256=" in lock(node, answer["buildId"], "explicit")
