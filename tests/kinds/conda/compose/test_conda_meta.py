"""The image's own layer: what rattler and conda read of it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from locked import entry, locks

from wavelet.archive.gzip_members import Fragment
from wavelet.kinds.conda.compose import environment_files
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.model.explicit_list import explicit
from wavelet.kinds.conda.model.packages import Package

PACKAGE = Package.of("https://c.test/lab/linux-64/tool-1.0-h0_0.conda", "ab" * 32, "cd" * 16, 12)
INFO = LayerInfo(
    kind="package",
    digest="sha256:" + "0" * 64,
    size=1,
    diff_id="sha256:" + "0" * 64,
    fragment=Fragment(0, 0, 0),
    files=("bin/tool", "share/ü"),
    links={"bin/t": "tool"},
    index={"name": "tool", "version": "1.0", "build": "h0_0", "build_number": 3, "depends": ["zlib"], "license": "MIT"},
)

READ = """
import json, sys
from pathlib import Path
from rattler import PrefixRecord
found = [PrefixRecord.from_path(path) for path in sorted(Path(sys.argv[1]).glob("*.json"))]
print(json.dumps([[r.name.normalized, str(r.version), r.build, r.build_number, r.url, r.channel, r.sha256.hex(),
                   [str(f) for f in r.files], r.depends] for r in found], default=str))
"""


@pytest.mark.process
def test_rattler_reads_the_records(tmp_path: Path) -> None:
    made = environment_files.layer(environment_files.records([(PACKAGE, INFO)]), {})
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(made.blob))) as tar:
        tar.extractall(tmp_path, filter="data")
    where = tmp_path / "opt/conda/conda-meta"
    done = subprocess.run([sys.executable, "-c", READ, where], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found[:7] == ["tool", "1.0", "h0_0", 3, PACKAGE.url, "https://c.test/lab", PACKAGE.sha256]
    assert found[7:] == [["bin/t", "bin/tool", "share/ü"], ["zlib"]]


def test_a_record_names_no_place_of_this_machine() -> None:
    text = json.dumps(environment_files.record(PACKAGE, INFO))
    assert "extracted_package_dir" not in text
    assert str(Path.cwd()) not in text


def test_a_record_is_the_same_whatever_a_lock_says_besides() -> None:
    bare = replace(PACKAGE, md5=None, size=None)
    assert environment_files.record(bare, INFO) == environment_files.record(PACKAGE, INFO)


def test_the_history() -> None:
    assert environment_files.history([PACKAGE]).decode() == (
        "==> 1980-01-01 00:00:00 <==\n# cmd: wavelet\n+https://c.test/lab/linux-64::tool-1.0-h0_0\n"
    )


def test_the_lock_is_an_explicit_list() -> None:
    assert explicit([PACKAGE], "linux-64") == (
        f"# platform: linux-64\n@EXPLICIT\n{PACKAGE.url}#sha256:{PACKAGE.sha256}\n"
    )


def test_the_layer_is_what_is_said_of_it() -> None:
    made = environment_files.layer({"conda-meta/history": b"h"}, {"etc/wavelet/run.sh": b"#!/bin/sh\n"})
    assert made == environment_files.layer({"conda-meta/history": b"h"}, {"etc/wavelet/run.sh": b"#!/bin/sh\n"})
    raw = gzip.decompress(made.blob)
    assert made.diff_id == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        modes = {m.name: m.mode for m in tar.getmembers()}
    assert modes == {
        "opt/conda": 0o755,
        "opt/conda/conda-meta": 0o755,
        "opt/conda/etc": 0o755,
        "opt/conda/etc/wavelet": 0o755,
        "opt/conda/conda-meta/history": 0o644,
        "opt/conda/etc/wavelet/run.sh": 0o755,
    }


def test_a_real_environment() -> None:
    having = [entry(record) for record in locks()["vuegen.linux-64"]]
    assert len(environment_files.records(having)) == 343
    assert environment_files.layer(environment_files.records(having), {}) == environment_files.layer(
        environment_files.records(having), {}
    )
