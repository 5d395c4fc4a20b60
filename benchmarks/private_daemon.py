"""This user's own daemon, as tasks start it: from `wavelet ensure` without a daemon (and without a directory) until it
returns, when the daemon has answered; the same where it runs already, which later tasks pay, and `wavelet status`,
beside an empty Python.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from field import Field
from report import Row, bounded

from lab.private import WAVELET, Private

COLD, WARM = 7, 21


def measure(field: Field) -> list[Row]:
    """Return the times of both."""
    cold: list[float] = []
    for _ in range(COLD):
        private = Private(field.fresh("ensure"))
        try:
            cold.append(_seconds(private.command("ensure"), private))
        finally:
            private.end()
    private = Private(field.fresh("ensure"))
    try:
        private.ensure()
        warm = [1000 * _seconds(private.command("ensure"), private) for _ in range(WARM)]
        status = [1000 * _seconds(_status(private), private) for _ in range(WARM)]
        empty = [1000 * _seconds((sys.executable, "-c", "pass"), private) for _ in range(WARM)]
    finally:
        private.end()
    return [
        bounded("`wavelet ensure` to the first answer", cold, "s", 1.0),
        bounded("`wavelet ensure`, it runs", warm, "ms", 150.0, f"empty Python: {sorted(empty)[WARM // 2]:.3g} ms"),
        bounded("`wavelet status`", status, "ms", 150.0),
    ]


def _status(private: Private) -> list[str]:
    return [*WAVELET, "status", "--address", private.endpoint.removeprefix("http://")]


def _seconds(command: Sequence[str], private: Private) -> float:
    started = time.monotonic()
    subprocess.run(command, env=private.variables, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - started
