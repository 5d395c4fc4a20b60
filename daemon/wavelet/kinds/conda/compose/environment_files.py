"""Files of an environment that no package brings: what conda knows it by, and its activation. Pure.

`conda-meta` has a record of each package, so that `conda list`, `micromamba list` and scanners see them, its history,
and the lock as a file that all of them install from. Nothing in it says where or when the image was made.

`PATH` and the two variables are what Wave's images set, and are enough for most packages. What others put into
`etc/conda/activate.d` is run when bash starts (`BASH_ENV`, so in every `bash -ue script` as workflow engines start
them), by an entry point (`docker run IMAGE tool`) and in login shells (`/etc/profile.d`).

Scripts are written for bash, so bash runs them where the image has one, whichever shell asks for it; only without one
does that shell. They run in a process of their own, each in a subshell, of which only the exported variables are taken
over: whatever one does, `exit` and syntax errors too, the task goes on, with its own shell options, traps and standard
input. A variable that a script unsets stays. What failed in a shell that is not bash is not marked as done.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from wavelet.archive import gzip_members
from wavelet.archive.tar_format import DIRECTORY_TIME, END, padding
from wavelet.image.image import merge_env
from wavelet.image.reference import Digest
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.link.prefix_layer import ENTRIES
from wavelet.kinds.conda.model.packages import PREFIX, Package

DIRECTORY = "conda-meta"
EXPLICIT = f"{DIRECTORY}/explicit.txt"
HISTORY = f"{DIRECTORY}/history"

_HISTORY_START = "==> 1980-01-01 00:00:00 <==\n# cmd: wavelet\n"
"""How conda's history begins a revision. Its time is that of all files here, for want of one that is the image's."""


class Layer(NamedTuple):
    """A layer as bytes, and the digest of its tar."""

    blob: bytes
    diff_id: Digest


def records(packages: Iterable[tuple[Package, LayerInfo]]) -> dict[str, bytes]:
    """Return the record of each package by its path: its index.json, where it came from, and its files."""
    return {f"{DIRECTORY}/{p.stem}.json": msgspec.json.encode(record(p, info), order="sorted") for p, info in packages}


def record(package: Package, info: LayerInfo) -> dict[str, object]:
    """Return a package's record as rattler's `PrefixRecord` and conda's have it."""
    # Without MD5 and size: locks have them or not, and it is the same image.
    return {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": 0,
        "depends": [],
        **info.index,
        "subdir": package.subdir,
        "url": package.url,
        "channel": package.channel,
        "fn": package.file_name,
        "sha256": package.sha256,
        "files": sorted([*info.files, *info.links]),
    }


def history(packages: Iterable[Package]) -> bytes:
    """Return the history of an environment that was made at once."""
    lines = (f"+{package.channel}/{package.subdir}::{package.stem}\n" for package in packages)
    return (_HISTORY_START + "".join(lines)).encode()


def layer(documents: Mapping[str, bytes], programs: Mapping[str, bytes]) -> Layer:
    """Return the layer with these files, of which `programs` are executable.

    Paths are relative to the prefix, or begin with a slash: of these the directories are the base's, and left as it
    has them.
    """
    inside = [path for path in (*documents, *programs) if not path.startswith("/")]
    directories = sorted({str(parent) for path in inside for parent in PurePosixPath(path).parents})
    entries = [ENTRIES.directories("" if each == "." else each for each in directories)]
    for path, data in sorted({**documents, **programs}.items()):
        header = ENTRIES.file_header(path, len(data), DIRECTORY_TIME, executable=path in programs)
        entries += [header, data, padding(len(data))]
    return _archive([*entries, END])


def _archive(parts: Sequence[bytes]) -> Layer:
    data = b"".join(parts)
    return Layer(gzip_members.member(data), Digest(f"sha256:{hashlib.sha256(data).hexdigest()}"))


SCRIPTS = "etc/conda/activate.d/"
"""Where packages have their scripts, relative to the prefix; `*.sh` is for bash and sh."""

ACTIVATE = "etc/wavelet/activate.sh"
ENTRYPOINT = "etc/wavelet/entrypoint.sh"
RUN_BY_BASH, RUN_BY_SH = "etc/wavelet/activate-by-bash.sh", "etc/wavelet/activate-by-sh.sh"
"""What is sourced, what starts a container, and what the scripts are run by; relative to the prefix."""

PROFILE = "/etc/profile.d/wavelet.sh"
"""What login shells read after `/etc/profile`, which sets `PATH` anew in most images."""

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What engines set where an image has no PATH."""

_ACTIVATE = """\
# Runs the activation scripts of the packages in @PREFIX@ once; shells inside of this one inherit what they export.
if [ "${WAVELET_ACTIVATED-}" != '@MARK@' ]; then
  _wavelet_exports="$(BASH_ENV='' exec bash '@PREFIX@/@BY_BASH@' </dev/null 2>/dev/null)" || _wavelet_exports=''
  if [ -z "$_wavelet_exports" ]; then
    # There is no bash here, or none that can be found.
    _wavelet_exports="$(set +eu; . '@PREFIX@/@BY_SH@')" || :
  fi
  eval "$_wavelet_exports" 2>/dev/null || :
  unset _wavelet_exports
fi
"""

_RUN = """\
# Runs the activation scripts, and prints what they export for any shell to read. Run by @ACTIVATE@.
exec 3>&1 </dev/null >/dev/null 2>&1
@PRINT@
WAVELET_ACTIVATED='@MARK@'
for _wavelet_script in @SCRIPTS@; do
  [ -r "$_wavelet_script" ] || continue
  _wavelet_exports="$(
    exec 4>&1 >/dev/null
    trap '_wavelet_print >&4' EXIT
    # What it leaves running in the background must not hold the pipes that are read to their end.
    . "$_wavelet_script" 3>&- 4>&-
    _wavelet_status=$?
    trap - EXIT
    _wavelet_print >&4
    exit "$_wavelet_status"
  )" || @FAILED@
  eval "$_wavelet_exports" || :
done
export WAVELET_ACTIVATED WAVELET_PATH="$PATH"
_wavelet_print >&3
"""

_PRINT_BY_BASH = r"""_wavelet_print() {
  builtin local IFS=$'\n' _wavelet_name _wavelet_value _wavelet_quote="'\\''"
  for _wavelet_name in $(builtin compgen -e); do
    case $_wavelet_name in
      _ | _wavelet_* | PWD | OLDPWD | SHLVL | IFS | BASH_ENV | BASHOPTS | SHELLOPTS | UID | EUID | PPID) continue ;;
    esac
    _wavelet_value=${!_wavelet_name//\'/"$_wavelet_quote"}
    builtin printf "export %s='%s'\n" "$_wavelet_name" "$_wavelet_value"
  done
}"""

_PRINT_BY_SH = """_wavelet_print() {
  unset PWD OLDPWD SHLVL BASH_ENV
  export -p
}"""

_PROFILE = """\
# The programs of packages in login shells, whose /etc/profile may have set PATH anew.
case ":${PATH-}:" in
  *':@PREFIX@/bin:'*) ;;
  *) export PATH="${WAVELET_PATH:-@PREFIX@/bin}:${PATH-}" ;;
esac
"""

_PROFILE_ACTIVATES = """\
if [ -r '@PREFIX@/@ACTIVATE@' ]; then . '@PREFIX@/@ACTIVATE@'; fi
"""

_ENTRYPOINT = """\
#!/bin/sh
. '@PREFIX@/@ACTIVATE@'
exec "$@"
"""


def scripts_among(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the activation scripts among a prefix's paths, in the order in which conda runs them."""
    return tuple(sorted({path for path in paths if path.startswith(SCRIPTS) and path.endswith(".sh")}))


def files(scripts: tuple[str, ...], mark: str) -> dict[str, bytes]:
    """Return the executable files that run `scripts`, by their paths; `mark` tells this environment from others."""
    if not scripts:
        return {}
    values = {
        "PREFIX": PREFIX,
        "MARK": mark,
        "ACTIVATE": ACTIVATE,
        "BY_BASH": RUN_BY_BASH,
        "BY_SH": RUN_BY_SH,
        "SCRIPTS": " ".join(_quoted(f"{PREFIX}/{path}") for path in scripts),
    }
    # What bash could not do, no other shell can; but what another one could not do, bash may be able to.
    by_bash = _filled(_RUN, values | {"PRINT": _PRINT_BY_BASH, "FAILED": ":"})
    by_sh = _filled(_RUN, values | {"PRINT": _PRINT_BY_SH, "FAILED": "WAVELET_ACTIVATED=''"})
    texts = {ACTIVATE: _ACTIVATE, ENTRYPOINT: _ENTRYPOINT, RUN_BY_BASH: by_bash, RUN_BY_SH: by_sh}
    return {path: _filled(text, values).encode() for path, text in texts.items()}


def profile(scripts: tuple[str, ...]) -> bytes:
    """Return the file at `PROFILE`."""
    return _filled(_PROFILE + _PROFILE_ACTIVATES * bool(scripts), {"PREFIX": PREFIX, "ACTIVATE": ACTIVATE}).encode()


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub("@([A-Z_]+)@", lambda found: values.get(found[1], found[0]), text)


def environment(base: Iterable[str], env_vars: Mapping[str, str], scripts: tuple[str, ...]) -> list[str]:
    """Return the image's environment, from its base's."""
    path = dict(entry.partition("=")[::2] for entry in base).get("PATH") or _DEFAULT_PATH
    own = [f"PATH={PREFIX}/bin:{path}", f"CONDA_PREFIX={PREFIX}", f"MAMBA_ROOT_PREFIX={PREFIX}"]
    sourced = [f"BASH_ENV={PREFIX}/{ACTIVATE}"] if scripts else []
    return merge_env(base, (f"{name}={value}" for name, value in sorted(env_vars.items())), own, sourced)


def entrypoint(base: list[str], scripts: tuple[str, ...]) -> list[str]:
    """Return the image's entry point: the base's own, with the scripts' effects on it."""
    return [f"{PREFIX}/{ENTRYPOINT}", *base] if scripts else base


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "'\\''") + "'"
