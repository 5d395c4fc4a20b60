"""The lines of a Nextflow configuration that give processes another architecture."""

from __future__ import annotations

from wavelet.image.reference import Platform
from wavelet.kinds.other_architecture import process_block, remedy


def test_the_lines_can_be_pasted() -> None:
    assert process_block(["FASTQC", "A:B"], Platform.parse("linux/amd64")) == [
        "process {",
        "    withName: 'FASTQC' { arch = 'amd64' }",
        "    withName: 'A:B' { arch = 'amd64' }",
        "}",
    ]
    assert "process { withName: 'NAME' { arch = 'arm/v7' } }" in remedy(Platform.parse("linux/arm/v7"))
