"""Activation without a shell of its own: an image's environment, and scripts where packages have such (pure).

`PATH` and the two variables are what Wave's images set, and are enough for most packages. What others put into
`etc/conda/activate.d` is run by bash itself (`BASH_ENV`, so in every `bash -ue script` as workflow engines start them)
and by an entry point (`docker run IMAGE tool`). Each script runs in a subshell, of which only the exported variables
are taken over: whatever it does, `exit` and syntax errors too, the task goes on, with its own shell options, traps and
standard input. A variable that a script unsets stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wavelet.image.config import merge_env
from wavelet.plan.conda import PREFIX

SCRIPTS = "etc/conda/activate.d/"
"""Where packages have their scripts, relative to the prefix; `*.sh` is for bash and sh."""

ACTIVATE = "etc/wavelet/activate.sh"
ENTRYPOINT = "etc/wavelet/entrypoint.sh"

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What engines set where an image has no PATH."""

_ACTIVATE = """\
# Runs the activation scripts of the packages in @PREFIX@ once; shells inside of this one inherit what they export.
if [ "${WAVELET_ACTIVATED-}" != '@MARK@' ]; then
  export WAVELET_ACTIVATED='@MARK@'
  for _wavelet_script in @SCRIPTS@; do
    [ -r "$_wavelet_script" ] || continue
    _wavelet_exports="$(
      set +eu
      exec 3>&1 </dev/null >/dev/null 2>&1
      trap 'unset PWD OLDPWD SHLVL; export -p >&3' EXIT
      . "$_wavelet_script"
    )" || :
    eval "$_wavelet_exports" 2>/dev/null || :
  done
  unset _wavelet_script _wavelet_exports
fi
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
    quoted = " ".join(_quoted(f"{PREFIX}/{path}") for path in scripts)
    activate = _ACTIVATE.replace("@PREFIX@", PREFIX).replace("@MARK@", mark).replace("@SCRIPTS@", quoted)
    entrypoint = _ENTRYPOINT.replace("@PREFIX@", PREFIX).replace("@ACTIVATE@", ACTIVATE)
    return {ACTIVATE: activate.encode(), ENTRYPOINT: entrypoint.encode()}


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
