"""Files that come with wavelet: units of systemd, configurations of Nextflow, pages, protos.

In a wheel they lie below the package; in a checkout at its top, where an editable install finds them.
"""

from __future__ import annotations

from pathlib import Path

import wavelet

PACKAGE = Path(wavelet.__file__).parent


def shipped_directory(name: str) -> Path:
    """Return a directory of such files: `systemd`, `nextflow-config`, `docs` or `protos`."""
    packed = PACKAGE / "share" / name
    return packed if packed.is_dir() else PACKAGE.parents[1] / name
