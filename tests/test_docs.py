"""The documentation says what the code says: the settings' page is generated, and links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from wavelet.cli.commands.settings import reference

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def test_the_settings_page_is_what_the_command_prints() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == reference(), (
        "run: wavelet settings > docs/configuration.md"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_metric_of_the_operations_page_exists() -> None:
    from prometheus_client import REGISTRY

    import wavelet.app  # noqa: F401 - loads every room's metrics

    page = (ROOT / "docs" / "operations.md").read_text()
    exposed = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    exposed |= {family.name for family in REGISTRY.collect()} | {
        f"{family.name}_total" for family in REGISTRY.collect()
    }
    named = set(re.findall(r"`(wavelet_[a-z_]+)", page))
    assert named
    assert named <= exposed


@pytest.mark.process
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()
