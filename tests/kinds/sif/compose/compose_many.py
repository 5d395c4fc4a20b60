"""Composes an image of many entries, in a process of its own: prints how many bytes it had in memory at most.

    compose_many.py DIRECTORY ENTRIES LARGEST

LARGEST of them are in one directory, and half of the others are the second names of files.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from wavelet.archive.squashfs.codecs import GZIP
from wavelet.kinds.sif.compose.compose import SegmentFiles, compose
from wavelet.kinds.sif.segments.index import STORED, Data, Entry, Header, write_index

IN_ONE = 50


def entries(count: int, largest: int) -> Iterator[Entry]:
    """Yield the entries of one layer."""
    yield Entry(b"", "directory", 0o755)
    yield Entry(b"large", "directory", 0o755)
    for each in range(largest):
        yield Entry(b"large/file-%07d.txt" % each, "file", 0o644, data=Data(10, fragment=0, offset=each % 90))
    for number in range((count - largest) // (IN_ONE + 1)):
        directory = b"tree-%06d" % number
        yield Entry(directory, "directory", 0o755, mtime=number)
        for each in range(IN_ONE):
            inode = number * IN_ONE + each // 2 + 1
            yield Entry(directory + b"/module-%03d.py" % each, "file", 0o644, data=Data(5, fragment=0), inode=inode)


def main() -> None:
    """See the module."""
    place, count, largest = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    segment = SegmentFiles(place / "index", place / "data", 100)
    with segment.index.open("wb") as file:
        write_index(file, Header(100, ((0, 100 | STORED),), count, links=True), entries(count, largest))
    segment.data.write_bytes(bytes(100))
    (place / "own").mkdir()
    compose([segment, segment], b"{}", "amd64", GZIP, place / "own")
    # Not getrusage, which after exec still counts what the parent had.
    (peak,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak) * 1024)


if __name__ == "__main__":
    main()
