"""Texts of printable ASCII as parts of image names, reversibly. Pure.

A component of a repository's name has lower-case letters and digits, and between two of them `.`, `_`, `__` or hyphens
(distribution-spec, "Pulling manifests"). These stand for themselves, single ones at least; everything else is `__` and
a code: two letters, `u` and a letter for one in upper case, `x` and two hexadecimal digits for what has no code. An `=`
in front of a digit is `__` alone. A text that does not begin with a letter or digit has `x__bg` in front.

Tags may begin with an underscore and have upper case; all else is the same.
"""

from __future__ import annotations

import re
import string

from wavelet.errors import InvalidName

_CODES = {
    "::": "cc", ">=": "ge", "<=": "le", "==": "eq", "!=": "ne", "~=": "ce", "=": "is", ">": "gt", "<": "lt",
    ",": "an", "|": "or", "*": "st", "!": "ep", "+": "pl", "/": "sl", ":": "co", "@": "at", ";": "se", " ": "sp",
    "[": "bo", "]": "bc", "(": "po", ")": "pc", "'": "sq", '"': "dq", "^": "ca", "$": "do", "~": "ti",
    ".": "dt", "-": "hy", "_": "lo",
}  # fmt: skip
_TEXTS = {code: text for text, code in _CODES.items()}
_PAIRS = frozenset(text for text in _CODES if len(text) == 2)
_BEGIN = "x__bg"
_SEPARATORS = ".-_"
_LOWER = frozenset(string.ascii_lowercase + string.digits)
_ANY_CASE = _LOWER | frozenset(string.ascii_uppercase)
_TOKEN = re.compile(r"__(?=[0-9])|__u[a-z]|__x[0-9a-f]{2}|__[a-tv-wyz][a-z]|[^_]|_(?!_)")


def encode_component(text: str) -> str:
    """Return `text` as a component of a repository's name. It has to be printable ASCII and not empty."""
    encoded = _encode(text, _LOWER)
    return encoded if encoded[0] in _LOWER else _BEGIN + encoded


def encode_tag(text: str) -> str:
    """Return `text` as a tag, or a part of one."""
    return _encode(text, _ANY_CASE)


def decode(encoded: str) -> str:
    """Return the text that a component, a tag or a part of them stands for.

    Raises:
        InvalidName: a code is none.
    """
    encoded = encoded.removeprefix(_BEGIN)
    found, end = [], 0
    for token in _TOKEN.finditer(encoded):
        if token.start() != end:
            break
        text = _decoded(token[0])
        if text is None:
            break
        found.append(text)
        end = token.end()
    if end != len(encoded):
        raise InvalidName(f"{encoded[end : end + 4]!r} in {encoded[:200]!r} is no code of conda names")
    return "".join(found)


def _decoded(token: str) -> str | None:
    if not token.startswith("__"):
        return token
    code = token[2:]
    if not code:
        return "="
    if code[0] == "u":
        return code[1].upper()
    return chr(int(code[1:], 16)) if code[0] == "x" else _TEXTS.get(code)


def _encode(text: str, plain: frozenset[str]) -> str:
    encoded: list[str] = []
    index = 0
    while index < len(text):
        here, following = text[index], text[index + 1 : index + 2]
        if here in plain or (here in _SEPARATORS and _stands(encoded) and following in plain):
            encoded.append(here)
        elif here + following in _PAIRS:
            encoded.append(f"__{_CODES[here + following]}")
            index += 1
        else:
            encoded.append("__" if here == "=" and following.isdigit() else f"__{_code_of(here)}")
        index += 1
    return "".join(encoded)


def _stands(encoded: list[str]) -> bool:
    """Tell whether a separator can follow what is encoded so far: it does not begin the text, nor follow another."""
    return bool(encoded) and encoded[-1][-1] not in _SEPARATORS


def _code_of(character: str) -> str:
    if character in string.ascii_uppercase:
        return f"u{character.lower()}"
    return _CODES.get(character) or f"x{ord(character):02x}"
