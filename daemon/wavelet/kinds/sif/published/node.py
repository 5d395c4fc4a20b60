"""A SIF that others publish at a URL, as a node."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote

from wavelet.image.reference import valid_path, valid_tag
from wavelet.kinds.sif.published.sources import quoted, url_of
from wavelet.plan.node import Additions, Description, Label, Node, View

_ENDING = re.compile(r"\.(sif|simg|img|sqsh|squashfs)$", re.IGNORECASE)
_NO_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class PublishedSif(Node):
    """The file at a URL; pinned, one version of it.

    Attributes:
        url: in the form of `url_of`.
        validator: by what its server tells this version, `Last-Modified` or else `ETag`; empty: whatever is there.
        size: bytes of this version.
    """

    tag = "published"
    additions = Additions.NOWHERE

    url: str
    validator: str = ""
    size: int = 0

    @property
    def moves(self) -> bool:
        """See `Node`."""
        return not self.validator

    @property
    def is_file(self) -> bool:
        """See `Node`."""
        return True

    @property
    def file_name(self) -> str:
        """What the file is called: the last step of its URL, with the ending of a SIF where it has none."""
        name = unquote(self.url.rpartition("/")[2])
        return name if _ENDING.search(name) else f"{name}.sif"

    @property
    def label(self) -> Label:
        """See `Node`. As file names go, what follows a colon is a version."""
        name, _, tag = _ENDING.sub("", self.file_name).partition(":")
        path = f"published/{name.lower()}"
        if not valid_path(path):
            path = f"published/{_NO_NAME.sub('-', name.lower()).strip('-') or 'file'}"
        return Label(path if valid_path(path) else "published/file", tag if valid_tag(tag) else "latest")

    @property
    def description(self) -> Description:
        """See `Node`."""
        return Description(title=self.url, is_built=False)

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`."""
        pinned = {"validator": self.validator, "size": self.size} if self.validator else {}
        return {"published": self.url} | pinned

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        validator, size = value.get("validator", ""), value.get("size", 0)
        if not isinstance(validator, str) or not isinstance(size, int):
            raise TypeError("validator and size")
        return cls(url_of(value["published"]), validator, size)


def published_plan(path: str) -> PublishedSif:
    """Return the plan of what `/sif/<path>` asks for: `https/<host>/<path of the file>`, no longer quoted.

    Raises:
        InvalidRequest: it is not the URL of a file.
    """
    scheme, _, rest = path.partition("/")
    return PublishedSif(url_of(f"{scheme}://{quoted(rest)}"))
