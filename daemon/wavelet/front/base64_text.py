"""Texts in base64, as Wave's members carry files. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from wavelet.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Base64Text:
    """The text of a file in base64; `field` is the member that has it."""

    data: str
    field: str

    def read(self) -> str:
        """Return the text. See `decoded` for the errors."""
        return decoded(self.data, self.field)


def decoded(data: str, field: str) -> str:
    """Return the text.

    Raises:
        InvalidRequest: not base64 in its canonical form (RFC 4648, 4), or not UTF-8 in it.
    """
    try:
        raw = base64.b64decode(data.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidRequest(f"{field}: is not base64", field=field) from None
    if base64.b64encode(raw).decode("ascii") != data:
        raise InvalidRequest(f"{field}: is not canonical base64", field=field)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{field}: is base64, but not of a text in UTF-8", field=field) from None
