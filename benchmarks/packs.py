"""Bytes that an engine downloads for an image with a pack that a rule adds, when it has the image without: counted
before the daemon, beside the layer of the pack (1 MB that does not compress) alone. The rest is documents. Every engine
with a storage of its own; the image has ten layers, 20 MB.
"""

from __future__ import annotations

import random

import yaml
from conda_shared import engine_of
from counting import Counting
from field import Field
from report import Row

from lab import images, nextflow
from lab.conda_asks import manifest
from lab.daemon import Daemon
from lab.ports import free_port

SIZE = 1_000_000
DOCUMENTS = 30_000
"""Bytes of documents and of HTTP that may come with it."""

LAYERS = 10


def measure(field: Field) -> list[Row]:
    """Return the bytes for each engine."""
    place = field.fresh("packs")
    pack, rules = place / "packs" / "tool", place / "rules.d"
    (pack / "files" / "opt").mkdir(parents=True)
    rules.mkdir()
    (pack / "files" / "opt" / "data").write_bytes(random.Random(7).randbytes(SIZE))
    (pack / "pack.yaml").write_text(yaml.safe_dump({"version": "1", "layers": [{"directory": "files"}]}))
    (rules / "site.yaml").write_text(yaml.safe_dump([{"when": {"door": "wave"}, "do": {"packs": ["tool"]}}]))
    for directory in (place, pack, rules, pack.parent):
        directory.chmod(0o755)
    layers = [images.random_layer(2, seed, f"data/{seed}") for seed in range(LAYERS)]
    source = field.registry.push("bench/packs", "1", images.image([images.busybox_layer(), *layers]))
    settings = {"rules": {"directory": str(rules)}, "packs": {"directory": str(pack.parent)}}
    with Counting(free_port()) as door:
        node = Daemon(place / "node", settings={**settings, "authority": door.authority})
        door.before(node.port)
        try:
            return _rows(field, node.start(), door, source)
        finally:
            node.stop()


def _rows(field: Field, node: Daemon, door: Counting, source: str) -> list[Row]:
    plain = f"{door.authority}/{source.replace(':', '_', 1)}"
    changed = nextflow.target(node, source)
    new = manifest(node, changed)["layers"][-1]["size"]
    rows = []
    for name in ("podman", "docker", "containerd"):
        with engine_of(name, field) as engine:
            engine.pull(plain)
            before = door.answered
            engine.pull(changed)
            got = door.answered - before
        rows.append(
            Row(
                f"an image with a pack, after the same without: {name}",
                f"{got / 1e6:.3f} MB",
                f"the pack's layer: {new / 1e6:.3f} MB",
                f"+{(got - new) / 1e3:.1f} kB",
                f"≤ {DOCUMENTS / 1e3:.0f} kB more",
                got - new <= DOCUMENTS,
            )
        )
    return rows
