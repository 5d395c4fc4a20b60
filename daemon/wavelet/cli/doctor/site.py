"""The rules and packs of the site, as facts for `wavelet doctor`: as the daemon has them, else as their files say."""

from __future__ import annotations

from wavelet.cli.rules.offline import read_offline
from wavelet.config import Settings
from wavelet.config.site import site_directory
from wavelet.daemon_status import DaemonStatus, PacksStatus, RulesStatus
from wavelet.packs.directories import find_packs


def rules_of(status: DaemonStatus | None, settings: Settings) -> RulesStatus | None:
    """Return the rules that a daemon has, or would have; None: it is an older one, which has none.

    Raises:
        OSError: the directory cannot be read.
    """
    if status is not None:
        return status.get("rules")
    found = read_offline((), settings)
    is_closed = bool(found.errors)
    count = 0 if is_closed else len(found.rules)
    return {"count": count, "directory": str(found.directory), "problems": list(found.errors), "closed": is_closed}


def packs_of(status: DaemonStatus | None, settings: Settings) -> PacksStatus | None:
    """Return the packs that a daemon has, or would have; None: it is an older one, which has none.

    Raises:
        OSError: the directory cannot be read.
    """
    if status is not None:
        return status.get("packs")
    found = find_packs(site_directory(settings.packs.directory, "packs"))
    problems = [each.problem for each in found if each.problem]
    return {"count": sum(each.spec is not None for each in found), "problems": problems}
