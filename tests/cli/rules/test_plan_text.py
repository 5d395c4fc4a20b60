"""Plans as lines for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wavelet.cli.rules.plan_text import plan_lines

BUSYBOX = {"from": "docker.io/library/busybox:1.36", "platform": "linux/amd64"}
PLANS = json.loads((Path(__file__).parents[2] / "plan" / "golden" / "plans.json").read_text())
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (BUSYBOX, ["docker.io/library/busybox:1.36  linux/amd64"]),
        ({"from": "docker.io/library/busybox:1.36"}, ["docker.io/library/busybox:1.36"]),
        (
            {
                "base": BUSYBOX,
                "config": {
                    "layers": [
                        {"gzipDigest": DIGEST, "location": "pack:ca@1.2/a.tar.gz", "architecture": "amd64"},
                        {"gzipDigest": DIGEST, "location": "pack:ca@1.2/b.tar.gz"},
                        {"gzipDigest": DIGEST},
                    ],
                    "entrypoint": ["/opt/entry.sh", "-c"],
                    "env": ["A=b"],
                    "labels": {"team": "genomics"},
                    "workingDir": "/data",
                },
                "includes": [BUSYBOX],
                "rules": ["site", "10.yaml#2"],
            },
            [
                "docker.io/library/busybox:1.36  linux/amd64",
                "+ pack ca@1.2",
                f"+ layer {DIGEST}",
                "+ the layers of docker.io/library/busybox:1.36  linux/amd64",
                "+ entry point /opt/entry.sh -c",
                "+ variable A=b",
                "+ working directory /data",
                "+ label team=genomics",
                "+ by the rules site, 10.yaml#2",
            ],
        ),
        (
            {"index": {"linux/amd64": BUSYBOX, "linux/arm64": {"base": BUSYBOX, "config": {"env": ["A=b"]}}}},
            [
                "linux/amd64:",
                "  docker.io/library/busybox:1.36  linux/amd64",
                "linux/arm64:",
                "  docker.io/library/busybox:1.36  linux/amd64",
                "  + variable A=b",
            ],
        ),
        (
            {"conda": {"base": BUSYBOX, "specs": ["samtools=1.17"], "platform": "linux/amd64"}},
            [
                "packages",
                "  specs",
                "    samtools=1.17",
                "  platform  linux/amd64",
                "on docker.io/library/busybox:1.36  linux/amd64",
            ],
        ),
        ({"newer": {"member": "x"}}, ["newer", "  member  x"]),
    ],
)
def test_lines(plan: dict[str, Any], expected: list[str]) -> None:
    assert list(plan_lines(plan)) == expected


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_has_lines(name: str) -> None:
    lines = list(plan_lines(json.loads(PLANS[name]["record"])["plan"]))
    assert lines
    assert not any("{" in line for line in lines)
