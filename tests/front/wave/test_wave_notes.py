"""What was asked is done or refused, or said in the log of the request; and messages name what users have set."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from wavelet.errors import CallerError
from wavelet.front.reading.delivery import has_tag
from wavelet.front.reading.options import OPTIONS, naming_option, option_of
from wavelet.front.wave.models import SubmitBody
from wavelet.front.wave.translate import translate
from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.package_request import CondaDefaults

SITE = CondaDefaults.of("ubuntu:24.04", (), ("conda-forge",), platform=Platform("linux", "amd64"))
CLIENTS = {
    "mambaImage": "mambaorg/micromamba:1.5.10-noble",
    "basePackages": "conda-forge::procps-ng",
    "baseImage": "ubuntu:24.04",
    "commands": None,
}
PACKAGES = {"type": "CONDA", "entries": ["samtools=1.17"], "condaOpts": CLIENTS, "pixiOpts": None, "cranOpts": None}


def notes(**members: Any) -> tuple[str, ...]:
    body = {"containerImage": "busybox:1"} if "packages" not in members else {}
    return translate(msgspec.convert(body | members, SubmitBody), "v1alpha2", SITE).notes


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"packages": PACKAGES, "buildCompression": {"mode": "zstd"}}, "wave.build.compression.mode"),
        ({"packages": PACKAGES, "buildCompression": {"mode": "gzip", "level": 9}}, "wave.build.compression.level"),
        ({"buildCompression": {"mode": "estargz"}}, "wave.build.compression.mode"),
        ({"buildCompression": {"force": True}}, "wave.build.compression.force"),
        ({"buildRepository": "registry.example/team"}, "wave.build.repository"),
        ({"cacheRepository": "registry.example:5000/cache"}, "wave.build.cacheRepository"),
        ({"nameStrategy": "tagPrefix"}, "nameStrategy"),
        ({"scanLevels": ["LOW"]}, "wave.scan.allowedLevels"),
        ({"format": "squashfs"}, "(format)"),
        ({"buildTemplate": "conda/micromamba:v2"}, "wave.build.template"),
        ({"towerWorkspaceId": 12}, "towerWorkspaceId"),
        ({"packages": PACKAGES | {"condaOpts": CLIENTS | {"mambaImage": "x.io/mamba:1"}}}, "conda.mambaImage"),
        ({"packages": PACKAGES | {"pixiOpts": {"pixiImage": "x.io/pixi:1"}}}, "pixiImage"),
        ({"packages": PACKAGES | {"pixiOpts": {"basePackages": "x"}}}, "packages.pixiOpts"),
        ({"packages": PACKAGES | {"cranOpts": {"rImage": "r"}}}, "cranOpts"),
    ],
)
def test_what_has_no_effect_is_noted(members: dict[str, Any], said: str) -> None:
    """Fault E10: what was asked is done or refused, never dropped."""
    assert any(said in note.partition(": ")[0] for note in notes(**members)), notes(**members)


def test_what_clients_send_by_themselves_is_not_noted() -> None:
    unasked = {
        "buildRepository": None,
        "buildCompression": None,
        "scanMode": "none",
        "nameStrategy": "none",
        "format": "docker",
        "towerWorkspaceId": None,
        "timestamp": "now",
        "fingerprint": "x",
        "freeze": False,
    }
    assert notes(**unasked) == ()
    assert notes(packages=PACKAGES, **unasked) == ()
    assert notes(packages=PACKAGES, buildTemplate="conda/micromamba:v2", buildCompression={"mode": "gzip"}) == ()


def test_what_a_file_says_in_vain_is_noted() -> None:
    """Fault E10: of an environment file as of the request's own members."""
    text = "name: mine\nprefix: /home/ann/env\nplatforms: [osx-64]\nfoo: 1\ndependencies: [samtools=1.17]\n"
    file = base64.b64encode(text.encode()).decode()
    assert notes(packages=PACKAGES | {"entries": None, "environment": file}) == (
        "the file of the conda directive (packages.environment): prefix is not used: in images environments are in "
        "/opt/conda",
        "the file of the conda directive (packages.environment): platforms is not used: the platform is the request's, "
        "linux/amd64 unless it says another",
        "the file of the conda directive (packages.environment): foo is not used: it is no member of an environment "
        "file that is known",
    )


@pytest.mark.parametrize("member", ["buildRepository", "cacheRepository"])
@pytest.mark.parametrize("repository", ["x.io/team:1", "x.io:5000/team:latest", "team:v1", f"x.io/a@sha256:{'0' * 64}"])
def test_a_repository_has_no_tag(member: str, repository: str) -> None:
    """Fault E10: as Wave refuses it."""
    with pytest.raises(CallerError, match="tag") as caught:
        notes(**{member: repository})
    assert (caught.value.status, caught.value.field) == (400, member)


@pytest.mark.parametrize("repository", ["x.io/team", "x.io:5000/team", "localhost:5000", "127.0.0.1:5000", "team/x"])
def test_a_port_is_no_tag(repository: str) -> None:
    assert not has_tag(repository)


@pytest.mark.parametrize(
    ("members", "status", "begins"),
    [
        ({"freeze": True, "buildRepository": "x.io"}, 400, "wave.build.repository (buildRepository): "),
        ({"mirror": True}, 400, "wave.build.repository (buildRepository): "),
        ({"scanMode": "required"}, 501, "wave.scan.mode (scanMode): "),
        ({"containerPlatform": "linux/riscv64"}, 400, "the arch directive (containerPlatform): "),
        ({"containerImage": "UPPER"}, 400, "the container directive (containerImage): "),
        ({"spackFile": "eA=="}, 501, "the spack directive, or spack in wave.strategy (spackFile): "),
        (
            {"containerImage": None, "containerFile": base64.b64encode(b"FROM x\nRUN y\n").decode()},
            501,
            "the module's Dockerfile or Singularityfile, or wave.build.conda.commands (containerFile): ",
        ),
        (
            {"containerImage": None, "packages": PACKAGES | {"entries": ["a b c d"], "channels": ["//"]}},
            400,
            "conda.channels (packages.channels[0]): ",
        ),
        (
            {"containerImage": None, "packages": PACKAGES | {"condaOpts": CLIENTS | {"commands": ["RUN x"]}}},
            501,
            "wave.build.conda.commands (packages.condaOpts.commands): ",
        ),
    ],
)
async def test_an_answer_names_what_the_user_has_set_and_the_member(
    door: Any, members: dict[str, Any], status: int, begins: str
) -> None:
    """Fault F8: both, and what the user has set first."""
    answer = await door.post({"containerImage": "busybox:1"} | members, status=status)
    assert answer["message"].startswith(begins)


def test_options_are_found_by_members_and_what_they_are_in() -> None:
    assert option_of("packages.entries[12]") == "the conda directive"
    assert option_of("containerConfig.env[0]") == "wave.containerConfigUrl"
    assert option_of("containerConfig.layers.gzipSize") == OPTIONS["containerConfig.layers"]
    assert option_of("packages.type") is None
    assert naming_option(CallerError("there is none", field="freeze")).message == "there is none"
