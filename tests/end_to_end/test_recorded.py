"""Requests that versions of Nextflow have sent, played to real daemons: as they were, and as profiles have them.

They were recorded with names of registries and packages that are elsewhere: those of the lab take their place.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import versions
from lab.conda_asks import CondaSite, digest, done
from lab.daemon import Daemon
from lab.http import request
from lab.push_site import SAMTOOLS, PushSite, crane
from lab.recordings import recorded

pytestmark = [pytest.mark.registry, pytest.mark.crane]

RECORDER = "127.0.0.1:19091"
"""The registry that `wave.build.repository` named when requests were recorded."""

OF_IMAGES = ("container", "digest", "arch", "freeze", "mirror", "singularity", "podman", "tower", "bundle", "inspect")
OF_PACKAGES = ("freeze-conda", "singularity-conda", "singularity-native", "singularity-oci", "bundle-conda", "rnaseq")


def played(recording: Any, site: PushSite) -> tuple[str, dict[str, Any]]:
    """Return the version of a recording, and its body with names of the lab."""
    body = copy.deepcopy(recording["body"])
    if body.get("containerImage"):
        pinned = crane("digest", site.base) if "@" in body["containerImage"] else ""
        body["containerImage"] = f"{site.base.rpartition(':')[0]}@{pinned}" if pinned else site.base
    if body.get("buildRepository"):
        body["buildRepository"] = body["buildRepository"].replace(RECORDER, site.target.host)
    if body.get("packages"):
        body["packages"]["entries"] = [SAMTOOLS]
    if body.get("containerFile"):
        text = base64.b64decode(body["containerFile"]).decode()
        text = text.replace("salmon=1.10.3", SAMTOOLS).replace("-c defaults", "-c bioconda")
        body["containerFile"] = base64.b64encode(text.encode()).decode()
    return ("24.10" if recording["path"] == "/v1alpha2/container" else "23.10"), body


def play(node: Daemon, version: str, body: dict[str, Any]) -> dict[str, Any]:
    """Post a body; return the answer once what it names can be pulled."""
    answer = versions.post_body(node, version, body)
    assert answer.status == 200, answer.body
    members = dict(answer.json())
    state = done(node, members["requestId"])
    assert state["succeeded"] is True or body.get("dryRun"), state
    return members


def of(cases: tuple[str, ...]) -> list[Any]:
    """Return the recordings of these cases."""
    return [each for case in cases for each in recorded(f"{case}-post")]


@pytest.mark.parametrize("recording", of((*OF_IMAGES, *OF_PACKAGES)))
def test_as_it_was_sent(push_site: PushSite, recording: Any) -> None:
    version, body = played(recording, push_site)
    answer = play(push_site.node, version, body)
    if body.get("freeze") or body.get("mirror"):
        name = answer["targetImage"].removeprefix("oras://" if body.get("format") == "sif" else "")
        assert name.startswith(body["buildRepository"])
        crane("validate", "--remote", name)
    else:
        assert answer["targetImage"].startswith(f"{push_site.node.authority}/wt/")
        assert digest(push_site.node, answer["targetImage"])


@pytest.mark.parametrize("recording", of((*OF_IMAGES, *OF_PACKAGES)))
def test_as_profiles_freeze_it(push_site: PushSite, conda_node: Daemon, recording: Any) -> None:
    version, body = played(recording, push_site)
    answer = play(conda_node, version, body | {"freeze": True, "mirror": False, "buildRepository": None})
    scheme = "oras://" if body.get("format") == "sif" else ""
    assert answer["targetImage"].startswith(f"{scheme}{conda_node.authority}/frozen/")
    assert answer["containerImage"] == answer["targetImage"]
    assert digest(conda_node, answer["targetImage"].removeprefix(scheme))


@pytest.mark.parametrize("recording", of((*OF_IMAGES, *OF_PACKAGES)))
def test_as_a_site_answers_it_with_files(push_site: PushSite, sif_node: Daemon, recording: Any) -> None:
    """Where `wave.endpoint` ends in `/sif`: versions that ask how far it is wait by themselves, all others do not."""
    _, body = played(recording, push_site)
    body["buildRepository"] = body["buildRepository"] if body.get("mirror") else None
    data = json.dumps(body).encode()
    answer = request("POST", f"{sif_node.url}/sif{recording['path']}", body=data, seconds=MAKE_SECONDS)
    assert answer.status == 200, answer.body
    file = Path(answer.json()["targetImage"])
    if "mirror" in body and not body.get("dryRun"):
        assert done(sif_node, answer.json()["requestId"])["succeeded"] is True
    if not body.get("dryRun"):
        assert file.read_bytes()[32:41] == b"SIF_MAGIC"


MAKE_SECONDS = 120.0


@pytest.fixture(scope="module")
def sif_node(push_site: PushSite, conda_site: CondaSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("site")
    settings = conda_site.settings(more={"sif": {"directory": str(directory / "sif")}})
    node = Daemon(directory / "state", settings=settings)
    yield node.start()
    node.stop()


@pytest.mark.parametrize("recording", of(("container", "digest", "arch", "mirror", "tower")))
def test_as_it_is_mirrored(push_site: PushSite, recording: Any) -> None:
    version, body = played(recording, push_site)
    target = f"{push_site.target.host}/x"
    body |= {"mirror": True, "freeze": False, "buildRepository": target, "containerConfig": None}
    if version == "23.10":
        answer = versions.post_body(push_site.node, version, body)
        assert answer.status == 400 and "use POST /v1alpha2/container" in answer.json()["message"]
        return
    assert play(push_site.node, version, body)["targetImage"].startswith(f"{target}/bases/two")
