"""The directory of a store's blobs: each in place by its digest, and what is being written aside.

But for `path_of` and `new_aside`, everything here blocks.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

from wavelet.image.digest import Digest
from wavelet.store.files import check_writable, free_bytes, make_private


class BlobDirectory:
    """See the module.

    Attributes:
        aside: where files are written that are not whole yet, on the same file system.
    """

    def __init__(self, directory: Path) -> None:
        """Take over a directory, which is made if need be."""
        self._blobs = directory / "blobs"
        self.aside = directory / "partial"
        for each in (self._blobs, self.aside):
            make_private(each)

    def path_of(self, digest: Digest) -> Path:
        """Return where a blob is, or would be."""
        return Path(f"{self._blobs}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}")  # joined at once: it is hot

    def new_aside(self) -> Path:
        """Return a path aside that nothing has yet."""
        return self.aside / uuid.uuid4().hex

    def strays(self) -> Iterator[Path]:
        """Yield what an earlier run has left aside, and what has the name of a directory that blobs go to."""
        yield from self.aside.iterdir()
        yield from (path for path in [*self._blobs.glob("*"), *self._blobs.glob("*/*")] if not path.is_dir())

    def found(self) -> dict[Digest, Path]:
        """Return the files that have the name of a blob."""
        return {Digest(f"{path.parent.parent.name}:{path.name}"): path for path in self._blobs.glob("*/*/*")}

    def free(self) -> int:
        """Return how many bytes are free on the file system."""
        make_private(self.aside)
        return free_bytes(self.aside)

    def check(self) -> None:
        """Return if files can be written here.

        Raises:
            OSError: they cannot.
        """
        check_writable(self.aside)
