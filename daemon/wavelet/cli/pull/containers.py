"""Containers as pipelines name them: the file that Nextflow looks for, and what a daemon is asked for (pure).

Nextflow takes a container for Singularity or Apptainer so: a path and `file://` are files; what has a scheme is pulled
as it stands; all else is `docker://`, behind the `registry` of the engine's scope where the name has none itself. What
is pulled gets its file's name from all of that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from wavelet.client.sif import PREFIX, sif_path
from wavelet.errors import InvalidName

_SCHEME = re.compile(r"[^/:. ]+://")
_FILE = "file://"
_REGISTRIES = ("docker", "oras")
_NAME_LIMIT = 255
"""Bytes of a file's name."""
_URL_SAFE = "/:@=+,!~%?&"
"""What of an address stays as it is, escapes among it."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pipeline that is pulled.

    Attributes:
        text: as the pipeline has it.
        name: as Nextflow pulls it, with a scheme.
    """

    text: str
    name: str

    @property
    def file_name(self) -> str:
        """The name under which Nextflow looks for its image in `cacheDir` and `libraryDir`.

        What stands behind the scheme, with `-` for `:` and `/`, and `.img`; `.sif` where it has that, at its end or
        before its tag.
        """
        name, suffix = self.name.partition("://")[2], ".img"
        if ".sif:" in name:
            name, suffix = name.replace(".sif:", "-"), ".sif"
        elif name.endswith(".sif"):
            name, suffix = name.removesuffix(".sif"), ".sif"
        return name.replace(":", "-").replace("/", "-") + suffix

    @property
    def image(self) -> str:
        """What it is in a registry, without its scheme; empty: it is in none."""
        scheme, _, name = self.name.partition("://")
        return name if scheme in _REGISTRIES else ""

    def path(self, authority: str, platform: str = "") -> str:
        """Return the path under which a daemon serves its SIF, with that authority in its names.

        Raises:
            InvalidName: it is of a store that the daemon does not ask.
        """
        scheme, _, rest = self.name.partition("://")
        own = rest.removeprefix(f"{authority}/")
        if self.image:
            return path_of(rest, authority, platform)
        if scheme in ("http", "https") and own != rest and f"/{own}".startswith(PREFIX):
            return quote(f"/{own}", safe=_URL_SAFE)
        if scheme in ("http", "https"):
            return f"{PREFIX}{scheme}/{quote(rest, safe=_URL_SAFE)}"
        raise InvalidName(
            f"{self.text}: SIFs of {scheme}:// are not served by the daemon; have the engine pull it, "
            f"into the directory under the name {self.file_name}"
        )


def path_of(image: str, authority: str, platform: str = "") -> str:
    """Return the path under which a daemon serves the SIF of an image of a registry, its own among these."""
    own = image.removeprefix(f"{authority}/")
    return sif_path(own.removeprefix(PREFIX[1:]) if own != image else image, platform)


def read_container(text: str, registry: str, exists: Callable[[str], bool]) -> Container | None:
    """Return what a pipeline's container is; None: a file, which is used where it is.

    Args:
        text: the container.
        registry: what stands before names without a registry; empty: nothing, so they are Docker Hub's.
        exists: tells whether a path is there; Nextflow takes a name for a file, where there is one.

    Raises:
        InvalidName: no file can have a name that is made of it.
    """
    if text.startswith(("/", _FILE, "./", "../")):
        return None
    if _SCHEME.match(text):
        found = Container(text, text)
    elif exists(text):
        return None
    else:
        found = Container(text, f"docker://{_with_registry(text, registry)}")
    encoded = len(found.file_name.encode("utf-8", "surrogateescape"))
    if "\0" in text or encoded > _NAME_LIMIT or found.file_name.startswith("."):
        raise InvalidName(f"{text[:300]!r} makes no file name: {encoded} bytes, of {_NAME_LIMIT}, or a hidden one")
    return found


def _with_registry(name: str, registry: str) -> str:
    """Return a name with the registry before it, unless it has one: a dot or a colon before the first `/`."""
    first, slash, _ = name.partition("/")
    if not registry or (slash and ("." in first or ":" in first)):
        return name
    return f"{registry.rstrip('/')}/{name}"
