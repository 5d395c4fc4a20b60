"""What packages are called after, where a lock file says what they are."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from wavelet.front.wave.models import SubmitBody
from wavelet.front.wave.translate import translate
from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import canonical, decode, encode, key
from wavelet.plan.node import Node

SITE = CondaDefaults.of("ubuntu:24.04", ("procps-ng",), ("conda-forge",), platform=Platform("linux", "amd64"))
CHANNEL = "https://conda.example/conda-forge"
SHA256 = "a" * 64
PIXI = f"""\
version: 6
environments:
  default:
    channels: [{{url: {CHANNEL}}}]
    packages:
      linux-64:
      - conda: {CHANNEL}/linux-64/zlib-1.3-h0_0.conda
      - conda: {CHANNEL}/linux-64/fastqc-0.12.1-h0_0.conda
packages:
- conda: {CHANNEL}/linux-64/zlib-1.3-h0_0.conda
  sha256: {SHA256}
- conda: {CHANNEL}/linux-64/fastqc-0.12.1-h0_0.conda
  sha256: {SHA256}
  depends: [zlib >=1.2]
"""
CONDA_LOCK = f"""\
version: 1
metadata: {{channels: [{{url: conda-forge}}]}}
package:
- {{name: bwa, platform: linux-64, manager: conda, url: {CHANNEL}/linux-64/bwa-0.7-h0_0.conda,
   hash: {{sha256: {SHA256}}}, dependencies: {{zlib: ">=1"}}}}
- {{name: samtools, platform: linux-64, manager: conda, url: {CHANNEL}/linux-64/samtools-1.17-h0_0.conda,
   hash: {{sha256: {SHA256}}}, dependencies: {{zlib: ">=1"}}}}
- {{name: zlib, platform: linux-64, manager: conda, url: {CHANNEL}/linux-64/zlib-1.3-h0_0.conda,
   hash: {{sha256: {SHA256}}}, dependencies: {{}}}}
"""
EXPLICIT = f"""\
@EXPLICIT
{CHANNEL}/linux-64/zlib-1.3-h0_0.conda#sha256:{SHA256}
{CHANNEL}/linux-64/salmon-1.10-h0_0.conda#sha256:{SHA256}
{CHANNEL}/linux-64/multiqc-1.27-h0_0.conda#sha256:{SHA256}
"""
SORTED = "\n".join(["@EXPLICIT", *sorted(EXPLICIT.splitlines()[1:])])


def plan_of(**packages: Any) -> Node:
    if "environment" in packages:
        packages["environment"] = base64.b64encode(packages["environment"].encode()).decode()
    body = msgspec.convert({"packages": {"type": "CONDA"} | packages}, SubmitBody)
    return translate(body, "v1alpha2", SITE).plan


@pytest.mark.parametrize(
    ("packages", "name"),
    [
        ({"entries": ["https://x.example/locks/rnaseq.lock"]}, "conda/rnaseq:latest"),
        (
            {"entries": ["https://x.example/nf-core_Salmon.linux-64.lock.yml?sig=1"]},
            "conda/nf-core-salmon-linux-64:latest",
        ),
        ({"entries": ["https://x.example/"]}, "conda/x-example:latest"),
        ({"environment": PIXI}, "conda/fastqc:0.12.1"),
        ({"environment": CONDA_LOCK}, "conda/bwa_samtools:latest"),
        ({"environment": EXPLICIT}, "conda/multiqc:1.27"),
        ({"environment": SORTED}, "conda/environment:latest"),
        ({"entries": ["procps-ng"]}, "conda/procps-ng:latest"),
        ({"entries": ["pip:multiqc==1.27"]}, "conda/multiqc:1.27"),
        ({"entries": ["python=3.11", "pip:six==1.16.0"]}, "conda/python_six:latest"),
    ],
)
def test_an_image_is_called_after_what_was_asked_for(packages: dict[str, Any], name: str) -> None:
    """Fault A8: of a lock it is the file's name, else the packages on which no other depends."""
    plan = plan_of(**packages)
    assert plan.label.text == name
    kept = decode(encode(plan), FORMS)
    assert kept.label.text == name


def test_what_a_lock_is_about_makes_no_other_lock_of_it() -> None:
    plan, same = plan_of(environment=EXPLICIT), plan_of(environment=SORTED)
    assert (canonical(plan), key(plan)) == (canonical(same), key(same))


def test_names_that_were_given_stay_good() -> None:
    plan = plan_of(entries=["https://x.example/locks/rnaseq.lock"])
    assert plan.label.is_path("conda/rnaseq")
    assert plan.label.is_path("conda/procps-ng")
    assert not plan.label.is_path("conda/other")
    mixed = plan_of(entries=["python=3.11", "pip:six==1.16.0"])
    assert mixed.label.tag_at("conda/python_six") == "latest"
    assert mixed.label.is_path("conda/python")
    assert mixed.label.tag_at("conda/python") == "3.11"
