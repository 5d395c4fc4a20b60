"""Certificates of packs: files that a site has as PEM, checked, as entries of a layer that asks for being merged.

Every certificate is read, and what is written is that and nothing else: no key, no comment, one form. What becomes of
the layer on an image is `kinds/augment/certificates.py`'s. Blocks, but for what is said to be pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wavelet import plain_files
from wavelet.archive.tar_format import FILE
from wavelet.kinds.augment.trust import read_pem, write_pem
from wavelet.packs.members import refused
from wavelet.packs.reading import certificate_path
from wavelet.packs.sources import Entry, inside
from wavelet.packs.spec import CertificatesSource

FILE_LIMIT = 4 * 1024 * 1024
"""Bytes of a file with certificates."""

_KEY = b"PRIVATE KEY-----"


def of_certificates(root: Path, source: CertificatesSource, place: str) -> Iterator[Entry]:
    """Yield the files of certificates, in the order of their paths in the image.

    Args:
        root: the directory of the pack.
        source: which files there are.
        place: where that is said, for messages.

    Raises:
        PackRefused: one is not there, or not what it should be.
    """
    for path in sorted(source.files, key=certificate_path):
        file = inside(root, path, place) if not source.directory else Path(source.directory, path)
        try:
            data, _ = plain_files.read(file, FILE_LIMIT, follow=True)
        except OSError as error:
            raise refused(place, f"{path}: {error.strerror}") from None
        pem = normalised(data, f"{place}: {path}")
        yield Entry(certificate_path(path), FILE, size=len(pem), chunks=iter((pem,)))


def normalised(data: bytes, place: str) -> bytes:
    """Return the certificates of a file as PEM, each once. Pure.

    Raises:
        PackRefused: one is broken, there is none, or a private key is with them.
    """
    if _KEY in data:
        raise refused(place, "has a private key in it, which everybody could read in images; leave it out of the file")
    trusted = read_pem(data)
    if trusted.broken:
        raise refused(place, f"{trusted.broken} of its entries are not certificates (X.509)")
    if not trusted.certificates:
        raise refused(place, "has no certificate in it: -----BEGIN CERTIFICATE-----")
    return write_pem(trusted.certificates)
