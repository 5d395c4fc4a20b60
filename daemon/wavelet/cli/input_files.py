"""Files and tokens that arguments name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from wavelet.errors import InvalidRequest

STDIN = "-"

_TOKEN = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def token_in(text: str) -> str:
    """Return the token of a container request in its name or its pages' address; else the text as it is."""
    found = _TOKEN.search(text)
    return found[0] if found else text


def has_token(text: str) -> bool:
    """Tell whether a text has the token of a container request in it."""
    return _TOKEN.search(text) is not None


def text_of(name: str, option: str) -> str:
    """Return a file's text, or that of standard input for `-`.

    Raises:
        InvalidRequest: it cannot be read; the option is named.
    """
    try:
        return sys.stdin.read() if name == STDIN else Path(name).read_text("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{option}: {name} is not text") from None
    except OSError as error:
        raise InvalidRequest(f"{option}: {name} cannot be read: {error.strerror}") from None
