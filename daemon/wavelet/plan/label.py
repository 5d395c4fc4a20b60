"""The label of an image, which stands behind the token of its name: a path, and a tag or digest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wavelet.image.digest import Digest

_DIGITS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Label:
    """See the module.

    Attributes:
        path: of the repository.
        served_as: the tag, or the digest, under which a token answers.
        former: paths that earlier versions gave, each with its tag: names that were given stay good.
    """

    path: str
    served_as: str | Digest
    former: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """Path and tag or digest, as people read them."""
        return f"{self.path}{'@' if isinstance(self.served_as, Digest) else ':'}{self.served_as}"

    @property
    def tag(self) -> str | None:
        """The tag; None where a digest is answered."""
        return None if isinstance(self.served_as, Digest) else self.served_as

    def is_path(self, path: str) -> bool:
        """Tell whether a token is pulled by this repository path."""
        return path == self.path or path in dict(self.former)

    def tag_at(self, path: str) -> str | None:
        """Return the tag that a token answers under one of its paths; None where it answers a digest."""
        return self.tag if path == self.path else dict(self.former).get(path, self.tag)

    def of_changed(self) -> Label:
        """Return the label of the image with other bytes.

        It cannot be asked for by the digest of its source, since engines compare that with what they get, so the digest
        goes into a tag: `sha256-<first 12 digits>`.
        """
        return replace(self, served_as=tag_of_digest(self.served_as)) if isinstance(self.served_as, Digest) else self


def tag_of_digest(digest: Digest) -> str:
    """Return the tag of an image that was made of the one with `digest`."""
    return f"{digest.algorithm}-{digest.hex[:_DIGITS_SHOWN]}"
