"""Certificates that programs trust, as the files that they read them from: PEM bundles and Java's key stores. Pure.

What comes from images is bounded by whoever reads it, and is parsed without passwords: no bytes of an image say how
long that takes.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wavelet.lazy_module import LazyModule

if TYPE_CHECKING:
    from cryptography import x509
else:
    x509 = LazyModule("cryptography.x509")

_PEM = re.compile(rb"-----BEGIN (X509 )?CERTIFICATE-----([^-]*)-----END (?:X509 )?CERTIFICATE-----")
_BEGIN = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----")
_COLUMNS = 64

_JKS, _JKS_VERSIONS = 0xFEEDFEED, (1, 2)
_TRUSTED = 2
_WHITENER = b"Mighty Aphrodite"
PASSWORD = "changeit"  # noqa: S105 - of Java's own stores; it keeps nothing secret, and programs need not know it
"""By which the sum of a store is made."""

_CERT_BAG = bytes.fromhex("060a2a864886f70d01091601")
"""The identifier 1.2.840.113549.1.9.22.1, x509Certificate (RFC 7292, 4.2.3), as DER."""


_CERTIFICATE_LIMIT = 64 * 1024
"""Bytes of a certificate in a PKCS#12 file: each says itself where it ends, and they could be told to overlap."""
_ENCRYPTED = bytes.fromhex("06092a864886f70d010706")
"""1.2.840.113549.1.7.6, encryptedData (RFC 7292, 4.1): a part that only a password opens."""
_KEYS = tuple(bytes.fromhex(f"060b2a864886f70d010c0a01{kind}") for kind in ("01", "02", "05"))
"""1.2.840.113549.1.12.10.1, bags (RFC 7292, 4.2): a key, a key that is encrypted, a secret."""


class Broken(ValueError):
    """Bytes are not what they should be; the message says what is wrong, and not whose they are."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """Certificates of a file, each once, as DER, in its order.

    Attributes:
        aliases: what a Java store calls them, where it does.
        broken: how many are no certificates, and were left out.
    """

    certificates: tuple[bytes, ...] = ()
    aliases: dict[bytes, str] = field(default_factory=dict)
    broken: int = 0


def read_pem(data: bytes) -> Trusted:
    """Return the certificates of a PEM file (RFC 7468), whatever stands between them; one alone may be DER."""
    if _BEGIN.search(data) is None:
        return _trusted([data]) if data.startswith(b"\x30") else Trusted()
    found = [_decoded(match[2]) for match in _PEM.finditer(data)]
    trusted = _trusted(found)
    # What begins and never ends is broken too.
    return Trusted(trusted.certificates, broken=trusted.broken + len(_BEGIN.findall(data)) - len(found))


def write_pem(certificates: Iterable[bytes]) -> bytes:
    """Return a PEM file with certificates."""
    return b"".join(map(_pem, certificates))


def read_java(data: bytes) -> Trusted:
    """Return the certificates of a Java store: JKS, or PKCS#12 without a password, as Java 18 and newer has it.

    Raises:
        Broken: it is neither, or holds more than certificates.
    """
    if data.startswith(struct.pack(">I", _JKS)):
        try:
            return _read_jks(data)
        except (struct.error, UnicodeDecodeError) as error:
            raise Broken(f"it is damaged ({error})") from None
    if data.startswith(b"\x30") and any(part in data for part in (_ENCRYPTED, *_KEYS)):
        raise Broken("it is a PKCS#12 file with keys, or with parts that need a password")
    found = _trusted(_bags(data)) if data.startswith(b"\x30") else Trusted()
    if not found.certificates:
        raise Broken("it is neither a JKS file nor a PKCS#12 file without a password")
    return found


def write_java(certificates: Sequence[bytes], aliases: dict[bytes, str]) -> bytes:
    """Return a JKS file, which every Java reads, with certificates; those without an alias are called by their digest.

    JKS has no salt, so that it is a function of the certificates. All entries are of the same time.
    """
    named: dict[str, bytes] = {}
    for certificate in certificates:
        alias = aliases.get(certificate, "")
        if not alias or alias in named:
            alias = f"wavelet-{hashlib.sha256(certificate).hexdigest()[:32]}"
        named[alias] = certificate
    parts = [struct.pack(">III", _JKS, 2, len(named))]
    for alias, certificate in named.items():
        parts.append(struct.pack(">I", _TRUSTED) + _utf(alias) + struct.pack(">q", 0) + _utf("X.509"))
        parts.append(struct.pack(">I", len(certificate)) + certificate)
    body = b"".join(parts)
    # It only tells damage, and Java knows no other sum here.
    return body + hashlib.sha1(PASSWORD.encode("utf-16-be") + _WHITENER + body, usedforsecurity=False).digest()


def joined(*groups: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return certificates of several groups, each once, at its first place."""
    return tuple(dict.fromkeys(each for group in groups for each in group))


def _trusted(found: Iterable[bytes]) -> Trusted:
    good: dict[bytes, None] = {}
    broken = 0
    for each in found:
        if _is_certificate(each):
            good[each] = None
        else:
            broken += 1
    return Trusted(tuple(good), broken=broken)


def _is_certificate(data: bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what old certificates have that new ones may not
        try:
            x509.load_der_x509_certificate(data)
        except ValueError:
            return False
    return True


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except ValueError:
        return b""


def _pem(certificate: bytes) -> bytes:
    text = base64.b64encode(certificate)
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""])


def _utf(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _read_jks(data: bytes) -> Trusted:
    _, version, count = struct.unpack_from(">III", data)
    if version not in _JKS_VERSIONS:
        raise Broken(f"it is of an unknown version {version}")
    at = 12
    found: list[bytes] = []
    aliases: dict[bytes, str] = {}
    for _ in range(count):
        (tag,) = struct.unpack_from(">I", data, at)
        if tag != _TRUSTED:
            raise Broken("it holds more than certificates")
        alias, at = _string(data, at + 4)
        at += 8
        if version > 1:
            _, at = _string(data, at)
        (size,) = struct.unpack_from(">I", data, at)
        certificate = data[at + 4 : at + 4 + size]
        at += 4 + size
        found.append(certificate)
        aliases.setdefault(certificate, alias)
    trusted = _trusted(found)
    return Trusted(trusted.certificates, aliases, trusted.broken)


def _string(data: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">H", data, at)
    return data[at + 2 : at + 2 + size].decode(), at + 2 + size


def _bags(data: bytes) -> Iterator[bytes]:
    """Yield the certificates of a PKCS#12 file that is not encrypted: an octet string after their type's identifier."""
    at = 0
    while (at := data.find(_CERT_BAG, at)) >= 0:
        at += len(_CERT_BAG)
        start, _ = _value(data, at, 0xA0)
        start, end = _value(data, start, 0x04)
        if end - start <= _CERTIFICATE_LIMIT:
            yield data[start:end]


def _value(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return where a value with this tag begins and ends; nothing, where there is another tag."""
    if data[at : at + 1] != bytes([tag]):
        return at, at
    size = data[at + 1] if at + 1 < len(data) else 0
    at += 2
    if size & 0x80:
        digits = size & 0x7F
        size = int.from_bytes(data[at : at + digits], "big")
        at += digits
    return at, at + size
