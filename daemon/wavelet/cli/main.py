"""The entry point of the `wavelet` command: arguments in, exit code out.

Exit codes: 0 done, 1 failed (the daemon's part, or a registry's or channel's), 2 wrong arguments or settings (as
argparse has it), 3 no daemon answers, 4 the request is refused as it stands, 70 a defect, 130 interrupted, 141 nobody
reads the output any more (the last two as shells count the end by SIGINT and SIGPIPE).
"""

from __future__ import annotations

import argparse
import errno
import os
import sys

from wavelet.cli.on_demand import config, traceback
from wavelet.cli.parser import parse
from wavelet.errors import CallerError, WaveletError

EXIT_ARGUMENTS = 2
EXIT_DEFECT = 70
"""sysexits.h: EX_SOFTWARE."""
EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
"""What writing to standard output fails with, where it is a file."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - pathlib takes time to import, and fails here
        os.environ["HOME"] = "/"  # a uid that nobody has named, in a container: as container engines set it
    _open_missing()
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        return _run(options)
    except WaveletError as error:
        print(f"wavelet: {error.message}", file=sys.stderr)
        return EXIT_ARGUMENTS if isinstance(error, (config.ConfigError, CallerError)) else 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (UnicodeEncodeError, OSError) as error:
        return _stream_trouble(error)
    except ModuleNotFoundError as error:
        return _missing(error)
    except Exception as error:  # noqa: BLE001 - the last resort: one sentence, and the details where they were asked for
        return _defect(error)


def _open_missing() -> None:
    """Open the standard streams that this process was started without: else the next file has their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _write_no_more() -> None:
    """Let what is still to be written fail no more when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stream_trouble(error: UnicodeEncodeError | OSError) -> int:
    """Return the exit code for what cannot be written, or can be no text of a message."""
    if isinstance(error, BrokenPipeError):
        _write_no_more()
        return EXIT_UNREAD
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        print("wavelet: an argument, or what was read, is not UTF-8; write it in UTF-8", file=sys.stderr)
        return EXIT_ARGUMENTS
    if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
        _write_no_more()
        print(f"wavelet: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return _defect(error)


def _missing(error: ModuleNotFoundError) -> int:
    """Say which library is not there, and how to get it; a module of wavelet itself is a defect."""
    if not error.name or error.name.partition(".")[0] == "wavelet":
        return _defect(error)
    remedy = "pip install 'wavelet[daemon]'"
    print(f"wavelet: {error.name} is not installed, which this command needs: {remedy}", file=sys.stderr)
    return EXIT_ARGUMENTS


def _defect(error: Exception) -> int:
    """Say that there is a defect, and where. The error's own words may have a secret in them."""
    if os.environ.get("WAVELET_LOG_LEVEL") == "debug":
        traceback.print_exception(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" in {trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else ""
    said = f"{type(error).__name__}{where}; WAVELET_LOG_LEVEL=debug says more"
    print(f"wavelet: a defect: {said}", file=sys.stderr)
    return EXIT_DEFECT


def _run(options: argparse.Namespace) -> int:
    code = int(options.run(options))
    sys.stdout.flush()  # while it can still be seen that nobody reads
    return code


if __name__ == "__main__":
    sys.exit(main())
