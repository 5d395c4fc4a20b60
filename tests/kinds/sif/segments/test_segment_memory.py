"""However many entries a layer has, what is held of them stays the same: 50,000 and 500,000 take 20 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wavelet.archive.tar_format import END, TarEntries, padding

ENTRIES = 50_000
MOST = 80 * 1024
"""KiB."""

MEASURED = """
import json, sys
from pathlib import Path
from wavelet.archive.squashfs.codecs import GZIP
from wavelet.kinds.sif.segments.index import read_index
from wavelet.kinds.sif.segments.maker import make_segment
scratch = Path(sys.argv[2])
scratch.mkdir()
make_segment(Path(sys.argv[1]), "a layer", scratch, GZIP, 10**10)
with (scratch / "index").open("rb") as file:
    header, _ = read_index(file)
most = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([header.entries, int(most.split()[1])]))
"""


@pytest.mark.process
def test_many_entries_take_bounded_memory(tmp_path: Path) -> None:
    entries = TarEntries("opt/conda/lib/python3.12/site-packages")
    with (tmp_path / "layer").open("wb") as layer:
        for number in range(ENTRIES):
            data = b"%d" % number
            path = f"package_{number // 1000:05}/subpackage/module_{number % 1000}.py"
            layer.write(entries.file_header(path, len(data), 1, executable=False) + data + padding(len(data)))
        layer.write(END)
    command = [sys.executable, "-c", MEASURED, tmp_path / "layer", tmp_path / "scratch"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert said[0] == ENTRIES + 2 * ENTRIES // 1000 + 6
    assert said[1] <= MOST
