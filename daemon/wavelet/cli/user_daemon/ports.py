"""Ports in arguments. Standard library only, and little of it."""

from __future__ import annotations

import argparse


def port(text: str) -> int:
    """Return a port that a user's own daemon may have.

    Raises:
        argparse.ArgumentTypeError: no such number.
    """
    if not (text.isascii() and text.isdecimal() and 1024 <= int(text[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1024 to 65535")
    return int(text)
