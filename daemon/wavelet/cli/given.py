"""Files that arguments name."""

from __future__ import annotations

import sys
from pathlib import Path

from wavelet.errors import InvalidRequest

STDIN = "-"


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
