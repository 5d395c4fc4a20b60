"""Both doors refuse the same inputs with the same sentences: one table, each input in Wave's JSON and as a message."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format

from wavelet.errors import CallerError, DigestMismatch, InvalidName, InvalidRequest, NotServed, TooLarge
from wavelet.front.grpc.values import submission
from wavelet.front.reading.members import LOCATION_LIMIT
from wavelet.front.wave.models import SubmitBody
from wavelet.front.wave.translate import translate
from wavelet.image.reference import Digest, Platform
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.v1 import containers_pb2 as pb

SITE = CondaDefaults.of("ubuntu:24.04", (), ("conda-forge",), platform=Platform("linux", "amd64"))
BLOB = gzip.compress(b"\0" * 1024, mtime=0)
ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@dataclass(frozen=True)
class Row:
    """An input that is refused.

    Attributes:
        says: how the sentence begins.
        kind: the class of the error, which says whose fault it is and the status.
        wave: the members of Wave's body.
        grpc: those of the message in its JSON form, where they are others; bytes are in base64 there by nature.
    """

    says: str
    kind: type[CallerError]
    wave: dict[str, Any]
    grpc: dict[str, Any] | None = None


def image(**members: Any) -> dict[str, Any]:
    return {"containerImage": "busybox:1.36"} | members


def config(**members: Any) -> dict[str, Any]:
    return image(containerConfig=members)


def layer(**members: Any) -> dict[str, Any]:
    whole = {"location": "https://example.org/l.tar.gz", "gzipDigest": ONE, "gzipSize": 10, "tarDigest": TWO}
    return config(layers=[whole | members])


def packages(**members: Any) -> dict[str, Any]:
    return {"packages": {"type": "CONDA", "entries": ["samtools=1.17"]} | members}


def text(content: str) -> str:
    return base64.b64encode(content.encode()).decode()


def inline(data: bytes, **members: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a layer whose bytes come with the request, in both forms."""
    encoded = base64.b64encode(data).decode()
    digests = {"gzipDigest": str(Digest.of(data)), "tarDigest": TWO, "gzipSize": len(data)} | members
    return config(layers=[digests | {"location": f"data:{encoded}"}]), config(layers=[digests | {"data": encoded}])


def in_file(name: str, content: str, **members: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a request with a file, whose text is encoded in the one form."""
    return {name: text(content)} | members, {name: content} | members


ENVIRONMENT = "packages.environment"
ROWS = [
    Row("nameStrategy: 'mine' is not one of", InvalidRequest, image(nameStrategy="mine")),
    Row("scanMode: 'yes' is not one of", InvalidRequest, image(scanMode="yes")),
    Row("scanLevels[1]: 'BAD' is not one of", InvalidRequest, image(scanLevels=["LOW", "BAD"])),
    Row("buildCompression.mode: 'xz' is not one of", InvalidRequest, image(buildCompression={"mode": "xz"})),
    Row("buildRepository: leave out the scheme", InvalidRequest, image(buildRepository="https://quay.io/a")),
    Row("cacheRepository: 'quay.io/a:1' has a tag", InvalidRequest, image(cacheRepository="quay.io/a:1")),
    Row("freeze: a mirror is an unchanged copy", InvalidRequest, image(mirror=True, freeze=True)),
    Row("containerConfig: a mirror is", InvalidRequest, config(cmd=["sh"]) | {"mirror": True}),
    Row("buildRepository: is missing; a mirror", InvalidRequest, image(mirror=True)),
    Row("buildRepository: docker.io is where", InvalidRequest, image(mirror=True, buildRepository="docker.io/a")),
    Row("buildRepository: 'quay.io' is a registry", InvalidRequest, image(freeze=True, buildRepository="quay.io")),
    Row("buildRepository: 'quay.io/A' is not a", InvalidName, image(freeze=True, buildRepository="quay.io/A")),
    Row("cacheRepository: 'x:1/A' is not a", InvalidName, packages() | {"freeze": True, "cacheRepository": "x:1/A"}),
    Row(
        "containerPlatform: a SIF is for one platform",
        InvalidRequest,
        image(format="sif", containerPlatform="linux/amd64,linux/arm64"),
        image(format="sif", platforms=["linux/amd64", "linux/arm64"]),
    ),
    Row("scanMode: this version", NotServed, image(scanMode="required")),
    Row("buildContext: this version", NotServed, image(buildContext={"location": "https://example.org/c"})),
    Row("containerIncludes: names 11 images", InvalidRequest, image(containerIncludes=["busybox"] * 11)),
    Row("containerIncludes[1]: ", InvalidName, image(containerIncludes=["busybox", "UPPER"])),
    Row("containerImage: ", InvalidName, {"containerImage": "quay.io/UPPER:1"}),
    Row("containerConfig.env: holds a NUL", InvalidRequest, config(env=["A=\0"])),
    Row("containerConfig.env[0]: '=x' has no name", InvalidRequest, config(env=["=x"])),
    Row("containerConfig.workingDir: 'work' is not", InvalidRequest, config(workingDir="work")),
    Row("containerConfig: 262145 characters", TooLarge, config(cmd=["x" * (256 * 1024 + 1)])),
    Row("containerConfig.layers: 129 layers", InvalidRequest, config(layers=[{"location": "https://a/b"}] * 129)),
    Row("containerConfig.layers[0].location: is missing", InvalidRequest, layer(location="")),
    Row("containerConfig.layers[0].gzipDigest: is missing", InvalidRequest, layer(gzipDigest="")),
    Row("containerConfig.layers[0].tarDigest: ", CallerError, layer(tarDigest="sha256:12")),
    Row("containerConfig.layers[0].location: its scheme", InvalidRequest, layer(location="ftp://example.org/l")),
    Row("containerConfig.layers[0].location: leave user", InvalidRequest, layer(location="https://a:b@c/d")),
    Row("containerConfig.layers[0].gzipDigest: the layer", DigestMismatch, *inline(BLOB, gzipDigest=ONE)),
    Row("containerConfig.layers[0].gzipSize: the layer", DigestMismatch, *inline(BLOB, gzipSize=1)),
    Row("containerConfig.layers[0].location: 14000005 char", TooLarge, *inline(bytes(LOCATION_LIMIT // 4 * 3))),
    Row("packages.type: 'R' is not one of", InvalidRequest, packages(type="R")),
    Row("packages.type: this version", NotServed, packages(type="CRAN")),
    Row("packages.entries: nothing to install", InvalidRequest, packages(entries=[])),
    Row("packages.entries: more than 1000", TooLarge, packages(entries=["a"] * 1001)),
    Row("packages.channels: more than 100", TooLarge, packages(channels=["c"] * 101)),
    Row("packages.entries[1]: ", InvalidRequest, packages(entries=["samtools", "a==b==c"])),
    Row("packages.asOf: 'soon' is not", InvalidRequest, packages(asOf="soon")),
    Row("packages.condaOpts.commands: this version", NotServed, packages(condaOpts={"commands": ["RUN x"]})),
    Row("packages.condaOpts.baseImage: ", InvalidName, packages(condaOpts={"baseImage": "UPPER"})),
    Row("buildTemplate: 'x' is not one of", InvalidRequest, packages() | {"buildTemplate": "x"}),
    Row("packages: cannot be given together with containerImage", InvalidRequest, image() | packages(), {}),
    Row("containerFile: this version of wavelet runs no", NotServed, *in_file("containerFile", "FROM busybox\nRUN x")),
    Row("containerPlatform: unsupported", InvalidRequest, image(containerPlatform="sparc"), image(platforms=["sparc"])),
    Row(
        "containerPlatform: ",
        NotServed,
        packages() | {"containerPlatform": "linux/arm/v7"},
        packages() | {"platforms": ["linux/arm/v7"]},
    ),
]
ONLY_JSON = "packages: cannot be given together with containerImage"
"""What a message cannot say: its source is one of several."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says.rstrip(": "))
def test_both_doors_say_the_same(row: Row) -> None:
    with pytest.raises(row.kind) as wave:
        translate(msgspec.convert(row.wave, SubmitBody), "v1alpha2", SITE)
    assert wave.value.message.startswith(row.says)
    if row.says == ONLY_JSON:
        return
    message = json_format.ParseDict(row.wave if row.grpc is None else row.grpc, pb.ResolveRequest())
    with pytest.raises(row.kind) as grpc:
        submission(message, SITE)
    assert type(grpc.value) is type(wave.value)
    assert (grpc.value.status, grpc.value.fault, grpc.value.reason) == (
        wave.value.status,
        wave.value.fault,
        wave.value.reason,
    )
    # The member that says the platforms has another name there, and is a list.
    assert _in_waves_words(grpc.value.message) == wave.value.message
    assert _in_waves_words(grpc.value.field or "") == wave.value.field


def _in_waves_words(said: str) -> str:
    return said.replace("platforms[0]", "containerPlatform").replace("platforms", "containerPlatform")


def test_an_environment_that_cannot_be_read() -> None:
    content = "dependencies: [a, {b: c}]\n"
    wave = packages(entries=None, environment=text(content))
    with pytest.raises(CallerError) as theirs:
        translate(msgspec.convert(wave, SubmitBody), "v1alpha2", SITE)
    with pytest.raises(CallerError) as ours:
        submission(pb.ResolveRequest(packages=pb.Packages(environment=content)), SITE)
    assert ours.value.message == theirs.value.message
    assert ours.value.field == theirs.value.field == ENVIRONMENT
