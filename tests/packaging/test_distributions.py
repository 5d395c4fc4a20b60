"""wavelet as it is handed out: wheel, sdist, a tarball with its own Python, and its own image.

One build and one installation serve all tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uv
import yaml

from lab import conda_asks, conda_channel, images
from lab.conda_channel import ChannelServer
from lab.conda_packages import Package
from lab.conda_python import python_package
from lab.daemon import Daemon, environment
from lab.engines import Docker
from lab.http import get
from lab.processes import Background, LabError, run, stopping, wait_for
from lab.registry import Registry
from lab.task_image import task_layer
from lab.wheels import PackageIndex, WheelFile, running_index
from wavelet import __version__

pytestmark = [pytest.mark.package, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).parents[2]
MOUNTS = 'mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" && exec chroot "$@"'
"""What every machine has, mounted in a root directory that has nothing else."""

BUILD_SECONDS = 120.0
READY_SECONDS = 20.0


def uv_pip(*arguments: str | Path) -> None:
    run([uv.find_uv_bin(), "pip", *arguments], environment=clean(), seconds=BUILD_SECONDS)


def clean() -> dict[str, str]:
    """Return an environment without a virtual environment, settings or Python paths; `uv` is in its PATH."""
    kept = {n: v for n, v in os.environ.items() if n != "VIRTUAL_ENV" and not n.startswith(("WAVELET_", "PYTHON"))}
    return kept | {"PATH": f"{Path(uv.find_uv_bin()).parent}:{kept['PATH']}"}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("packages")
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def checkout(work: Path) -> Path:
    """Return a copy of the sources, which nobody changes between two builds, without generated code."""
    place = work / "checkout"
    shutil.copytree(REPOSITORY / "daemon", place / "daemon", ignore=shutil.ignore_patterns("__pycache__", "v1"))
    for name in ("docs", "nextflow-config", "protos", "systemd"):
        shutil.copytree(REPOSITORY / name, place / name)
    for name in ("hatch_build.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, place)
    return place


@pytest.fixture(scope="module")
def built(checkout: Path, work: Path) -> Path:
    """Return a directory with the sdist, and the wheel that is built from the sdist; skip without a package index."""
    asked = [sys.executable, "-m", "pip", "download", "--no-deps", "--retries=0", "--timeout=10", "--dest", work]
    if run([*asked, "hatchling"], environment=clean(), check=False).returncode != 0:
        pytest.skip("needs a package index, and none answers")
    build(checkout, work / "dist")
    return work / "dist"


def build(source: Path, target: Path, *what: str) -> None:
    command = [sys.executable, "-m", "build", "--quiet", "--installer", "uv", *what, "--outdir", target, source]
    run(command, environment=clean(), seconds=BUILD_SECONDS)


def wheel_in(directory: Path) -> Path:
    return next(directory.glob("wavelet-*.whl"))


@pytest.fixture(scope="module")
def installed(built: Path, work: Path) -> Path:
    """Return a clean virtual environment with the wheel and what it needs."""
    return virtual_environment(work / "venv", wheel_in(built))


def virtual_environment(place: Path, *packages: str | Path) -> Path:
    run([sys.executable, "-m", "venv", "--without-pip", place])
    uv_pip("install", "--quiet", "--link-mode=copy", "--python", place / "bin" / "python", *packages)
    return place


def test_the_sdist_builds_into_the_wheel_that_the_checkout_builds_into(built: Path, checkout: Path, work: Path) -> None:
    build(checkout, work / "direct", "--wheel")
    of_sdist, direct = (zipfile.ZipFile(wheel_in(place)) for place in (built, work / "direct"))
    assert "wavelet/v1/containers_pb2_grpc.py" in of_sdist.namelist()
    assert {each.filename: each.CRC for each in of_sdist.infolist()} == {
        each.filename: each.CRC for each in direct.infolist()
    }
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        assert not [name for name in sdist.getnames() if "/v1/" in name and name.endswith(".py")], "generated code"


def test_an_installed_wheel_serves(installed: Path, work: Path, free_port: int) -> None:
    command = [str(installed / "bin" / "wavelet"), "serve", "--listen", f"127.0.0.1:{free_port}"]
    with stopping(
        Background([*command, "--state", str(work / "state")], work / "serve.log", environment({}))
    ) as daemon:
        daemon.wait_until(lambda: ready(f"127.0.0.1:{free_port}"), READY_SECONDS)
        assert get(f"http://127.0.0.1:{free_port}/service-info").status == 200
        assert daemon.stop() == 0


def ready(address: str) -> bool:
    try:
        return get(f"http://{address}/readyz").status == 200
    except OSError:
        return False


def test_the_client_alone(built: Path, work: Path) -> None:
    place = virtual_environment(work / "client", "--no-deps", wheel_in(built))
    metadata = zipfile.ZipFile(wheel_in(built)).read(f"wavelet-{__version__}.dist-info/METADATA").decode()
    wanted = re.findall(r"^Requires-Dist: (.+?); extra == 'client'$", metadata, re.MULTILINE)
    uv_pip("install", "--quiet", "--python", place / "bin" / "python", *wanted)
    code = "import sys, wavelet.client; print(*(m for m in ('aiohttp', 'msgspec', 'yaml') if m in sys.modules))"
    assert run([place / "bin" / "python", "-c", code]).stdout.strip() == ""
    refused = run([place / "bin" / "wavelet", "serve"], check=False)
    assert refused.returncode == 2
    assert "pip install 'wavelet[daemon]'" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.fixture(scope="module")
def tarball(installed: Path, work: Path) -> Path:
    python = installed / "bin" / "python"
    run(
        [python, REPOSITORY / "packaging" / "tarball.py", "--directory", work],
        environment=clean(),
        seconds=BUILD_SECONDS,
    )
    return next(work.glob("wavelet-*-linux-*.tar.gz"))


@pytest.fixture(scope="module")
def settings(work: Path) -> Iterator[dict[str, object]]:
    """Return settings for a registry with a base image, and a channel that has Python."""
    registry = Registry(work / "registry")
    registry.start()
    channel = conda_channel.make_channel(work / "channel", [python_package(), *NEEDED])
    base = registry.push("lab/base", "1", images.image([task_layer(), more_libraries()], env=["PATH=/usr/bin:/bin"]))
    with ChannelServer({conda_asks.CHANNEL: channel}) as server:
        yield conda_asks.CondaSite(registry, server, base).settings()
    registry.stop()


@pytest.fixture(scope="module")
def index(work: Path) -> Iterator[PackageIndex]:
    """Return a package index with one wheel."""
    with running_index(work / "index") as running:
        running.add(WheelFile("helps"))
        yield running


NEEDED = (Package("pip", "24.0"), Package("tzdata", "2024a"))


def more_libraries() -> images.Layer:
    """Return what wheels may be linked with (manylinux), and every base image has that is no lab's."""
    files: dict[str, bytes | str] = {}
    for name in ("libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "librt.so.1", "libpthread.so.0", "libdl.so.2"):
        path = Path(re.findall(rf"{re.escape(name)} .*=> (/\S+)", run(["/sbin/ldconfig", "-p"]).stdout)[0])
        files[str(path).lstrip("/")] = path.read_bytes()
    return images.layer(files, executable=files)


@pytest.mark.chroot
@pytest.mark.registry
@pytest.mark.conda
def test_the_tarball_serves_where_there_is_nothing(
    tarball: Path, index: PackageIndex, settings: dict[str, object], work: Path, start_daemon: Callable[..., Daemon]
) -> None:
    root = work / "root"
    for name in ("bin", "proc", "dev", "tmp", "opt", "etc"):
        (root / name).mkdir(parents=True)
    shutil.copy(images._static_busybox(), root / "bin" / "sh")
    run(["tar", "-xzf", tarball, "-C", root / "opt"], seconds=BUILD_SECONDS)
    home = next((root / "opt").iterdir())
    (work / "wavelet").symlink_to(os.path.relpath(home / "bin" / "wavelet", work))
    assert run([work / "wavelet", "--version"]).stdout.strip() == f"wavelet {__version__}"
    (root / "etc" / "wavelet.yaml").write_text(yaml.safe_dump(settings))
    state = work / "node" / "state"
    state.parent.mkdir()
    (root / state.parent.relative_to("/")).mkdir(parents=True)
    node = start_daemon(
        state,
        before=("unshare", "-m", "sh", "-c", MOUNTS, "sh", str(root)),
        program=(f"/opt/{home.name}/bin/wavelet",),
        WAVELET_CONFIG="/etc/wavelet.yaml",
        PYTHONPATH="/nonsense",
        PYTHONHOME="/nonsense",
        SSL_CERT_FILE="",
        SSL_CERT_DIR="",
        PIP_INDEX_URL=index.simple,
        PIP_CONFIG_FILE="/dev/null",
    )
    name = conda_asks.made(node, "python", "pip:helps")
    document = conda_asks.manifest(node, name)
    assert conda_asks.config(node, name, document)["architecture"] == "amd64"
    assert conda_asks.blob(node, name, document["layers"][-1]["digest"])
    assert node.stop() == 0
    assert "Traceback" not in node.log()


@pytest.mark.docker
@pytest.mark.netns
@pytest.mark.registry
@pytest.mark.conda
def test_the_image_is_made_by_wavelet_and_serves(
    built: Path, settings: dict[str, object], work: Path, free_port: int
) -> None:
    (work / "wavelet.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, REPOSITORY / "packaging" / "image.py", wheel_in(built), "--directory", work]
    run([*command, "--config", work / "wavelet.yaml"], environment=clean(), seconds=BUILD_SECONDS)
    archive = next(work.glob("wavelet-*-linux-amd64.oci.tar"))
    with Docker(work / "docker").running() as engine:
        engine._client("load", "--input", str(archive))
        config = json.loads(engine._client("image", "inspect", IMAGE).stdout)[0]["Config"]
        assert (config["Entrypoint"], config["Cmd"]) == (["wavelet"], ["serve"])
        serves_in_the_hosts_network(engine, free_port)
        serves_where_an_engine_publishes_its_port(engine)


IMAGE = f"wavelet:{__version__}"


def serves_in_the_hosts_network(engine: Docker, port: int) -> None:
    with container(engine, "--network=host", "--env", f"WAVELET_LISTEN=127.0.0.1:{port}") as name:
        wait_until_ready(engine, name, f"127.0.0.1:{port}")
        assert get(f"http://127.0.0.1:{port}/statusz").json()["state"] == "/var/lib/wavelet"
        assert engine._client("exec", name, "wavelet", "--version").stdout.strip() == f"wavelet {__version__}"


def serves_where_an_engine_publishes_its_port(engine: Docker) -> None:
    """Reach the image as what `-p 127.0.0.1:9090:9090` sends there: from another network, by the host's name for it.

    The lab's engine has no bridge, so the network between host and container is made here.
    """
    with container(engine, "--network=none") as name:
        process = engine._client("inspect", "--format={{.State.Pid}}", name).stdout.strip()
        outside = f"wlt{process}"[:15]
        inside = ["nsenter", f"--net=/proc/{process}/ns/net"]
        run(["ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", process])
        for command in (
            ["ip", "address", "add", f"{HOST_END}/30", "dev", outside],
            ["ip", "link", "set", outside, "up"],
            [*inside, "ip", "address", "add", f"{CONTAINER_END}/30", "dev", "eth0"],
            [*inside, "ip", "link", "set", "eth0", "up"],
        ):
            run(command)
        wait_until_ready(engine, name, f"{CONTAINER_END}:9090")
        state = get(f"http://{CONTAINER_END}:9090/statusz", Host="127.0.0.1:9090").json()
        assert state["authority"] == "127.0.0.1:9090"


HOST_END, CONTAINER_END = "10.231.77.1", "10.231.77.2"


@contextlib.contextmanager
def container(engine: Docker, *options: str) -> Iterator[str]:
    name = engine._client("run", "--detach", *options, IMAGE).stdout.strip()
    try:
        yield name
    finally:
        engine._client("rm", "--force", name)


def wait_until_ready(engine: Docker, name: str, address: str) -> None:
    try:
        wait_for(lambda: ready(address), "the container", READY_SECONDS)
    except LabError as error:
        shown = engine._client("logs", name, check=False)
        raise LabError(f"{error}\n{shown.stdout}\n{shown.stderr}") from None
