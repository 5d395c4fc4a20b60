"""pip requirements: uv resolves them for the image against an index on loopback."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.wheels import PackageIndex, WheelFile, running_index, sha256, write_sdist
from wavelet.config import ConfigError, Settings
from wavelet.errors import AccessRefused, DigestMismatch, InvalidRequest, NotServed, Unsolvable, UpstreamUnreachable
from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.packages import Wheel
from wavelet.kinds.conda.model.specs import normal_requirement
from wavelet.kinds.conda.pip import pip_config
from wavelet.kinds.conda.pip import uv_command as pip_uv
from wavelet.kinds.conda.pip.installed import Installed
from wavelet.kinds.conda.pip.requirements import PipRequest, PipResolver, check_origins, parse_requirements
from wavelet.kinds.conda.pip.wheel_choice import best, supported_tags, target_of
from wavelet.kinds.conda.pip.wheel_urls import FetchedWheel

pytestmark = pytest.mark.process

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
FAST = (
    "cp311-cp311-manylinux_2_28_x86_64",
    "cp311-cp311-manylinux2014_x86_64",
    "cp311-cp311-manylinux_2_17_aarch64",
    "cp311-cp311-macosx_11_0_arm64",
    "cp311-cp311-musllinux_1_2_x86_64",
    "cp39-abi3-manylinux2014_x86_64",
    "py3-none-any",
)


@pytest.fixture(autouse=True)
def no_pip_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take this machine's own configuration away; each test says its own by PIP_… variables."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name in ("REQUESTS_CA_BUNDLE", "NETRC"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    with running_index(tmp_path / "index") as running:
        monkeypatch.setenv("PIP_INDEX_URL", running.simple)
        yield running


class Ask:
    """Calls `resolve` with defaults, and keeps its report."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.lines: list[str] = []
        self.fetched: list[str] = []

    async def __call__(self, *requirements: str, **changed: Any) -> tuple[Wheel, ...]:
        given: dict[str, Any] = {
            "python": "3.11.9", "platform": AMD64, "glibc": "2.39", "present": {}, "as_of": None,
            "allowed_hosts": (), "limit": 50.0,
        } | changed  # fmt: skip
        rules = {"allowed_indexes": list(given.pop("allowed_hosts")), "solve_limit": given.pop("limit")}
        resolver = PipResolver(msgspec.convert({"conda": rules}, Settings), self.cache, self.fetch)
        return await resolver.resolve(PipRequest(requirements, **given), self.lines.append)

    async def fetch(self, url: str) -> FetchedWheel:
        self.fetched.append(url)
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        file = self.cache.parent / "fetched"
        with urllib.request.urlopen(url) as answer:
            file.write_bytes(answer.read())
        return FetchedWheel(file, sha256(file), file.stat().st_size)


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    return Ask(tmp_path / "state" / "pip")


def names(wheels: tuple[Wheel, ...]) -> list[str]:
    return [wheel.file_name for wheel in wheels]


async def test_wheels_and_what_they_need(index: PackageIndex, ask: Ask, tmp_path: Path) -> None:
    index.add(WheelFile("pure", requires=["Helper_Lib>=2", 'win; sys_platform == "win32"']))
    index.add(WheelFile("helper_lib", "2.1"), WheelFile("helper_lib", "1.0"))
    wheels = await ask("pure>=1")
    assert names(wheels) == ["helper_lib-2.1-py3-none-any.whl", "pure-1.0-py3-none-any.whl"]
    assert wheels[1] == Wheel(
        f"{index.url}/files/pure/pure-1.0-py3-none-any.whl", sha256(index.root / "pure/pure-1.0-py3-none-any.whl")
    )
    assert ask.lines[-1] == "pip: pure-1.0-py3-none-any.whl"
    assert list((tmp_path / "home").iterdir()) == []
    assert (ask.cache.stat().st_mode & 0o777) == 0o700


@pytest.mark.parametrize(
    ("changed", "tag"),
    [
        ({}, FAST[0]),
        ({"glibc": "2.41"}, FAST[0]),
        ({"glibc": "2.27"}, FAST[1]),
        ({"glibc": "2.17"}, FAST[1]),
        ({"python": "3.13.1"}, FAST[5]),
        ({"python": "3.8.2"}, FAST[6]),
        ({"platform": ARM64}, FAST[2]),
        ({"platform": ARM64, "python": "3.12.0"}, FAST[6]),
    ],
)
async def test_the_wheel_fits_the_image_not_the_host(
    index: PackageIndex, ask: Ask, changed: dict[str, Any], tag: str
) -> None:
    index.add(*(WheelFile("fast", tag=each) for each in FAST))
    assert names(await ask("fast", **changed)) == [f"fast-1.0-{tag}.whl"]


async def test_an_older_version_where_the_new_one_has_no_wheel(index: PackageIndex, ask: Ask) -> None:
    index.add(WheelFile("tool", "2.0", "cp311-cp311-manylinux_2_28_x86_64"), WheelFile("tool", "1.0"))
    assert names(await ask("tool", glibc="2.17")) == ["tool-1.0-py3-none-any.whl"]
    assert names(await ask("tool")) == ["tool-2.0-cp311-cp311-manylinux_2_28_x86_64.whl"]


async def test_a_local_version_keeps_its_quoted_name(index: PackageIndex, ask: Ask) -> None:
    index.add(WheelFile("torch", "2.0+cu118"))
    (wheel,) = await ask("torch==2.0+cu118")
    assert wheel.url.endswith("/torch-2.0%2Bcu118-py3-none-any.whl")


async def test_no_wheel_for_the_platform(index: PackageIndex, ask: Ask) -> None:
    index.add(WheelFile("tool", "2.0", "cp311-cp311-manylinux_2_28_x86_64"))
    with pytest.raises(Unsolvable, match="no wheel for x86_64-manylinux_2_17, Python 3") as refused:
        await ask("tool", glibc="2.17")
    assert "manylinux_2_28_x86_64" in refused.value.message


async def test_sources_alone_are_not_built(index: PackageIndex, ask: Ask) -> None:
    write_sdist(index.root / "source", "source")
    with pytest.raises(Unsolvable, match="none is built from source") as refused:
        await ask("source")
    assert "source==1.0 has no usable wheels" in refused.value.message
    assert "--no-build" not in refused.value.message


async def test_no_such_package_or_version(index: PackageIndex, ask: Ask) -> None:
    index.add(WheelFile("tool"))
    with pytest.raises(Unsolvable, match="missing was not found"):
        await ask("missing")
    with pytest.raises(Unsolvable, match="no version of tool==9"):
        await ask("tool==9")
    with pytest.raises(Unsolvable, match=r"tool==1\.0.*tool==2\.0"):
        await ask("tool==1.0", "tool==2.0")


async def test_a_wheel_by_its_url(index: PackageIndex, ask: Ask) -> None:
    """Fault E4: a wheel's URL was refused, and the advice of the error too. Its digest is in the lock."""
    index.add(
        WheelFile("direct", "3.0", requires=["helper>=2"]), WheelFile("helper", "2.1"), WheelFile("direct", "4.0")
    )
    file = "direct-3.0-py3-none-any.whl"
    url, digest = f"{index.url}/files/direct/{file}", sha256(index.root / "direct" / file)
    for text in (url, f"direct @ {url}", f"direct @ {url}#sha256={digest}", f"{url}#sha256={digest}"):
        wheels = await ask(normal_requirement(text, "f"))
        assert names(wheels) == [file, "helper-2.1-py3-none-any.whl"]
        assert wheels[0] == Wheel(url, digest)
    assert ask.fetched == [url] * 4
    assert await ask(normal_requirement(f"direct @ {url} ; python_version < '3'", "f")) == ()
    with pytest.raises(DigestMismatch, match=digest):
        await ask(normal_requirement(f"{url}#sha256={'0' * 64}", "f"))
    with pytest.raises(Unsolvable, match=r"conda has installed direct 2\.0; ask only one"):
        await ask(f"direct @ {url}", present={"direct": "2.0"})
    with pytest.raises(AccessRefused, match="allowed_indexes"):
        await ask(f"direct @ {url}", allowed_hosts=["elsewhere.test"])
    index.add(WheelFile("native", tag="cp311-cp311-macosx_11_0_arm64"))
    with pytest.raises(Unsolvable, match="not for the image's platform"):
        await ask(f"native @ {index.url}/files/native/native-1.0-cp311-cp311-macosx_11_0_arm64.whl")


async def test_what_conda_has_stands(index: PackageIndex, ask: Ask) -> None:
    index.add(WheelFile("pure", requires=["NumPy>=1.20", "matplotlib", "odd-one"]), WheelFile("numpy", "2.0"))
    present = {"numpy": "1.26.4", "matplotlib-base": "3.9", "odd_one": "not-a-version"}
    assert names(await ask("pure", present=present)) == ["pure-1.0-py3-none-any.whl"]
    assert await ask("numpy", present=present) == ()
    assert await ask("odd.one>=7", present=present) == ()
    assert not [path for path, _ in index.requests if "numpy" in path]


async def test_what_conda_has_makes_for_an_older_version(index: PackageIndex, ask: Ask) -> None:
    index.add(WheelFile("pure", "2.0", requires=["numpy>=2"]), WheelFile("pure", "1.0", requires=["numpy"]))
    assert names(await ask("pure", present={"numpy": "1.26.4"})) == ["pure-1.0-py3-none-any.whl"]


async def test_what_conda_has_does_not_satisfy(index: PackageIndex, ask: Ask) -> None:
    index.add(WheelFile("pure", requires=["numpy>=2"]), WheelFile("numpy", "2.0"))
    with pytest.raises(Unsolvable, match=re.escape("Conda has installed numpy 1.26.4")) as refused:
        await ask("pure", present={"numpy": "1.26.4", "scipy": "1.14"})
    assert "scipy" not in refused.value.message


async def test_as_of(index: PackageIndex, ask: Ask) -> None:
    index.add(WheelFile("tool", "1.0"), WheelFile("tool", "2.0"))
    index.uploaded = {
        "tool-1.0-py3-none-any.whl": "2024-01-01T00:00:00Z",
        "tool-2.0-py3-none-any.whl": "2025-01-01T00:00:00Z",
    }
    (wheel,) = await ask("tool", as_of="2024-06-01T00:00:00Z")
    assert wheel.file_name == "tool-1.0-py3-none-any.whl"
    assert wheel.size == (index.root / "tool" / wheel.file_name).stat().st_size
    with pytest.raises(Unsolvable, match="before 2023-06-01T00:00:00Z"):
        await ask("tool", as_of="2023-06-01T00:00:00Z")


async def test_an_index_that_states_no_digests(index: PackageIndex, ask: Ask) -> None:
    index.add(WheelFile("tool"))
    index.hashed = False
    (wheel,) = await ask("tool")
    assert wheel.sha256 == sha256(index.root / "tool" / wheel.file_name)


async def test_a_login_in_the_index_url(
    index: PackageIndex, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    index.add(WheelFile("tool"))
    index.login = ("alice", "s3cr3t/+x")
    with pytest.raises(AccessRefused, match="401 Unauthorized"):
        await ask("tool")
    monkeypatch.setenv("PIP_INDEX_URL", index.with_login("alice", "wr0ng-one"))
    with pytest.raises(AccessRefused) as refused:
        await ask("tool")
    assert "wr0ng" not in refused.value.message
    monkeypatch.setenv("PIP_INDEX_URL", index.with_login("alice", "s3cr3t%2F%2Bx"))
    (wheel,) = await ask("tool")
    assert wheel.url == f"{index.url}/files/tool/tool-1.0-py3-none-any.whl"
    config = pip_config.read(os.environ)
    assert "s3cr3t" not in repr(config)
    kept = b"".join(path.read_bytes() for path in ask.cache.rglob("*") if path.is_file())
    assert b"s3cr3t" not in kept


async def test_a_login_in_netrc(index: PackageIndex, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    index.add(WheelFile("tool"))
    index.login = ("bob", "pw")
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text("machine 127.0.0.1 login bob password pw\n")
    netrc.chmod(0o600)
    assert names(await ask("tool")) == ["tool-1.0-py3-none-any.whl"]


async def test_no_secret_in_arguments(monkeypatch: pytest.MonkeyPatch, ask: Ask, tmp_path: Path) -> None:
    seen: list[tuple[list[str], dict[str, str]]] = []

    async def run(arguments: list[str], environment: dict[str, str], directory: Path, errors: Path, _: float) -> int:
        seen.append((arguments, environment))
        errors.write_text("error: No solution found\n  cause: see https://alice:hush-hush@example.org/x, hush-hush\n")
        return 1

    monkeypatch.setattr(pip_uv, "_run", run)
    monkeypatch.setenv("PIP_INDEX_URL", "https://alice:hush-hush@example.org/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://tok3n@example.org/more https://example.org/free")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    with pytest.raises(Unsolvable) as refused:
        await ask("tool")
    assert "hush" not in refused.value.message
    ((arguments, environment),) = seen
    assert "hush" not in " ".join(arguments)
    assert environment["UV_DEFAULT_INDEX"] == "https://alice:hush-hush@example.org/simple"
    assert environment["UV_INDEX"] == "https://tok3n@example.org/more https://example.org/free"
    assert "AWS_SECRET_ACCESS_KEY" not in environment


async def test_wheels_of_a_directory(ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    links = tmp_path / "some, wheels"
    path = WheelFile("tool").write(links)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", f"file://{links}".replace(" ", "%20"))
    (wheel,) = await ask("tool", allowed_hosts=("packages.example.org",))
    assert wheel == Wheel(wheel.url, sha256(path))
    assert wheel.url.startswith("file:///")
    assert wheel.url.endswith("/tool-1.0-py3-none-any.whl")


async def test_a_directory_that_is_not_there_is_passed_over(
    index: PackageIndex, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    index.add(WheelFile("tool"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    assert names(await ask("tool")) == ["tool-1.0-py3-none-any.whl"]
    assert any("not there" in line for line in ask.lines)


async def test_a_second_index(index: PackageIndex, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    index.add(WheelFile("tool", requires=["private"]), WheelFile("private", "9.0"))
    with running_index(tmp_path / "second") as second:
        second.add(WheelFile("private", "1.0"))
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", second.simple)
        wheels = sorted(await ask("tool"), key=lambda wheel: wheel.file_name)
    assert sorted(names(wheels)) == ["private-1.0-py3-none-any.whl", "tool-1.0-py3-none-any.whl"]
    assert wheels[0].url.startswith(second.url)


async def test_hosts_that_are_allowed(index: PackageIndex, ask: Ask) -> None:
    index.add(WheelFile("tool"))
    host = index.url.removeprefix("http://")
    assert await ask("tool", allowed_hosts=(host,))
    assert await ask("tool", allowed_hosts=("127.0.0.1",))
    with pytest.raises(AccessRefused, match=re.escape(host)):
        await ask("tool", allowed_hosts=("packages.example.org",))


async def test_an_index_cannot_lead_to_files_of_this_machine(index: PackageIndex, ask: Ask, tmp_path: Path) -> None:
    wheel = Wheel((tmp_path / "tool-1.0-py3-none-any.whl").as_uri(), "0" * 64)
    with pytest.raises(AccessRefused, match="file of this machine"):
        check_origins([wheel], ())
    check_origins([wheel], (), [tmp_path])
    index.add(WheelFile("tool"))
    index.elsewhere = f"file://{tmp_path}"
    WheelFile("tool").write(tmp_path / "files" / "tool")
    with pytest.raises(AccessRefused, match="file of this machine"):
        await ask("tool")


async def test_an_index_that_is_down(ask: Ask, monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{free_port}/simple")
    with pytest.raises(UpstreamUnreachable, match="Connection refused"):
        await ask("tool")


async def test_an_index_that_fails(index: PackageIndex, ask: Ask) -> None:
    index.status = 500
    with pytest.raises(UpstreamUnreachable, match="500 Internal Server Error"):
        await ask("tool")


async def test_the_limit_and_a_cancellation_end_the_process(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        with pytest.raises(UpstreamUnreachable, match="not resolved within 1 s"):
            await ask("tool", limit=1.0)
        assert processes_with(str(temporary)) == []
        task = asyncio.create_task(ask("tool"))
        while not processes_with(str(temporary)):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert processes_with(str(temporary)) == []
    assert list(temporary.iterdir()) == []


def processes_with(text: str) -> list[int]:
    """Return the processes that have `text` in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("--index-url https://example.org", "an option"),
        ("-r requirements.txt", "an option"),
        ("-e .", "an option"),
        ("https://example.org/tool-1.0-py3-none-any.whl", "a URL or a path"),
        ("git+https://user:hidden@example.org/tool.git", "a URL or a path"),
        ("./tool", "a URL or a path"),
        ("tool-1.0-py3-none-any.whl", "a URL or a path"),
        ("Tool.ZIP[all]>=1", "not a requirement"),
        ("tool @ https://example.org/tool-1.0.tar.gz", "by a URL that is none of a wheel"),
        ("tool @ https://example.org/other-1.0-py3-none-any.whl", "not the file name of a wheel of tool"),
        ("tool @ https://example.org/tool-1.0-py3-none-any.whl#md5=abc", "sha256"),
        ("tool @ file:///srv/tool-1.0-py3-none-any.whl", "by a URL"),
        ("tool @ file:///etc/passwd", "by a URL"),
        ("tool==", "not a requirement"),
        ("tool\n--index-url=https://example.org", "not a requirement|a URL or a path"),
        ("tool" * 300, "not a requirement"),
        ("", "not a requirement"),
    ],
)
async def test_requirements_that_are_refused(ask: Ask, text: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as refused:
        await ask(text)
    assert "hidden" not in refused.value.message


def test_requirements_in_normal_form() -> None:
    asked = ("b>=2 , <3 ; python_version > '3'", " a[z,y] ", "a[y,z]")
    assert parse_requirements(asked) == ("a[y,z]", 'b<3,>=2; python_version > "3"')


async def test_no_python(ask: Ask) -> None:
    with pytest.raises(InvalidRequest, match="no python"):
        await ask("tool", python="")
    assert await ask(python="") == ()


async def test_targets_without_wheels(ask: Ask) -> None:
    with pytest.raises(NotServed, match="linux/arm/v7"):
        await ask("tool", platform=Platform("linux", "arm", "v7"))
    with pytest.raises(NotServed, match=re.escape("glibc 2.12")):
        await ask("tool", glibc="2.12")
    with pytest.raises(NotServed, match="another C library"):
        await ask("tool", glibc="")


def test_targets_and_tags() -> None:
    assert target_of(AMD64, "2.39") == "x86_64-manylinux_2_39"
    assert target_of(ARM64, "2.30") == "aarch64-manylinux_2_28"
    tags = [str(tag) for tag in supported_tags("3.12.4", AMD64, "2.17")]
    assert tags[:3] == [
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp312-cp312-manylinux2014_x86_64",
        "cp312-cp312-manylinux_2_16_x86_64",
    ]
    assert tags[-1] == "py30-none-any"
    order = ["cp312-cp312-linux_x86_64", "cp312-abi3-manylinux1_x86_64", "cp38-abi3-linux_x86_64", "py3-none-any"]
    assert sorted(order, key=tags.index) == order


def test_the_best_wheel() -> None:
    tags = supported_tags("3.11.9", AMD64, "2.28")
    wheels = [f"fast-1.0-{tag}.whl" for tag in FAST]
    assert best(reversed(wheels), tags) == wheels[0]
    assert best(wheels[2:5], tags) is None
    assert best(["not-a-wheel.zip"], tags) is None
    assert best(["a-1-1a-py3-none-any.whl", "a-1-2-py3-none-any.whl", "a-1-py3-none-any.whl"], tags) == (
        "a-1-2-py3-none-any.whl"
    )
    several = "a-1-cp310.cp311-cp310.cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    assert best([several, "a-1-py3-none-any.whl"], tags) == several


def test_files_of_pips_configuration(tmp_path: Path) -> None:
    home, prefix = tmp_path / "h", tmp_path / "p"
    (home / ".config/pip").mkdir(parents=True)
    prefix.mkdir()
    (home / ".config/pip/pip.conf").write_text(
        "[global]\nindex-url = https://u:p@one.example.org:8443/simple\nextra_index_url =\n  https://two.example.org/s\n"
        "  https://three.example.org/s\n[install]\ntrusted-host = two.example.org\n[list]\nformat = json\n"
    )
    (prefix / "pip.conf").write_text("[global]\ncert = /etc/site.pem\ntrusted-host = nobody.example.org\n")
    environment = {
        "HOME": str(home),
        "XDG_CONFIG_DIRS": str(tmp_path),
        "PIP_PROXY": "http://a:b@proxy.example.org:3128",
    }
    config = pip_config.read(environment, str(prefix))
    assert config.index == "https://u:p@one.example.org:8443/simple"
    assert config.more_indexes == ("https://two.example.org/s", "https://three.example.org/s")
    assert config.trusted_hosts == ("two.example.org",)
    assert config.certificates == "/etc/site.pem"
    uv = pip_uv.environment_of(config, {"https_proxy": "http://x", "UV_INDEX": "no", "NETRC": "/n"}, tmp_path)
    assert uv["ALL_PROXY"] == "http://a:b@proxy.example.org:3128"
    assert (uv["SSL_CERT_FILE"], uv["NETRC"], uv["https_proxy"]) == ("/etc/site.pem", "/n", "http://x")
    assert uv["UV_INSECURE_HOST"] == "two.example.org"
    assert "UV_SYSTEM_CERTS" not in uv


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("index-url = https://u:secret@example.org\n")
    environment = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    with pytest.raises(ConfigError, match=r"pip\.conf") as refused:
        pip_config.read(environment, str(tmp_path / "none"))
    assert "secret" not in refused.value.message
    with pytest.raises(ConfigError, match="malformed"):
        pip_config.read({"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "https://u:p@example.org:port/"}, "/none")


def test_names_in_explanations() -> None:
    installed = Installed.of({"ruamel.yaml": "0.18", "pytorch": "2.4"})
    assert installed.named_in("because only ruamel-yaml<0.19 and `Torch`") == ["torch 2.4", "ruamel-yaml 0.18"]
