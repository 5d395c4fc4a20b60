"""Requests: their JSON form is Wave's body, so both doors make one plan of it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format

from wavelet.errors import InvalidRequest, WaveletError
from wavelet.front.grpc.values import check_name_alone, packages_plan, submission
from wavelet.front.reading.submission import Submission
from wavelet.front.wave.models import SubmitBody
from wavelet.front.wave.translate import translate
from wavelet.image.reference import Platform
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.index.node import ImageIndex
from wavelet.plan.node import INLINE
from wavelet.v1 import containers_pb2 as pb

BODIES = sorted((Path(__file__).parents[1] / "wave" / "bodies").glob("*-post.json"))
SITE = CondaDefaults.of("ubuntu:24.04", (), ("conda-forge",), platform=Platform("linux", "amd64"))


def as_message(body: dict[str, Any]) -> pb.ResolveRequest:
    """Return the message that has a body's members; texts are plain there, and platforms a list."""
    body = json.loads(json.dumps(body))
    platforms = body.pop("containerPlatform", None)
    if body.get("containerFile"):
        body["containerFile"] = base64.b64decode(body["containerFile"]).decode()
    if (body.get("packages") or {}).get("environment"):
        body["packages"]["environment"] = base64.b64decode(body["packages"]["environment"]).decode()
    for layer in (body.get("containerConfig") or {}).get("layers") or ():
        kind, _, data = layer["location"].partition(":")
        if kind == "data":
            layer["data"] = data.rpartition(",")[2]
            layer["location"] = ""
    body.pop("timestamp", None)
    message = json_format.ParseDict(body, pb.ResolveRequest(), ignore_unknown_fields=True)
    message.platforms.extend(platforms.split(",") if platforms else [])
    return message


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_a_clients_body_and_its_message_are_one_plan(path: Path) -> None:
    recorded = json.loads(path.read_text())
    body = recorded.get("body", recorded)
    body = json.loads(body) if isinstance(body, str) else body
    body.pop("towerWorkspaceId", None)  # no member of the message, and noted there
    theirs = outcome(lambda: translate(msgspec.json.decode(json.dumps(body), type=SubmitBody), "v1alpha2", SITE))
    assert outcome(lambda: submission(as_message(body), SITE)) == theirs


def outcome(ask: Callable[[], Submission]) -> Submission | tuple[str, str | None]:
    """Return what is asked for, or what is said of the request."""
    try:
        return ask()
    except WaveletError as error:
        return error.message, error.field


def test_there_are_bodies() -> None:
    assert BODIES


def tar_layer() -> tuple[bytes, pb.Layer]:
    import gzip

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("hello"))
    data = gzip.compress(out.getvalue())
    digests = f"sha256:{hashlib.sha256(data).hexdigest()}", f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}"
    return data, pb.Layer(data=data, gzip_digest=digests[0], gzip_size=len(data), tar_digest=digests[1])


def test_bytes_of_a_layer_are_an_inline_layer() -> None:
    data, layer = tar_layer()
    asked = submission(
        pb.ResolveRequest(container_image="busybox", container_config=pb.ContainerConfig(layers=[layer])), SITE
    )
    assert isinstance(asked.plan, AugmentedImage)
    assert [each.location for each in asked.plan.config.layers] == [INLINE]
    assert list(asked.inline.values()) == [data]


def test_several_platforms_make_an_index() -> None:
    asked = submission(pb.ResolveRequest(container_image="busybox", platforms=["linux/amd64", "arm64"]), SITE)
    assert isinstance(asked.plan, ImageIndex)


def test_a_conda_file_beside_its_container_file() -> None:
    text = (
        "FROM mambaorg/micromamba:1.4.1\n"
        "COPY --chown=$MAMBA_USER:$MAMBA_USER conda.yml /tmp/conda.yml\n"
        "RUN micromamba install -y -n base -f /tmp/conda.yml && \\\n    micromamba clean -a -y\n"
    )
    request = pb.ResolveRequest(container_file=text, conda_file="dependencies:\n- samtools=1.17\n")
    plan = submission(request, SITE).plan
    assert isinstance(plan, CondaEnvironment)
    assert plan.specs == ("samtools=1.17",)


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({}, "containerImage"),
        ({"container_image": "busybox", "platforms": ["linux/amd64", "sparc"]}, "platforms[1]"),
        ({"packages": {"entries": ["samtools"]}, "platforms": ["linux/arm/v7"]}, "platforms"),
        ({"packages": {"entries": ["samtools"], "as_of": "yesterday"}}, "packages.asOf"),
        ({"packages": {"type": "CRAN", "entries": ["dplyr"]}}, "packages.type"),
        ({"container_image": "busybox", "freeze": True, "build_repository": "x.io"}, "buildRepository"),
        ({"container_image": "busybox", "conda_file": "x"}, "condaFile"),
        (
            {"container_image": "busybox", "container_config": {"layers": [{"data": b"x", "location": "http://x"}]}},
            "containerConfig.layers[0].data",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_member_at_fault_is_named(members: dict[str, Any], field: str) -> None:
    with pytest.raises(WaveletError) as raised:
        submission(pb.ResolveRequest(**members), SITE)
    assert raised.value.field == field
    assert raised.value.message.startswith(field)


def test_a_name_says_all_that_the_image_is() -> None:
    check_name_alone(pb.ResolveRequest(name="conda/samtools:1.17", refresh=True, dry_run=True, fingerprint="x"))
    with pytest.raises(InvalidRequest, match="buildTemplate: cannot be given together with name"):
        check_name_alone(pb.ResolveRequest(name="conda/samtools:1.17", build_template="conda/micromamba:v2"))


@pytest.mark.parametrize(
    ("text", "as_of"),
    [("2026-01-31", "2026-01-31T00:00:00Z"), ("2026-01-31T13:30:00+01:00", "2026-01-31T12:30:00Z")],
)
def test_packages_of_a_time(text: str, as_of: str) -> None:
    plan = packages_plan(pb.Packages(entries=["samtools=1.17"], as_of=text), "linux/arm64", SITE)
    assert (plan.as_of, str(plan.platform)) == (as_of, "linux/arm64")


def test_a_container_file_with_nothing_in_it_is_what_is_refused() -> None:
    """The option for images was blamed, which nobody had set."""
    empty = "containerFile: is empty, and nothing else says what to make a container from"
    for said, member in ((empty, {"containerFile": ""}), ("containerImage: nothing to make", {"containerImage": ""})):
        with pytest.raises(InvalidRequest, match=said) as ours:
            submission(json_format.ParseDict(member, pb.ResolveRequest()), SITE)
        with pytest.raises(InvalidRequest, match=said) as theirs:
            translate(msgspec.convert(member, SubmitBody), "v1alpha2", SITE)
        assert ours.value.field == theirs.value.field == next(iter(member))
