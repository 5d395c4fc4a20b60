"""What is seen of a daemon from outside: files and tables of its state directory, lines of its audit log, metrics.

Another version finds the first, scripts and dashboards read the others: golden files have them.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from documented.wire import golden
from lab.conda_packages import Package
from lab.grpc_site import Site, running_site
from lab.http import request

pytestmark = [pytest.mark.registry, pytest.mark.conda]

GOLDEN = golden("state")


class Seen(NamedTuple):
    """What is left of a daemon that has named, made and sent images: files, what its metrics said, its audit log."""

    state: Path
    metrics: str
    audit: list[dict[str, Any]]


def _post(site: Site, **body: Any) -> str:
    """Return the name of what is asked for."""
    answer = request("POST", f"{site.node.url}/v1alpha2/container", body=json.dumps(body).encode())
    return str(answer.json()["targetImage"])


def _pull(image: str) -> None:
    host, _, rest = image.partition("/")
    path, _, tag = rest.rpartition(":")
    manifest = request("GET", f"http://{host}/v2/{path}/manifests/{tag}", headers={"Accept": "*/*"}).json()
    for each in (manifest["config"], *manifest["layers"]):
        assert request("GET", f"http://{host}/v2/{path}/blobs/{each['digest']}").status == 200


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Yield what is left of a daemon, and what its metrics have said."""
    audit = tmp_path_factory.mktemp("audit") / "audit.log"
    packages = [Package("htslib", "1.17")]
    with running_site(tmp_path_factory.mktemp, packages, [], lambda _: {"audit_log": str(audit)}) as site:
        named = _post(site, containerImage=site.image), _post(site, packages={"type": "CONDA", "entries": ["htslib"]})
        for image in (*named, *named):
            _pull(image)
        request("POST", f"{site.node.url}/v1alpha2/container", body=b'{"containerImage": "UPPER"}')
        metrics = request("GET", f"{site.node.url}/metrics").body.decode()
        site.node.stop()
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
        yield Seen(site.node.state, metrics, lines)


@pytest.mark.parametrize("database", ["node.db", "records.db", "hosted.db"])
def test_tables(seen: Seen, database: str) -> None:
    with closing(sqlite3.connect(seen.state / database)) as opened:
        rows = opened.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    assert [re.sub(r"\s+", " ", sql) for (sql,) in rows] == GOLDEN["tables"][database]


def test_files(seen: Seen) -> None:
    assert sorted(path.name for path in seen.state.iterdir()) == GOLDEN["files"]
    names = {str(path.relative_to(seen.state)) for path in seen.state.glob("blobs/**/*") if path.is_file()}
    assert names and all(re.fullmatch(GOLDEN["blob"], name) for name in names), names


def test_where_content_came_from(seen: Seen) -> None:
    """Another version has to take what is there for the same: else it fetches or makes it again."""
    with closing(sqlite3.connect(seen.state / "node.db")) as opened:
        origins = {origin for (origin,) in opened.execute("SELECT origin FROM origins")}
    found = {_without_what_varies(origin) for origin in origins}
    assert sorted(found) == GOLDEN["origins"]


def test_lines_of_the_audit_log(seen: Seen) -> None:
    found = {
        (line["decision"], line["door"], line["principal"]) for line in seen.audit if line["decision"] == "granted"
    }
    assert sorted(map(list, found)) == GOLDEN["granted"]
    [refused] = [line for line in seen.audit if line["decision"] == "refused"]
    assert sorted(refused) == GOLDEN["refused"]


def test_the_values_of_labels(seen: Seen) -> None:
    """What depends on who was quicker (`joined`, `growing`) is left out."""
    series = {_without_what_varies(line.rpartition(" ")[0]) for line in seen.metrics.splitlines() if "{" in line}
    assert set(GOLDEN["series"]) - series == set()


def _without_what_varies(text: str) -> str:
    return re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", re.sub(r"127\.0\.0\.1:\d+", "HOST", text))
