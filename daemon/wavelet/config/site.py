"""The settings of what a site decides for all containers: its rules, and its packs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from wavelet.config.section import LIVE, Section


class Rules(Section, frozen=True):
    """The rules of the site: which images may be used, where they come from, what is added to them."""

    directory: Annotated[
        str,
        Meta(
            description="directory of the files of rules, `*.yaml`, in the order of their names, which has to be there;"
            " empty: `/etc/wavelet/rules.d`, of a user's own daemon `wavelet/rules.d` where XDG has configurations, if"
            " it is there"
        ),
        LIVE,
    ] = ""


class Packs(Section, frozen=True):
    """The packs of the site: what can be added to containers by name."""

    directory: Annotated[
        str,
        Meta(
            description="directory of the packs, each a directory with `pack.yaml`; empty: `/etc/wavelet/packs`, of a"
            " user's own daemon `wavelet/packs` where XDG has configurations. Those that wavelet comes with are beside"
            " them, and give way to one of the same name"
        ),
        LIVE,
    ] = ""
    keep: Annotated[
        float,
        Meta(
            description="seconds for which the layers of a version that is no longer there are kept, for names that"
            " were given with it",
            ge=0,
        ),
        LIVE,
    ] = 30 * 86400


def site_directory(setting: str, name: str) -> Path:
    """Return the directory that a setting names; where it names none, the usual one (`rules.d`, `packs`)."""
    if setting:
        return Path(setting).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/etc/wavelet") / name
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "wavelet" / name
