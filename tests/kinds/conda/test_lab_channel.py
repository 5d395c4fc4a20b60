"""The lab itself: rattler takes all of its channel, the Python in it runs, and the comparison sees differences."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from pathlib import Path

import pytest

from lab import conda_catalogue, conda_index, elf
from lab.conda_bad import bad_packages
from lab.conda_channel import ChannelServer, add, copy, make_channel
from lab.conda_oracle import Entry, Tree, archives, differences, install, install_each, solve, tree_of, tree_of_layers
from lab.conda_packages import PLACEHOLDER, Noise, Package, archive, sha256_of, text, write
from lab.conda_python import MINOR, VERSION
from lab.conda_scripts import bioconductor_data, bioconductor_table, data_tarball
from lab.http import get
from lab.processes import LabError, run

_MODULES = "ssl, zlib, lzma, bz2, ctypes, decimal, sqlite3, sys, uuid, zoneinfo"
PYTHON = f"python-{VERSION}-h1_0_cpython.conda"


def _names(urls: list[str]) -> set[str]:
    return {url.rpartition("/")[2].rsplit("-", 1)[0] for url in urls}


@pytest.fixture(scope="module")
def everything(channel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prefix with one of each name of linux-64 that rattler can install together, made where it stands."""
    left_out = {package.name for group in ("collisions", "refused_by_rattler") for package in _group(group)}
    chosen = {
        package.name: channel / package.subdir / package.file_name
        for package in conda_catalogue.standard_packages()
        if package.subdir != "linux-aarch64" and package.name not in left_out
    }
    chosen["python"] = channel / "linux-64" / PYTHON
    directory = tmp_path_factory.mktemp("everything")
    return install(chosen.values(), directory, prefix=str(directory / "prefix"))


def _group(name: str) -> list[Package]:
    found: list[Package] = getattr(conda_catalogue, name)()
    return found


def test_rattler_installs_all_packages_together(everything: Path) -> None:
    installed = {path.name.rsplit("-", 2)[0] for path in (everything / "conda-meta").glob("*.json")}
    assert {"python", "samtools", "oddnames", "ancient", "clobber-c", "bioconductor-labtable"} <= installed
    assert (everything / "share/oddnames/日本語/ファイル").exists()


@pytest.mark.parametrize("platform", ["linux-64", "linux-aarch64"])
def test_rattler_installs_every_package_of_its_own(channel: Path, tmp_path: Path, platform: str) -> None:
    refused = {package.name for package in _group("refused_by_rattler")}
    packages = {
        package.file_name: package
        for package in conda_catalogue.standard_packages()
        if package.subdir == platform or (package.noarch == "generic" and platform == "linux-64")
        if package.name not in refused
    }
    sets = {name: [channel / package.subdir / name] for name, package in packages.items()}
    for name, installed in install_each(sets, tmp_path, platform=platform).items():
        tree = tree_of(installed)
        files = {path for path, entry in tree.items() if entry.kind != "directory"}
        assert files == packages[name].files.keys() - packages[name].unlisted
        assert tree == tree_of(installed, packages[name].name)


def test_the_files_of_one_package_can_be_told_from_others(channel: Path, tmp_path: Path) -> None:
    installed = install(archives(channel, solve([channel], ["labtool"])), tmp_path)
    tree = tree_of(installed, "labtool")
    assert {"bin", "bin/labtool", "bin/lab-tool2", f"lib/python{MINOR}/site-packages/labtool/cli.py"} <= tree.keys()
    assert "bin/python" not in tree
    assert tree["bin/labtool"].mtime is None


def test_rattler_still_refuses_empty_directories(channel: Path, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="neither a regular file"):
        install([channel / "linux-64/emptydirs-1.0-h0_0.conda"], tmp_path)


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        (["bin/python", "-I", "-c", f"import {_MODULES}; print(sys.prefix)"], "{}"),
        (["bin/labtool", "a"], "labtool a"),
        (["bin/lab-tool2", "b"], "labtool b"),
        (["bin/python", "-m", "lab_report"], "report with 1.0"),
        (["bin/labscript"], f"{{}}/lib/python{MINOR}/site-packages/labscripts.py"),
        (["bin/samtools"], "samtools 1.18"),
        (["bin/samtools", "--prefix"], "{}"),
        (["bin/samtools", "busybox", "echo", "a static program"], "a static program"),
        (["bin/ps", "-o", "comm=", "1"], r".+"),
    ],
)  # fmt: skip
def test_programs_run_from_the_prefix(everything: Path, command: list[str], printed: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    done = run([everything / command[0], *command[1:]], environment=environment)
    assert re.fullmatch(printed.format(everything), done.stdout.strip())


def test_python_takes_its_libraries_from_the_prefix(everything: Path) -> None:
    found = elf.libraries(everything / f"bin/python{MINOR}")
    module = next((everything / f"lib/python{MINOR}/lib-dynload").glob("_ssl.*"))
    assert all(path.is_relative_to(everything) for path in (found | elf.libraries(module)).values())


def test_shipped_bytecode_fits_its_source(everything: Path) -> None:
    code = "import json.decoder as m, os, importlib.util as u; print(int(os.stat(m.__file__).st_mtime), m.__cached__)"
    printed = run([everything / "bin/python", "-I", "-c", code]).stdout.split()
    header = Path(printed[1]).read_bytes()[:16]
    assert int.from_bytes(header[8:12], "little") == int(printed[0])


def test_data_packages_fetch_and_install_their_tarball(channel_server: ChannelServer, tmp_path: Path) -> None:
    tarballs = {name: tmp_path / "data" / f"{name}_1.0.tar.gz" for name in ("labdata", "labtable")}
    (tmp_path / "data").mkdir()
    for name, path in tarballs.items():
        path.write_bytes(data_tarball(name))
    channel_server.channels["data"] = tmp_path / "data"
    url = channel_server.channel("data")
    packages = [bioconductor_data(f"{url}/labdata_1.0.tar.gz", tarballs["labdata"].read_bytes())]
    packages += bioconductor_table(tarballs["labtable"].as_uri(), tarballs["labtable"].read_bytes())
    packages += [*conda_catalogue.packages("r-base"), *conda_catalogue.packages("curl-lab")]
    places = [write(tmp_path / "channel", package) for package in packages]
    prefix = install(places, tmp_path / "made", prefix=str(tmp_path / "made/prefix"))
    for name in ("labdata", "labtable"):
        environment = {"PREFIX": str(prefix), "PATH": f"{prefix}/bin:/usr/bin:/bin", "PKG_NAME": f"bioconductor-{name}"}
        environment |= {"PKG_VERSION": "1.0", "PKG_BUILDNUM": "0"}
        run(["bash", prefix / f"bin/.bioconductor-{name}-post-link.sh"], environment=environment)
        assert (prefix / f"lib/R/library/{name}/DESCRIPTION").read_text() == f"Package: {name}\n"
    assert channel_server.count("labdata_1.0") == 1


def test_the_solver_chooses_by_time_and_target(channel: Path) -> None:
    assert _names(solve([channel], ["samtools", "bwa"])) >= {"samtools-1.18", "bwa-0.7.18", "libzlab-1.3"}
    assert _names(solve([channel], ["samtools"], as_of=conda_catalogue.GAP)) >= {"samtools-1.17", "htslib-1.17"}
    old = [("__glibc", "2.17", "0"), ("__linux", "5", "0")]
    assert "libzlab-1.2.13" in _names(solve([channel], ["samtools"], virtual=old))
    assert "bwa-0.7.17" in _names(solve([channel], ["bwa", "keeps-old-bwa"]))
    assert solve([channel], ["labblas"])[0].endswith("h_openblas_0.conda")
    assert len(solve([channel], ["samtools", "bwa", "procps-ng", "which"], platform="linux-aarch64")) == 6
    with pytest.raises(LabError, match="no candidates"):
        solve([channel], ["needs-old-samtools"])


def test_packages_are_the_same_each_time(tmp_path: Path) -> None:
    package = conda_catalogue.packages("samtools")[0]
    assert archive(package) == archive(package) == write(tmp_path, package).read_bytes()
    assert len(PLACEHOLDER) == 255


@pytest.mark.process
def test_big_files_are_made_while_they_are_written(tmp_path: Path) -> None:
    package = conda_catalogue.big_package(8)
    written = write(tmp_path, package)
    assert 4 << 20 < written.stat().st_size < 5 << 20
    noise = package.files["share/big/part0"]
    assert isinstance(noise, Noise)
    installed = install([written], tmp_path / "made")
    assert tree_of(installed)["share/big/part0"].what == sha256_of(noise)


@pytest.mark.process
def test_many_packages_hang_together(tmp_path: Path) -> None:
    made = make_channel(tmp_path / "many", conda_catalogue.many_packages(12, largest=40_000))
    assert len(solve([made], ["parts"])) == 13


def test_a_channel_moves(channel: Path, tmp_path: Path) -> None:
    mine = add(copy(channel, tmp_path / "mine"), Package("moves", "2.0", files={"share/moves": text("2.0\n")}))
    assert _names(solve([mine], ["moves"])) == {"moves-2.0"}
    assert _names(solve([channel], ["moves"])) == {"moves-1.0"}
    conda_index.edit_record(mine, "moves-2.0-h0_0.conda", depends=["no-such-package"])
    assert _names(solve([mine], ["moves"])) == {"moves-1.0"}


def test_the_server_counts_revalidates_and_fails_on_demand(channel: Path, channel_server: ChannelServer) -> None:
    url = f"{channel_server.channel()}/noarch/repodata.json"
    first = get(url)
    assert first.body == (channel / "noarch/repodata.json").read_bytes()
    again = get(url, If_None_Match=first.headers["etag"])
    assert (again.status, again.headers["etag"]) == (304, first.headers["etag"])
    assert get(url, Range="bytes=0-3").body == first.body[:4]
    assert channel_server.count("repodata.json") == 3
    channel_server.fault("repodata", times=1, corrupt=0)
    assert get(url).body[1:] == first.body[1:] != get(url).body
    channel_server.fault("noarch", times=1, status=503)
    assert [get(url).status, get(url).status] == [503, 200]
    channel_server.off()
    with pytest.raises(OSError, match="refused"):
        get(url)
    channel_server.on()
    assert get(url).status == 200


def test_the_server_asks_for_logins(channel_server: ChannelServer) -> None:
    url = f"{channel_server.channel()}/noarch/repodata.json"
    channel_server.login = ("ann", "secret")
    assert [get(url).status, get(url, Authorization="Basic YW5uOnNlY3JldA==").status] == [401, 200]
    channel_server.login, channel_server.bearer = None, "abc"
    assert [get(url).status, get(url, Authorization="Bearer abc").status] == [401, 200]
    channel_server.bearer, channel_server.token = None, "xyz"
    assert [get(url).status, get(url.replace("/lab/", "/t/xyz/lab/")).status] == [401, 200]


@pytest.mark.process
def test_bad_packages_are_in_an_index_that_vouches_for_them(tmp_path: Path) -> None:
    found = bad_packages(tmp_path / "bad", bomb_bytes=1 << 24)
    for bad in found.values():
        record = conda_index.record(tmp_path / "bad", bad.path.name)
        assert (record.get("size") == bad.path.stat().st_size) == (bad.name not in ("wrong-size",))
    assert found["bad-bomb"].path.stat().st_size < 100_000
    assert not list(tmp_path.glob("escaped*"))


def _layer(files: dict[str, str | bytes], *, packed: bool = False) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mtime = 7
            member.mode = 0o755 if name.endswith("/") else 0o644
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return gzip.compress(out.getvalue()) if packed else out.getvalue()


def test_layers_are_put_upon_each_other_as_overlays_are() -> None:
    lower = _layer({"opt/conda/": "", "opt/conda/a": b"1", "opt/conda/d/x": b"2", "opt/conda/d/y": b"3", "etc/p": b"4"})
    upper: dict[str, str | bytes] = {
        "opt/conda/a": b"5",
        "opt/conda/d/.wh.x": b"",
        "opt/conda/l": "a",
        "opt/conda/conda-meta/h": b"6",
    }
    tree = tree_of_layers([lower, _layer(upper, packed=True)])
    assert {name: entry.kind for name, entry in tree.items()} == {
        "a": "file",
        "d": "directory",
        "d/y": "file",
        "l": "link",
    }
    replaced = tree_of_layers([lower, _layer({"opt/conda/d": b"now a file"})])
    assert replaced.keys() == {"a", "d"}


def test_the_comparison_sees_every_kind_of_difference() -> None:
    file = Entry("file", "1", 0o644, 7)
    tree: Tree = {"same": file, "gone": file, "link": Entry("link", "a"), "mode": file, "time": file, "point": file}
    other: Tree = {"same": file, "more": file, "link": Entry("link", "b"), "mode": Entry("file", "1", 0o755, 7)}
    other |= {"time": Entry("file", "1", 0o644, 8), "point": Entry("file", "2", 0o644, 7)}
    lines = differences(tree, other)
    generated: Tree = {"point": Entry("file", "1", 0o755, None, "loose")}
    assert differences(generated, {"point": Entry("file", "2", 0o755, 9, "loose")}) == []
    assert [line.partition(":")[0] for line in lines] == ["gone", "link", "mode", "more", "point", "time"]
    assert differences(tree, other, allowed="gone|more|mode|link|point", times=False) == []
    assert differences(tree, tree) == []


def test_an_installed_prefix_equals_itself_as_a_layer(channel: Path, tmp_path: Path) -> None:
    urls = solve([channel], ["lab-report", "symlinks", "oddnames", "prefixes"])
    installed = install(archives(channel, urls), tmp_path)
    packed = tmp_path / "layer.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(installed, "opt/conda", filter=_normal)
    assert differences(tree_of(installed), tree_of_layers([packed])) == []


def _normal(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode = 0o755 if member.isdir() or member.mode & 0o111 else 0o644
    return member
