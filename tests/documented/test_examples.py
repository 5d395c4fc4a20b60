"""Settings and configurations of Nextflow that the pages show: each can be used as it stands."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest
import yaml

from documented.commands import PAGES, ROOT, blocks
from groups import program
from lab.processes import run
from wavelet.config import Settings, load

SECTIONS = {field.name for field in msgspec.structs.fields(Settings)}
NEXTFLOW = re.compile(r"^(wave|docker|podman|apptainer|singularity|process|k8s)(\.\w+)+ += ", re.MULTILINE)


def settings() -> list[tuple[str, str]]:
    """Return the blocks of pages that are settings: mappings whose keys begin with one of wavelet's."""
    found = []
    for page in PAGES:
        for line, text in blocks(page):
            try:
                document = yaml.safe_load(text)
            except yaml.YAMLError:
                continue
            if isinstance(document, dict) and {str(key).partition(".")[0] for key in document} <= SECTIONS:
                found.append((f"{page.relative_to(ROOT)}:{line}", text))
    return found


@pytest.mark.parametrize(("where", "text"), settings())
def test_settings_can_be_used(where: str, text: str, tmp_path: Path) -> None:
    """Fault F2: the cluster's example of a page was refused."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    load(path, {}, {})


def test_there_are_settings() -> None:
    assert len(settings()) >= 2


@pytest.mark.groovy
def test_configurations_of_nextflow_parse(tmp_path: Path) -> None:
    found = [(page, line, text) for page in PAGES for line, text in blocks(page) if NEXTFLOW.search(text)]
    assert len(found) >= 4
    files = []
    for page, line, text in found:
        files.append(tmp_path / f"{page.stem}-{line}.config")
        files[-1].write_text(text)
    groovy = program("groovy")
    assert groovy is not None
    script = ROOT / "tests" / "nextflow_config" / "read.groovy"
    read = run([groovy, script, *files], environment={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    assert {line.partition("\t")[0] for line in read.stdout.splitlines()} == {path.name for path in files}
