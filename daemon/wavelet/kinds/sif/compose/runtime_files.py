"""What Apptainer and Singularity look for in an image beyond what an OCI image has: `.singularity.d`, mount points.

Written anew, and short: the scripts that run a container (`.singularity.d/actions`) are in Apptainer itself. As after a
pull from a registry by Apptainer,

- what a user gives (`--env`, `APPTAINERENV_…`) goes before the image's values, and these before those of his own
  environment;
- `apptainer run IMAGE ARGUMENTS` is `docker run IMAGE ARGUMENTS`: they take the place of the command, behind the entry
  point; without either, a shell is run;
- it runs in the directory that Apptainer chooses (the caller's, as a rule), not in the image's `WorkingDir`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import msgspec

from wavelet import foreign_json
from wavelet.errors import UpstreamBroken
from wavelet.foreign_json import ForeignJsonError
from wavelet.kinds.sif.segments.index import Entry

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_INTERPRETED = 'if false; then\neval "set ${SINGULARITY_OCI_RUN}"\nfi\n'
"""A line by which Apptainer knows a script that it may interpret itself, so that an image needs no shell for it."""

_BASE = """\
#!/bin/sh
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/.singularity.d/libs"
"""
"""The last script of the environment. Behind the one of this name, and only there, Apptainer sets what the user gives
(`--env`, `APPTAINERENV_…`); and it binds libraries into this directory (`--nv`, `--rocm`, `--compat32`)."""

_NOTHING = "#!/bin/sh\n"
"""What `apptainer instance start` and `apptainer test` run, which fail where there is nothing to run."""


class _Settings(msgspec.Struct, rename="pascal"):
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    labels: dict[str, str] | None = None


class _Document(msgspec.Struct):
    config: _Settings | None = None


def runtime_files(config: bytes) -> dict[bytes, tuple[int, bytes]]:
    """Return the files of `.singularity.d`: paths, with permissions and content.

    Args:
        config: the image's configuration, as it came.

    Raises:
        UpstreamBroken: it is none.
    """
    try:
        settings = foreign_json.decode(config, _Document).config or _Settings()
    except ForeignJsonError as error:
        raise UpstreamBroken(f"the image's configuration cannot be read: {error}") from None
    labels = json.dumps(settings.labels or {}, indent=1, sort_keys=True) + "\n"
    return {
        b".singularity.d/env/10-docker2singularity.sh": (0o755, _bytes(environment_script(settings.env or ()))),
        b".singularity.d/env/99-base.sh": (0o755, _bytes(_BASE)),
        b".singularity.d/labels.json": (0o644, _bytes(labels)),
        b".singularity.d/runscript": (0o755, _bytes(run_script(settings.entrypoint or (), settings.cmd or ()))),
        b".singularity.d/startscript": (0o755, _bytes(_NOTHING)),
        b".singularity.d/test": (0o755, _bytes(_NOTHING)),
    }


def environment_script(variables: Iterable[str]) -> str:
    """Return a script that is sourced before anything runs; what is no name of a variable is left out."""
    lines = ["#!/bin/sh"]
    for variable in variables:
        name, has_value, value = variable.partition("=")
        if not _NAME.fullmatch(name) or "\0" in value:
            continue
        if name == "PATH" and has_value:
            lines.append(f"export PATH={_quoted(value)}")
        else:
            lines.append(f'if [ -z "${{{name}:-}}" ]; then {name}={_quoted(value)}; fi; export {name}')
    return "\n".join(lines) + "\n"


def run_script(entrypoint: Iterable[str], command: Iterable[str]) -> str:
    """Return the script of `apptainer run`."""
    entry, replaced = (" ".join(map(_quoted, words)) for words in (entrypoint, command))
    if not entry and not replaced:
        replaced = "/bin/sh"
    script = "#!/bin/sh\n" + _INTERPRETED
    if replaced:
        script += f"if [ $# -eq 0 ]; then set -- {replaced}; fi\n"
    if entry:
        script += f'set -- {entry} "$@"\n'
    return script + 'exec "$@"\n'


def _quoted(word: str) -> str:
    """Return a word that a shell takes as it is."""
    return "'" + word.replace("'", "'\"'\"'") + "'"


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _directory(path: bytes, mode: int = 0o755) -> Entry:
    return Entry(path, "directory", mode)


def _file(path: bytes) -> Entry:
    return Entry(path, "file", 0o644)


MISSING = tuple(
    sorted(
        (
            _directory(b".singularity.d/libs"),
            _directory(b"dev"),
            _directory(b"etc"),
            *map(_file, (b"etc/group", b"etc/hosts", b"etc/passwd", b"etc/resolv.conf")),
            _directory(b"home"),
            _directory(b"proc"),
            _directory(b"root", 0o700),
            Entry(b"singularity", "symlink", 0o777, target=b".singularity.d/runscript"),
            _directory(b"sys"),
            _directory(b"tmp", 0o1777),
            _directory(b"var"),
            _directory(b"var/tmp", 0o1777),
        ),
        key=lambda entry: entry.order,
    )
)
"""What there has to be, where an image has nothing in its place: the points that Apptainer mounts at, and a link."""
