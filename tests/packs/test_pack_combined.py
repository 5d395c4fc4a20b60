"""Packs together: once each, in their order, with launchers that all run; and which of them cannot be together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wavelet.image.reference import Digest
from wavelet.packs.combined import PACKS_LIMIT, combined, joined
from wavelet.packs.model import Needs, Pack, PackLayer, PackRefused, PackUse
from wavelet.plan.node import ContainerConfig, Layer


def layer(name: str, *paths: str, architecture: str | None = None) -> PackLayer:
    digest = Digest.of(f"{name} {architecture}".encode())
    return PackLayer(Layer(digest, 1, digest, f"pack:{name}", architecture), frozenset(paths))


class Known:
    def __init__(self, *packs: Pack) -> None:
        self._packs = packs

    def get(self, name: str, version: str | None = None) -> Pack:
        for pack in self._packs:
            if pack.name == name and version in (None, pack.version):
                return pack
        raise PackRefused(f"there is no pack {name}")


FIRST = Pack("first", "1", env=("A=1", "B=1"), layers=(layer("first", "opt/x"),), needs=Needs(("/dev/fuse",), ("A",)))
SECOND = Pack("second", "1", env=("B=2",), layers=(layer("second", "opt/y"),), needs=Needs(("/dev/fuse",), ("B",)))
OTHER = Pack("second", "2")
BOTH = Pack(
    "both",
    "1",
    layers=(layer("common"), layer("both", "bin/ps", architecture="amd64"), layer("both", architecture="arm64")),
    architectures=frozenset({"amd64", "arm64"}),
)
ARM = Pack("arm", "1", entrypoint=("/x",), layers=(layer("arm", "bin/ps", architecture="arm64"),),
           architectures=frozenset({"arm64"}))  # fmt: skip
LAUNCHED = Pack("launched", "1", entrypoint=("/l",))
FILE = Pack("file", "1", layers=(layer("file", "opt/x/y"),))
KNOWN = Known(FIRST, SECOND, OTHER, BOTH, ARM, LAUNCHED, FILE)


def test_in_their_order_and_once() -> None:
    found = combined([PackUse("first"), PackUse("second", "1"), PackUse("first", "1")], KNOWN, ["amd64"])
    assert found.packs == (FIRST, SECOND)
    layers = (FIRST.layers[0].layer, SECOND.layers[0].layer)
    assert found.config == ContainerConfig(env=("A=1", "B=2"), layers=layers)
    assert found.needs == Needs(("/dev/fuse",), ("A", "B"))
    assert found.notes == ()


def test_layers_for_the_architectures_that_are_asked_for() -> None:
    common, amd64, arm64 = (each.layer for each in BOTH.layers)
    for asked, layers in (
        (["amd64"], (common, amd64)),
        (["arm64", "amd64"], (common, amd64, arm64)),
        ([], (common, amd64, arm64)),
    ):
        assert combined([PackUse("both")], KNOWN, asked).config.layers == layers


@pytest.mark.parametrize(
    ("uses", "architectures", "sentence"),
    [
        ([PackUse("none")], [], "there is no pack none"),
        ([PackUse("second", "1"), PackUse("second", "2")], [], "second@1 and second@2 are two versions of one"),
        ([PackUse("both")], ["amd64", "s390x"], "both@1 has nothing for s390x, only for amd64, arm64; leave it out"),
        ([PackUse("arm")], [], "arm@1 is for arm64, and it is not said for which platform the image is"),
        ([PackUse("both"), PackUse("arm")], ["arm64"], ""),
        ([PackUse("first"), PackUse("file")], [], "the packs first@1 and file@1 both have /opt/x; leave one out"),
    ],
)
def test_refused(uses: list[PackUse], architectures: list[str], sentence: str) -> None:
    if not sentence:
        combined(uses, KNOWN, architectures)
        return
    with pytest.raises(PackRefused) as refused:
        combined(uses, KNOWN, architectures)
    assert sentence in refused.value.message


def test_a_path_of_two_packs_is_refused() -> None:
    other = Pack("other", "3", layers=(layer("other", "bin/ps"),))
    with pytest.raises(PackRefused, match="the packs both@1 and other@3 both have /bin/ps; leave one out"):
        combined([PackUse("both"), PackUse("other")], Known(BOTH, other), ["amd64"])


def test_what_is_missing_can_be_left_out() -> None:
    found = combined([PackUse("arm", missing="skip"), PackUse("first")], KNOWN, ["amd64"])
    assert found.packs == (FIRST,)
    assert found.notes == ("the pack arm@1 has nothing for amd64, only for arm64, and was left out",)
    assert found.config == FIRST.config


def test_one_launcher_needs_no_shell() -> None:
    assert combined([PackUse("launched"), PackUse("first")], KNOWN, []).config.entrypoint == ("/l",)


def test_the_last_of_what_there_is_one() -> None:
    one, two = (
        ContainerConfig(cmd=("a",), working_dir="/a", labels=(("k", "1"), ("l", "1"))),
        ContainerConfig(cmd=("b",)),
    )
    assert joined([one, two, ContainerConfig(labels=(("k", "2"),))]) == ContainerConfig(
        cmd=("b",), working_dir="/a", labels=(("k", "2"), ("l", "1"))
    )


LAUNCHER = """#!{python}
# What Wave's launchers do: say that they run, and hand on to what WAVE_ENTRY_CHAIN says, and else to their arguments.
import json, os, sys
with open(os.environ["TRACE"], "a") as trace:
    trace.write(os.path.basename(sys.argv[0]) + " ")
chain = os.environ.get("WAVE_ENTRY_CHAIN")
steps = [] if chain is None else json.loads(chain) if chain.startswith("[") else [chain]
line = [*steps, *sys.argv[1:]]
os.execvp(line[0], line)
"""
OWN = """#!/bin/sh
printf 'own %s' "$*" >> "$TRACE"
"""


@pytest.mark.process
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("own", [[], ["own"], ["own", "an argument"]], ids=["none", "text", "json"])
def test_all_launchers_run(tmp_path: Path, count: int, own: list[str]) -> None:
    """As an engine starts them, with the image's own entry point of no, one and several members."""
    names = [f"launcher{number}" for number in range(count)]
    for name, text in {**dict.fromkeys(names, LAUNCHER.format(python=sys.executable)), "own": OWN}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    config = joined([ContainerConfig((str(tmp_path / name),)) for name in names])
    chain = [str(tmp_path / "own"), *own[1:]] if own else []
    variables = dict(each.split("=", 1) for each in config.env) | {"TRACE": str(tmp_path / "trace")}
    if chain:  # as `image/augment.py` has it
        variables["WAVE_ENTRY_CHAIN"] = chain[0] if len(chain) == 1 else json.dumps(chain)
    command = [*config.entrypoint, *([] if own else [str(tmp_path / "own")]), "a b", "c"]
    subprocess.run(command, env=os.environ | variables, check=True, timeout=20)
    said = " ".join([*reversed(names), "own", *own[1:], "a b c"])
    assert (tmp_path / "trace").read_text() == said


def test_more_packs_than_any_image_takes_are_refused_at_once() -> None:
    """Each is compared with each other, in the loop's thread."""
    uses = [PackUse(f"p{number}") for number in range(PACKS_LIMIT + 1)]
    with pytest.raises(PackRefused, match="more than 64 packs; no image takes more"):
        combined(uses, KNOWN, ())
