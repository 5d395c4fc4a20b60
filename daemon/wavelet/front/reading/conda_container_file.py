r"""Container files that Nextflow 22.10 to 23.10 write for conda packages, as what is asked for. Pure.

FROM <image of micromamba>
[COPY --chown=$MAMBA_USER:$MAMBA_USER conda.yml /tmp/conda.yml]
RUN micromamba install -y -n base [-c <channel>]… <specs, or -f /tmp/conda.yml, or -f URL>
    [&& micromamba install -y -n base <base packages>] && micromamba clean -a -y
[USER root]
[commands of the user]

They are known by this structure and nothing is run. The specs stand on the RUN line as the user has written them,
unquoted: `python>=3.10` there would be a redirection to a shell, and is a spec here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wavelet.errors import NotServed
from wavelet.front.reading.members import COMMANDS, base_of_tool, base_packages, of_entries
from wavelet.kinds.conda.model.environment_text import Environment, read_channels, read_environment
from wavelet.kinds.conda.model.package_request import PackageRequest

_FIELD = "containerFile"
_FROM = re.compile(r"FROM (\S+)")
_COPY = "COPY --chown=$MAMBA_USER:$MAMBA_USER conda.yml /tmp/conda.yml"
_INSTALL = ["micromamba", "install", "-y", "-n", "base"]
_CLEAN = ["micromamba", "clean", "-a", "-y"]
_FILE = "/tmp/conda.yml"  # noqa: S108 - inside the image
_WORD = re.compile(r"'[^'\\]*'|\"[^\"\\$`]*\"|\S+")
_SPEC_WORD = re.compile(r"['\"]?(?:pip:)?[A-Za-z0-9_][A-Za-z0-9_.:/\-\[\]=<>!~,|*+ ]*['\"]?"
                        r"|'pip:[^'\\]*'|\"pip:[^\"\\$`]*\"")  # fmt: skip
_LOCATION = re.compile(r"https?://[A-Za-z0-9._~:/?%@!+,=-]+")
_CHANNEL = re.compile(r"[A-Za-z0-9_.:/-]+")


@dataclass(frozen=True, slots=True)
class _Install:
    """What is behind `micromamba install`."""

    channels: tuple[str, ...]
    file: str
    specs: tuple[str, ...]


def recognised(text: str, conda_file: str | None) -> PackageRequest | None:
    """Say what a generated container file asks for; None for any other.

    Args:
        text: the container file.
        conda_file: the file that lies beside it as `conda.yml`, if one does.

    Raises:
        InvalidRequest: what it asks for is wrong.
        NotServed: the user's own commands follow what is generated.
    """
    lines = _instructions(text)
    if len(lines) < 2 or (image := _FROM.fullmatch(lines[0])) is None:
        return None
    copies = lines[1] == _COPY
    if copies != (conda_file is not None):
        return None
    run, rest = (lines[2:3], lines[3:]) if copies else (lines[1:2], lines[2:])
    steps = _steps(run[0]) if run else None
    if steps is None or (steps[0].file == _FILE) != copies:
        return None
    if rest[:1] == ["USER root"]:
        rest = rest[1:]
    if rest:
        raise NotServed(f"{_FIELD}: {COMMANDS}", field=_FIELD)
    return _asked(image[1], steps, conda_file)


def _instructions(text: str) -> list[str]:
    """Return the lines, those joined that a backslash continues, with single spaces."""
    joined = re.sub(r"[ \t]*\\[ \t]*\r?\n", " ", text)
    return [line for line in (" ".join(line.split()) for line in joined.splitlines()) if line]


def _steps(line: str) -> list[_Install] | None:
    """Return the one or two installations of a RUN line; None if it does anything else."""
    if not line.startswith("RUN "):
        return None
    commands = [_WORD.findall(command) for command in line.removeprefix("RUN ").split(" && ")]
    if len(commands) not in (2, 3) or commands[-1] != _CLEAN:
        return None
    installs = [_install(words) for words in commands[:-1]]
    found = [install for install in installs if install is not None]
    if len(found) != len(installs) or any(step.file or step.channels for step in found[1:]):
        return None
    return found


def _install(words: list[str]) -> _Install | None:
    if words[:5] != _INSTALL:
        return None
    words = words[5:]
    channels: list[str] = []
    while len(words) > 1 and words[0] == "-c" and _CHANNEL.fullmatch(words[1]):
        channels.append(words[1])
        words = words[2:]
    if len(words) == 2 and words[0] == "-f" and (words[1] == _FILE or _LOCATION.fullmatch(words[1])):
        return _Install(tuple(channels), words[1], ())
    if not words or not all(_SPEC_WORD.fullmatch(word) for word in words):
        return None
    return _Install(tuple(channels), "", tuple(words))


def _asked(image: str, steps: list[_Install], conda_file: str | None) -> PackageRequest:
    first = steps[0]
    field, location = _FIELD, ""
    environment = Environment()
    if conda_file is not None:
        field = "condaFile"
        environment = read_environment(conda_file, field)
    else:
        words = (first.file,) if first.file else first.specs
        environment, location = of_entries([(_FIELD, word) for word in words])
    channels = read_channels(list(first.channels), f"{_FIELD}: channels")
    added = base_packages(" ".join(steps[1].specs), _FIELD) if len(steps) > 1 else None
    return PackageRequest(environment, field, channels, base_of_tool(image, _FIELD), added, location)
