"""Post-link scripts by every engine: what they change becomes a layer, and nothing of them is left."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scripts_lab import Node, PodmanPlace, Shared, hang, scripted

from lab import images
from lab.conda_packages import File, script, text
from lab.conda_packages import Package as LabPackage
from lab.conda_scripts import activated, data_tarball
from lab.conda_scripts import scripted as scripted_packages
from lab.engines import Docker
from lab.processes import wait_for
from lab.registry import Registry
from lab.task_image import task_layer
from wavelet.engine import architecture, command_line
from wavelet.engine import namespace as engine_namespace
from wavelet.engine.architecture import own_platform
from wavelet.engine.choice import engines_for
from wavelet.engine.command_line import DOCKER, PODMAN
from wavelet.engine.namespace import NamespaceEngine
from wavelet.engine.protocol import Engine
from wavelet.errors import EngineFailed, NotFound, NotServed, ScriptFailed
from wavelet.image.image import Image
from wavelet.image.reference import Platform
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.model.node import ScriptsLayer
from wavelet.kinds.conda.postlink import run

pytestmark = [pytest.mark.timeout(180), pytest.mark.registry]

ENGINES = [
    pytest.param("docker_engine", marks=pytest.mark.docker, id="docker"),
    pytest.param("podman_engine", marks=pytest.mark.podman, id="podman"),
    pytest.param("namespace_engine", id="namespace"),
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    made = Registry(tmp_path_factory.mktemp("registry"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Docker(tmp_path_factory.mktemp("docker")).running() as docker, pytest.MonkeyPatch.context() as patch:
        for name, value in docker.variables.items():
            patch.setenv(name, str(value))
        yield DOCKER


@pytest.fixture(scope="module")
def podman_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    place = PodmanPlace(tmp_path_factory.mktemp("podman"))
    yield replace(PODMAN, program=str(place.start()))
    place.stop()


@pytest.fixture
def namespace_engine() -> Engine:
    return NamespaceEngine()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture
def node(tmp_path: Path, registry: Registry) -> Node:
    return Node(tmp_path / "node", registry)


def layer_of(node: Node, image: Image) -> tuple[LayerInfo, Path]:
    info = LayerInfo.decode(node.everything.file(image.closure[image.descriptor.digest]).read_bytes())
    return info, node.everything.file(image.closure[info.descriptor.digest])


def contents(blob: Path) -> dict[str, str]:
    """Return what a layer has beside directories: a file's text, or a link's target after an arrow."""
    with tarfile.open(blob) as tar:
        names = [m for m in tar if not m.isdir()]
        assert all(m.uid == m.gid == 0 and not m.uname and m.mode in (0o755, 0o644, 0o777) for m in names)
        found = {m.name.removeprefix("opt/conda/"): m for m in names}
        return {
            name: f"-> {m.linkname}" if m.issym() else tar.extractfile(m).read().decode()  # type: ignore[union-attr]
            for name, m in found.items()
        }


def changing(node: Node) -> ScriptsLayer:
    first = """
      cd "$PREFIX/share"
      echo changed > old; rm gone; rm -r gone-too; rm -r replaced; echo file > replaced; ln -s old link
      mkdir empty .wavelet-none; ln kept same; touch untouched; mkdir now-a-directory.new; rm now-a-directory
      mv now-a-directory.new now-a-directory; echo in > now-a-directory/in; mkfifo fifo
      chmod +x "$PREFIX/bin/tool"; chmod 0 old
      echo "$PKG_NAME $PKG_VERSION $PKG_BUILDNUM $CONDA_PREFIX" > "a file with an é"
      echo outside > /outside; rm /etc/lab-image; echo said >> "$PREFIX/.messages.txt"; echo lost > "$TMPDIR/lost"
    """
    names = ("share/old", "share/gone", "share/kept", "share/gone-too/a/b", "share/replaced/by", "share/untouched")
    files = {name: text(f"{name}\n") for name in (*names, "share/now-a-directory", "bin/tool")}
    files["etc/conda/activate.d/data.sh"] = text("export ACTIVATED=yes\n")
    return node.plan(
        scripted("first", first, "data"),
        scripted("b-second", 'cat "$PREFIX/share/replaced" > "$PREFIX/share/second"; echo "$ACTIVATED, $PWD"', "first"),
        scripted("a-third", 'readarray lines < <(cat "$PREFIX/share/second"); echo "${lines[0]}"', "b-second >=1"),
        LabPackage("data", files=files),
    )


async def test_what_scripts_change_is_a_layer(node: Node, engine: Engine) -> None:
    info, blob = layer_of(node, await node.make(changing(node), engine))
    assert contents(blob) == {
        "share/.wh.gone": "",
        "share/.wh.gone-too": "",
        "bin/tool": "bin/tool\n",
        "share/a file with an é": "first 1.0 0 /opt/conda\n",
        "share/kept": "share/kept\n",
        "share/link": "-> old",
        "share/now-a-directory/in": "in\n",
        "share/old": "changed\n",
        "share/replaced": "file\n",
        "share/same": "share/kept\n",
        "share/second": "file\n",
    }
    assert info.directories == ("", "bin", "share", "share/.wavelet-none", "share/empty", "share/now-a-directory")
    assert info.links == {"share/link": "old"}
    assert {"bin/tool", "share/old"} <= set(info.files) and "share/link" not in info.files
    with tarfile.open(blob) as tar:
        assert tar.getmember("opt/conda/bin/tool").mode == 0o755
        # No time of today: the newest file's that was there before.
        assert max(member.mtime for member in tar) < 1_750_000_000
    said = "\n".join(node.lines)
    assert "first: said" in said
    assert "b-second: yes, /opt/conda" in said
    assert "a-third: file" in said
    assert "outside of the prefix, and left out" in said and "share/fifo is neither a file nor a link" in said
    assert "lost" not in said


@pytest.mark.docker
@pytest.mark.podman
async def test_every_engine_makes_the_same_layer(
    tmp_path: Path, registry: Registry, docker_engine: Engine, podman_engine: Engine, namespace_engine: Engine
) -> None:
    digests = set()
    for engine in (docker_engine, podman_engine, namespace_engine):
        node = Node(tmp_path / engine.name, registry)
        digests.add(layer_of(node, await node.make(changing(node), engine))[0].digest)
    assert len(digests) == 1


FOREIGN = Platform("linux", "arm64" if own_platform().architecture == "amd64" else "amd64")


def foreign(node: Node) -> ScriptsLayer:
    """Return a plan of scripts for another platform. Its programs are in truth this machine's, as if it emulated it."""
    base = images.image([task_layer()], platform=str(FOREIGN), env=["PATH=/usr/local/bin:/usr/bin:/bin"])
    return node.plan(scripted("tool", 'echo made > "$PREFIX/share/made"', "data"), DATA, base=base, platform=FOREIGN)


DATA = LabPackage("data", files={"share/data": text("data\n")})


async def test_scripts_of_another_architecture_run_where_it_is_emulated(
    node: Node, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (engine_namespace, command_line):
        monkeypatch.setattr(module, "is_emulated", lambda architecture: architecture == FOREIGN.architecture)
    _, blob = layer_of(node, await node.make(foreign(node), engine))
    assert contents(blob) == {"share/made": "made\n"}


async def test_scripts_of_another_architecture_are_refused_until_a_node_has_run_them(
    node: Node, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(architecture, "TABLE", tmp_path / "absent")
    with pytest.raises(NotServed) as caught:
        await node.make(foreign(node), engine)
    said = caught.value.message
    assert said.startswith(f"tool: installation runs post-link scripts of {FOREIGN}, and nothing on this node")
    assert "records.directory" in said
    assert f"process {{ withName: 'NAME' {{ arch = '{own_platform().architecture}' }} }}" in said
    assert f"--install {FOREIGN.architecture}" in said
    other = Node(tmp_path / "other", node.registry, node.shared)
    with monkeypatch.context() as there:
        for module in (engine_namespace, command_line):
            there.setattr(module, "is_emulated", lambda architecture: True)
        made, _ = layer_of(other, await other.make(foreign(other), engine))
    taken, blob = layer_of(node, await node.make(foreign(node), engine))
    assert taken == made
    assert contents(blob) == {"share/made": "made\n"}


async def test_an_image_is_copied_where_nothing_can_be_laid_over_it(
    node: Node, namespace_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, copied = node, Node(node.everything.directory.parent / "copied", node.registry)
    laid, _ = layer_of(over, await over.make(changing(over), namespace_engine))
    filled = len(list(over.everything.directory.glob("tree-*")))
    await over.make(over.plan(scripted("other", 'echo 1 > "$PREFIX/other"')), namespace_engine)
    assert len(list(over.everything.directory.glob("tree-*"))) == filled == 1, "a base is unpacked once"
    monkeypatch.setattr(engine_namespace, "_overlays", lambda start, trial: False)
    info, _ = layer_of(copied, await copied.make(changing(copied), namespace_engine))
    assert info.digest == laid.digest


async def test_a_script_that_fails_is_named(node: Node, engine: Engine) -> None:
    lines = "for i in {1..40}; do echo line $i; done; printf '\\033[31mno luck'; exit 3"
    plan = node.plan(scripted("good", "echo well"), scripted("bad", lines, "good"), scripted("after", "echo no", "bad"))
    with pytest.raises(ScriptFailed) as caught:
        await node.make(plan, engine)
    message = caught.value.message
    assert message.startswith("bad: its post-link script fails with status 3. Leave the package out")
    assert message.endswith(" [31mno luck") and "line 40" in message and "line 5\n" not in message
    assert "good: well" in node.lines and not any(line.startswith("after: ") for line in node.lines)
    assert not node.shared.claims


async def test_a_script_that_hangs_is_ended(node: Node, engine: Engine) -> None:
    plan = node.plan(scripted("hangs", "echo still; trap '' TERM; sleep 1000 & sleep 1000"))
    with pytest.raises(ScriptFailed, match=r"hangs: .* does not end within 2 s \(conda\.scripts\.seconds\)"):
        await node.make(plan, engine, seconds=2.0)


def left_of(marker: str) -> list[str]:
    """Return the processes of this machine that were started with an argument."""
    said = subprocess.run(["pgrep", "-f", marker], capture_output=True, text=True, check=False)
    return [pid for pid in said.stdout.split() if int(pid) != os.getpid()]


FORKS = "fork() { while true; do sleep 3.14159 & done; }; for i in 1 2 3; do fork & done; wait; sleep 1000"
HOLDS = 'hold() { x=$(printf "%*s" 20000000 x); y=$x$x; sleep 1000; }; for i in {1..6}; do hold & done; wait'
WRITES = 'cd "$PREFIX"; for i in {1..1000}; do printf "%*s" 4000000 x > file-$i; done; sleep 1000'
HIDES = """exec 5> "$PREFIX/hidden" 6> "$PREFIX/too"; rm "$PREFIX/hidden" "$PREFIX/too"
for i in {1..30}; do printf "%*s" 1000000 x >&5; printf "%*s" 1000000 x >&6; done; sleep 1000"""


@pytest.mark.parametrize(
    ("text", "limits", "says"),
    [
        (FORKS, {"processes": 150}, r"runs \d+ processes at once, .* \(conda\.scripts\.processes\)"),
        (HOLDS, {"memory": 200_000_000}, r"of memory, and 200 MB are the most \(conda\.scripts\.memory\)"),
        (WRITES, {"disk": 60_000_000}, r"writes .*, and 60 MB are the most \(conda\.scripts\.disk\)"),
        (HIDES, {"disk": 40_000_000}, r"writes .*, and 40 MB are the most \(conda\.scripts\.disk\)"),
    ],
    ids=["forks", "holds", "writes", "hides"],
)
async def test_what_a_script_takes_is_bounded(
    node: Node, engine: Engine, text: str, limits: dict[str, int], says: str
) -> None:
    """Fault G6: processes, memory and bytes, with a sentence that names the limit; nothing is left behind."""
    with pytest.raises(ScriptFailed, match=f"takes: its post-link script .*{says}"):
        await node.make(node.plan(scripted("takes", text)), engine, seconds=60.0, **limits)
    assert not left_of("sleep 3.14159") and not left_of("takes-post-link.sh")
    assert not list(node.everything.directory.glob("scratch-*"))


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the script calls mmap and read by their numbers")
async def test_memory_that_processes_share_is_bounded_and_counts_once(node: Node, namespace_engine: Engine) -> None:
    """Fault G6: shared anonymous memory is in no file that is looked at; four processes have the same 30 MB."""
    shares = (
        'LD_LIBRARY_PATH="$PREFIX/lib" "$PREFIX/bin/perl" -e \'open(Z, "/dev/zero"); '
        "my $n = 0 + shift; my $a = syscall(9, 0, $n, 3, 0x21, -1, 0); fork; fork; "
        "syscall(0, fileno(Z), $a, $n) == $n or die; sleep shift' %d %d"
    )
    few, many = (scripted("takes", shares % parts, "perl") for parts in ((30_000_000, 2), (150_000_000, 1000)))
    info, _ = layer_of(node, await node.make(node.plan(few, perl()), namespace_engine, memory=100_000_000))
    assert not info.files
    with pytest.raises(ScriptFailed, match=r"takes .* of memory, and 100 MB are the most \(conda\.scripts\.memory\)"):
        await node.make(node.plan(many, perl()), namespace_engine, seconds=60.0, memory=100_000_000)
    assert not left_of("takes-post-link.sh")


def perl() -> LabPackage:
    found = shutil.which("perl") or pytest.skip("no perl here")
    loaded = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout.split()
    libraries = {f"lib/{Path(each).name}": each for each in loaded if each.startswith("/") and "ld-linux" not in each}
    files = {"bin/perl": found, **libraries}
    return LabPackage("perl", files={name: File(Path(path).read_bytes(), 0o755) for name, path in files.items()})


async def test_a_file_is_bounded_as_it_is_written(node: Node, engine: Engine) -> None:
    """Fault G6: no look is quick enough for one that writes fast."""
    plan = node.plan(scripted("writes", 'head -c 900000000 /dev/zero > "$PREFIX/file" || sleep 0.1; ls -l "$PREFIX"'))
    try:
        info, _ = layer_of(node, await node.make(plan, engine, disk=50_000_000))
        assert info.size < 60_000_000
    except ScriptFailed as error:
        assert "conda.scripts" in error.message


async def test_limits_are_for_one_script_and_not_for_its_neighbours(tmp_path: Path, namespace_engine: Engine) -> None:
    """Fault G6: other users' builds go on."""
    one, other = Node(tmp_path / "one", None), Node(tmp_path / "other", None)
    forking = asyncio.create_task(one.make(one.plan(scripted("takes", FORKS)), namespace_engine, processes=150))
    quiet = [scripted("quiet", "for i in {1..40}; do (sleep 0.01); done; for i in {1..90}; do sleep 1 & done; wait")]
    info, _ = layer_of(other, await other.make(other.plan(*quiet), namespace_engine, processes=150))
    assert not info.files
    with pytest.raises(ScriptFailed, match="processes at once"):
        await forking


async def test_there_is_no_way_to_memory_that_is_nobodys(node: Node, namespace_engine: Engine) -> None:
    plan = node.plan(scripted("nests", "unshare -Ur true 2>&1 || echo refused"), LabPackage("tools", files=unshare()))
    await node.make(plan, namespace_engine)
    assert "nests: refused" in node.lines


def unshare() -> dict[str, File]:
    found = shutil.which("unshare")
    assert found is not None
    return {"bin/unshare": File(Path(found).read_bytes(), 0o755)}


async def test_a_script_that_digs_is_refused(node: Node, engine: Engine) -> None:
    """Fault G1: a post-link script that makes a path 1,200 directories deep."""
    plan = node.plan(scripted("digs", 'cd "$PREFIX" && mkdir -p "$(printf "d/%.0s" {1..1200})"'))
    with pytest.raises(ScriptFailed, match="a path is more than 256 directories deep"):
        await node.make(plan, engine)
    assert not list(node.everything.directory.glob("scratch-*"))


async def test_a_script_that_prints_without_end(node: Node, namespace_engine: Engine) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.02)
            turns += 1

    plan = node.plan(scripted("prints", "while true; do echo 12345678; done & printf '%0200000d' 7; wait"))
    waiting = asyncio.create_task(others())
    with pytest.raises(ScriptFailed, match="prints: its post-link script does not end"):
        await node.make(plan, namespace_engine, seconds=2.0)
    waiting.cancel()
    assert turns > 50
    assert sum(line.startswith("prints: ") for line in node.lines) == run.REPORTED + 2


async def test_what_a_script_leaves_behind_is_ended(node: Node, engine: Engine) -> None:
    plan = node.plan(scripted("leaves", '(while true; do date >> "$PREFIX/share/log"; done) & echo done'))
    info, _ = layer_of(node, await node.make(plan, engine))
    assert set(info.files) <= {"share/log"}


@pytest.mark.parametrize(
    "how", ["curl -fsSL {} -o data", "wget -q {}", "curl {} > data || true", "curl -s {} 2>/dev/null; exit 0"]
)
async def test_nothing_is_fetched_from_the_network(node: Node, namespace_engine: Engine, how: str) -> None:
    plan = node.plan(scripted("fetches", how.format("https://data.example/x.tar.gz")))
    with pytest.raises(ScriptFailed, match=r"fetches: .* wants to fetch https://data\.example/x\.tar\.gz"):
        await node.make(plan, namespace_engine)


async def test_there_is_no_network(node: Node, engine: Engine) -> None:
    own = f"cat /proc/net/dev; (echo > /dev/tcp/127.0.0.1/{node.registry.port}) && echo reached"  # type: ignore[union-attr]
    plan = node.plan(scripted("connects", f"{own}; echo status $?; cat /proc/self/status; id"))
    await node.make(plan, engine)
    said = "\n".join(node.lines)
    assert "connects: status 1" in said and "reached" not in said and "eth0" not in said
    # CHOWN, DAC_OVERRIDE, FOWNER and nothing else, and no way to more.
    assert "CapBnd: 000000000000000b" in said and "NoNewPrivs: 1" in said
    assert "uid=0" in said


OLD_URL = "https://data.example/labdata_1.0.tar.gz"
NEW_URL = "https://data.example/labtable_1.0.tar.gz"


def data_packages() -> list[LabPackage]:
    r_base = next(package for package in activated() if package.name == "r-base")
    wanted = ("bioconductor-labdata", "bioconductor-labtable", "bioconductor-data-packages", "curl-lab")
    return [r_base, *(package for package in scripted_packages() if package.name in wanted)]


async def test_data_packages_get_their_tarballs(node: Node, engine: Engine) -> None:
    node.downloads = {OLD_URL: data_tarball("labdata"), NEW_URL: data_tarball("labtable")}
    info, blob = layer_of(node, await node.make(node.plan(*data_packages()), engine))
    assert contents(blob) == {
        "lib/R/library/labdata/DESCRIPTION": "Package: labdata\n",
        "lib/R/library/labdata/data/table.txt": "1\n",
        "lib/R/library/labtable/DESCRIPTION": "Package: labtable\n",
        "lib/R/library/labtable/data/table.txt": "1\n",
    }
    assert {urls[0] for urls, _ in node.asked} == {OLD_URL, NEW_URL}
    assert "share" not in info.directories


WAYS = (
    'curl -L "$URL" > out',
    'curl -fsSLo out --retry 3 "$URL"',
    'curl --output=out "$URL"',
    'curl -O "$URL" && mv labdata_1.0.tar.gz out',
    'curl -oout --url "$URL"',
    'wget -q -O out "$URL"',
    'wget -qO- "$URL" > out',
    'wget --no-check-certificate "$URL" && mv labdata_1.0.tar.gz out',
    'mkdir -p d && wget -P d "$URL" && mv d/labdata_1.0.tar.gz out',
)


async def test_tarballs_are_fetched_as_scripts_do_it(node: Node, namespace_engine: Engine) -> None:
    node.downloads = {OLD_URL: data_tarball("labdata")}
    digest = hashlib.md5(data_tarball("labdata")).hexdigest()
    given = f'URL={OLD_URL}\nFN="labdata_1.0.tar.gz"\nURLS=(\n"{OLD_URL}"\n)\nMD5="{digest}"\nset -e\ncd "$PREFIX"\n'
    tried = "".join(f'{way}\nmd5sum -c <<<"$MD5  out" && rm -f out\n' for way in WAYS)
    proof = "mkdir -p lib/R/library/labdata; touch lib/R/library/labdata/DESCRIPTION; rm -rf d"
    curl_lab = [package for package in data_packages() if package.name == "curl-lab"]
    await node.make(node.plan(scripted("tries", given + tried + proof), *curl_lab), namespace_engine)
    assert sum(line == "tries: out: OK" for line in node.lines) == len(WAYS)


async def test_data_that_cannot_be_had(node: Node, namespace_engine: Engine) -> None:
    with pytest.raises(NotFound, match=r"lab(data|table)"):
        await node.make(node.plan(*data_packages()), namespace_engine)


async def test_a_data_package_is_never_silently_empty(node: Node, namespace_engine: Engine) -> None:
    node.downloads = {OLD_URL: data_tarball("labdata")}
    broken = LabPackage("r-base", "4.3.1", files={"bin/R": script("#!/bin/sh\necho cannot >&2\nexit 1\n")})
    packages = [p for p in data_packages() if p.name in ("bioconductor-labdata", "curl-lab")]
    with pytest.raises(ScriptFailed, match=r"labdata: .* has not installed lib/R/library/labdata/DESCRIPTION"):
        await node.make(node.plan(*packages, broken), namespace_engine)


async def test_the_first_result_stands_on_all_nodes(
    tmp_path: Path, registry: Registry, namespace_engine: Engine
) -> None:
    shared = Shared()
    plans, made = [], []
    for name in ("one", "two"):
        node = Node(tmp_path / name, registry, shared)
        plans.append(node.plan(scripted("random", 'echo $RANDOM$RANDOM > "$PREFIX/share/random"', "data"), _data()))
        made.append(await node.make(plans[-1], namespace_engine))
    assert plans[0] == plans[1]
    assert made[0].descriptor == made[1].descriptor
    assert "what the post-link scripts change is as another node has made it" in node.lines


def _data() -> LabPackage:
    return LabPackage("data", files={"share/data": text("data\n")})


async def test_who_loses_the_race_takes_the_winners_result(
    tmp_path: Path, registry: Registry, namespace_engine: Engine
) -> None:
    shared = Shared()
    nodes = [Node(tmp_path / name, registry, shared) for name in ("one", "two")]
    plans = [node.plan(scripted("random", 'echo $RANDOM$RANDOM > "$PREFIX/random"')) for node in nodes]
    made = [asyncio.create_task(n.make(p, namespace_engine)) for n, p in zip(nodes, plans, strict=True)]
    assert len({image.descriptor for image in await asyncio.gather(*made)}) == 1


async def test_a_result_whose_bytes_are_gone_is_made_anew(node: Node, namespace_engine: Engine) -> None:
    plan = node.plan(scripted("random", 'echo $RANDOM$RANDOM > "$PREFIX/random"'))
    await node.make(plan, namespace_engine)
    node.shared.blobs.clear()
    again = Node(node.everything.directory.parent / "again", node.registry, node.shared)
    plan = again.plan(scripted("random", 'echo $RANDOM$RANDOM > "$PREFIX/random"'))
    node.shared.blobs = _Nowhere()
    info, _ = layer_of(again, await again.make(plan, namespace_engine))
    assert info.files == ("random",)
    assert any("was made anew" in line for line in again.lines)


class _Nowhere(dict):  # type: ignore[type-arg]
    def __contains__(self, key: object) -> bool:
        return False


async def test_without_an_engine_the_packages_are_named(node: Node) -> None:
    plan = node.plan(scripted("one", "true"), scripted("two", "true"))
    absent = replace(DOCKER, program="no-such-docker")
    dead = replace(PODMAN, program="false")
    with pytest.raises(NotServed, match=r"one, two: .*no-such-docker in PATH.*false info fails.* or podman"):
        await node.make(plan, absent, dead)
    with pytest.raises(NotServed, match=r"conda\.engine is `none`"):
        await node.make(plan, *engines_for("none"))
    assert [engine.name for engine in engines_for("auto")] == ["docker", "podman", "namespace"]
    assert [engine.name for engine in engines_for("podman")] == ["podman"]


async def test_the_next_engine_takes_over(node: Node, tmp_path: Path, namespace_engine: Engine) -> None:
    program = tmp_path / "broken-docker"
    program.write_text('#!/bin/sh\n[ "$1" = version ] && exit 0\necho "no space left" >&2\nexit 1\n')
    program.chmod(0o755)
    broken = replace(DOCKER, program=str(program))
    plan = node.plan(scripted("one", 'touch "$PREFIX/one"'))
    info, _ = layer_of(node, await node.make(plan, broken, namespace_engine))
    assert info.files == ("one",)
    node = Node(tmp_path / "other", node.registry)
    with pytest.raises(EngineFailed, match=r"scripts of one could not be run\. docker: .* pull fails .*no space left"):
        await node.make(node.plan(scripted("one", 'touch "$PREFIX/one"')), broken)


async def test_an_image_without_bash(node: Node, engine: Engine) -> None:
    plan = node.plan(scripted("one", "true"), base=images.busybox())
    with pytest.raises(EngineFailed, match="bash"):
        await node.make(plan, engine)


async def test_packages_whose_scripts_are_none(node: Node, namespace_engine: Engine) -> None:
    pre_link = next(package for package in scripted_packages() if package.name == "pre-link-tool")
    archive = node.archive(pre_link)
    info, _ = layer_of(node, await node.make(node.plan(archive), namespace_engine))
    assert info.files == () and info.directories == ()
    assert any("pre-link script is not run" in line for line in node.lines)


@pytest.mark.docker
async def test_nothing_is_left_in_docker(node: Node, docker_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def left() -> str:
        return subprocess.check_output(["docker", "ps", "-aq"], text=True) + images_of()

    def images_of() -> str:
        return subprocess.check_output(["docker", "images", "-q"], text=True)

    assert left() == ""
    await node.make(node.plan(scripted("one", 'touch "$PREFIX/one"')), docker_engine)
    assert left() == ""
    task = asyncio.create_task(node.make(node.plan(scripted("sleeps", "sleep 1000")), docker_engine))
    while not any("sleeps: its post-link script runs" in line for line in node.lines):
        await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left() == ""


@pytest.mark.docker
async def test_a_container_does_not_outlive_the_daemon(node: Node, docker_engine: Engine, tmp_path: Path) -> None:
    layers = [task_layer(), images.layer({"opt/conda/": b""})]
    assert node.registry is not None
    name = node.registry.push("lab/task", "1", images.image(layers, env=["PATH=/bin"]))
    started = tmp_path / "started"
    process = multiprocessing.get_context("spawn").Process(target=hang, args=(docker_engine, name, started))
    process.start()
    await asyncio.to_thread(wait_for, started.exists, "the sandbox", 60)
    assert subprocess.check_output(["docker", "ps", "-q"])
    os.kill(process.pid or 0, signal.SIGKILL)
    await asyncio.to_thread(wait_for, lambda: not subprocess.check_output(["docker", "ps", "-aq"]), "its end", 20)
    process.join(10)
    subprocess.check_call(["docker", "rmi", "--force", name])
