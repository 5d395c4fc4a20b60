"""The site's directory of certificates, which packs take by `certificates: {directory: site}`, looked at. Blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from wavelet.host.ownership import check_owned
from wavelet.packs.members import refused
from wavelet.packs.reading import certificate_path
from wavelet.packs.spec import CertificatesSource, PackSpec

NAME = "certificates.d"
"""The directory's name: it lies beside the directory of packs."""

_SUFFIXES = (".pem", ".crt")
_AT_STAKE = "whom programs in everybody's containers trust"


def takes_site_certificates(spec: PackSpec) -> bool:
    """Tell whether a pack has the site's certificates in it. Pure."""
    return any(isinstance(layer.source, CertificatesSource) and layer.source.is_site for layer in spec.layers)


def with_site_certificates(spec: PackSpec, directory: Path, owners: Collection[int]) -> tuple[PackSpec, str]:
    """Return a pack with the files that are in the directory now, and what tells whether they have changed.

    Of a directory without any, or that is not there, it has none.

    Raises:
        PackRefused: two files would be one, or something cannot be looked at.
        UnsafeOwner: somebody else than `owners` could change a file.
    """
    place = f"{directory.name}"
    files: dict[str, str] = {}
    said: list[str] = []
    try:
        for path in sorted(directory.iterdir()) if directory.exists() else ():
            if not path.name.endswith(_SUFFIXES) or path.name.startswith("."):
                continue
            check_owned(path, owners, _AT_STAKE)
            if other := files.get(certificate_path(path.name)):
                raise refused(place, f"{path.name} and {other} would be one file; rename one")
            files[certificate_path(path.name)] = path.name
            status = path.stat()
            changed = f"{status.st_mtime_ns}\0{status.st_ctime_ns}\0{status.st_ino}"
            said.append(f"{path.name}\0{status.st_size}\0{changed}")
    except OSError as error:
        raise refused(place, f"{error.filename}: {error.strerror}") from None
    source = CertificatesSource(tuple(files.values()), True, str(directory))
    layers = [
        replace(layer, source=source)
        if isinstance(layer.source, CertificatesSource) and layer.source.is_site
        else layer
        for layer in spec.layers
    ]
    return replace(spec, layers=tuple(layers)), hashlib.sha256("\1".join(said).encode()).hexdigest() if files else ""
