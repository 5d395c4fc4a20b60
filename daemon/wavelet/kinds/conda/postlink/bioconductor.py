"""The downloads of Bioconductor's data packages when they are installed (pure).

Their archives are all but empty. The post-link script fetches R's source package: either it has the addresses and the
checksum in itself, or it asks for an entry of the table that `bioconductor-data-packages` installs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from wavelet import foreign_json
from wavelet.errors import UpstreamBroken
from wavelet.foreign_json import ForeignJsonError

TABLE = "share/bioconductor-data-packages/dataURLs.json"
"""Where the table is, relative to the prefix."""

LIBRARY = "lib/R/library"
"""Where the scripts install to, relative to the prefix."""

_ENTRY = re.compile(r"^\s*installBiocDataPackage\.sh\s+[\"']?([\w.+-]+)", re.MULTILINE)
_FILE = re.compile(r"^\s*FN=[\"']?([\w.+-]+)", re.MULTILINE)
_MD5 = re.compile(r"^\s*MD5=[\"']?([0-9a-f]{32})\b", re.MULTILINE)
_URLS = re.compile(r"^\s*URLS=\(([^)]*)\)", re.MULTILINE)
_URL = re.compile(r"(?:https?|ftp)://[^\s\"']+")


@dataclass(frozen=True, slots=True)
class Tarball:
    """R's source package.

    Attributes:
        urls: where it may be had, in their order.
        md5: in hexadecimal.
        file_name: `<R's name of the package>_<version>.tar.gz`.
    """

    urls: tuple[str, ...]
    md5: str
    file_name: str

    @property
    def proof(self) -> str:
        """A path, relative to the prefix, that exists once the package is installed."""
        return f"{LIBRARY}/{self.file_name.partition('_')[0]}/DESCRIPTION"


class _Row(msgspec.Struct):
    urls: list[str]
    md5: str
    fn: str


def tarball_of(package: str, script: str, table: bytes) -> Tarball | None:
    """Return what the script of `package` downloads, None if it is none of these scripts.

    Raises:
        UpstreamBroken: it is one, but what it downloads is not said.
    """
    entry = _ENTRY.search(script)
    if entry:
        return _checked(package, _row(package, entry[1], table))
    file, md5, urls = _FILE.search(script), _MD5.search(script), _URLS.search(script)
    if file and md5 and urls:
        return _checked(package, _Row(_URL.findall(urls[1]), md5[1], file[1]))
    return None


def _row(package: str, name: str, table: bytes) -> _Row:
    try:
        rows = foreign_json.decode(table or b"{}", dict[str, msgspec.Raw])
        if name not in rows:
            message = f"{package}: its post-link script asks for {name}, which is not in {TABLE} of this environment"
            raise UpstreamBroken(f"{message}; another version of bioconductor-data-packages may have it")
        return foreign_json.decode(bytes(rows[name]), _Row)
    except ForeignJsonError as error:
        raise UpstreamBroken(f"{package}: {TABLE} of this environment cannot be read: {error}") from None


def _checked(package: str, row: _Row) -> Tarball:
    urls = tuple(dict.fromkeys(url for url in row.urls if _URL.fullmatch(url) and url.isprintable()))
    if not urls or not re.fullmatch(r"[0-9a-f]{32}", row.md5) or not re.fullmatch(r"[\w.+-]+", row.fn):
        raise UpstreamBroken(
            f"{package}: where its data is to be had from, and with which MD5, is not said as it should be"
        )
    return Tarball(urls, row.md5, row.fn)
