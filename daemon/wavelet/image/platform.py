"""Platforms: parsing, normal form and matching, as Docker's `--platform` and Wave's `containerPlatform` have them."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.errors import InvalidRequest

_ARCHITECTURES = {
    "amd64": "amd64", "x86_64": "amd64", "x86-64": "amd64",
    "arm64": "arm64", "aarch64": "arm64",
    "arm": "arm",
}  # fmt: skip
_SUPPORTED = "linux/amd64, linux/arm64 (also /v8), linux/arm (also /v5, /v6, /v7)"


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """Operating system, CPU architecture and variant, in normal form (image-spec, image-index.md, "platform")."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str, field: str = "containerPlatform") -> Platform:
        """Parse `os/arch[/variant]`, or `arch` alone for linux.

        Raises:
            InvalidRequest: an operating system, architecture or variant that images are not made for here.
        """
        parts = text.strip().lower().split("/")
        if len(parts) == 1:
            parts = ["linux", *parts]
        architecture = _ARCHITECTURES.get(parts[1]) if len(parts) in (2, 3) else None
        variant = parts[2] if len(parts) == 3 else ""
        known = architecture is not None and parts[0] == "linux"
        if architecture is None or not known or not _variant_exists(architecture, variant):
            raise InvalidRequest(
                f"{field}: unsupported container platform {text!r}; it can be {_SUPPORTED}", field=field
            )
        return cls.of(parts[0], architecture, variant)

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Platform:
        """Return the normal form of what a manifest says: aliases resolved, default variants filled in or left out."""
        architecture = _ARCHITECTURES.get(architecture, architecture)
        if variant.isdigit():
            variant = f"v{variant}"
        if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
            variant = ""
        if architecture == "arm" and not variant:
            variant = "v7"
        return cls(os, architecture, variant)

    @classmethod
    def from_text(cls, text: str) -> Platform:
        """Return the platform of its own text, which may be of an architecture that `parse` refuses."""
        return cls.of(*text.split("/"))

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


DEFAULT_PLATFORM = Platform("linux", "amd64")


def _variant_exists(architecture: str, variant: str) -> bool:
    if architecture == "arm64":
        return variant in ("", "8", "v8")
    if architecture == "arm":
        return variant in ("", "5", "6", "7", "v5", "v6", "v7")
    return variant == ""
