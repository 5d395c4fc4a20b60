"""Fixtures of the end-to-end tests: one registry, one of each engine and one daemon for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab import images
from lab.conda_asks import CHANNEL, CondaSite
from lab.conda_channel import ChannelServer, standard_channel
from lab.daemon import Daemon
from lab.engines import Containerd, Docker, Engine, Podman
from lab.push_site import PushSite
from lab.registry import Registry
from lab.task_image import task_image
from lab.users import User

ENGINES = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("docker", "podman", "containerd")]


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Return a registry that everybody may read, with `lab/busybox:1` in it."""
    made = Registry(tmp_path_factory.mktemp("registry"))
    made.start()
    made.push("lab/busybox", "1", images.busybox())
    yield made
    made.stop()


@pytest.fixture
def start_registry(tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """Return a function that starts a registry for one test, which may stop it or change its accounts."""
    with ExitStack() as stack:

        def start(**settings: object) -> Registry:
            made = Registry(tmp_path / "registry", **settings)  # type: ignore[arg-type]
            stack.callback(made.stop)
            made.start()
            return made

        yield start


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon with its default settings, shared by all tests that do not need one of their own."""
    daemon = Daemon(tmp_path_factory.mktemp("node") / "state")
    yield daemon.start()
    daemon.stop()


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Return a running Docker engine."""
    with Docker(tmp_path_factory.mktemp("docker")).running() as engine:
        yield engine


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """Return podman."""
    return Podman(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="session")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """Return a running containerd."""
    with Containerd(tmp_path_factory.mktemp("containerd")).running() as engine:
        yield engine


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Return each engine in turn."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def ann() -> Iterator[User]:
    """Return a user of the machine."""
    user = User.create("a")
    yield user
    user.remove()


@pytest.fixture(scope="session")
def bob() -> Iterator[User]:
    """Return another user of the machine."""
    user = User.create("b")
    yield user
    user.remove()


@pytest.fixture(scope="session")
def channel(common_directory: Path) -> Path:
    """Return the directory of the standard conda channel. It is shared: copy it (conda_channel.copy) to change it."""
    return standard_channel(common_directory / "standard-channel")


@pytest.fixture(scope="session")
def conda_site(registry: Registry, channel: Path) -> Iterator[CondaSite]:
    """Return a base image and a server of the standard channel, for tests that do not change the server."""
    base = registry.push("lab/conda-base", "1", task_image())
    with ChannelServer({CHANNEL: channel, "bioconda": channel}) as server:
        yield CondaSite(registry, server, base)


@pytest.fixture(scope="session")
def push_site(conda_site: CondaSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushSite]:
    """Return a node that freezes, and registries that take what it pushes."""
    with PushSite.running(tmp_path_factory.mktemp("push-site"), conda_site) as site:
        yield site


@pytest.fixture
def own_site(conda_site: CondaSite, channel: Path) -> Iterator[CondaSite]:
    """Return the same with a server of the test's own, which may fail, stop, or serve other channels."""
    with ChannelServer({CHANNEL: channel, "bioconda": channel}) as server:
        yield CondaSite(conda_site.registry, server, conda_site.base)


@pytest.fixture(scope="session")
def conda_node(conda_site: CondaSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that makes images of conda packages, shared by all tests that do not need one of their own."""
    daemon = Daemon(tmp_path_factory.mktemp("conda-node") / "state", settings=conda_site.settings())
    yield daemon.start()
    daemon.stop()
