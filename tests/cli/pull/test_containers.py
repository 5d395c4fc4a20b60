"""The file names that Nextflow looks for, and what the daemon is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.cli.image_lists import listed, names_in
from wavelet.cli.pull.containers import Container, read_container
from wavelet.errors import InvalidName, InvalidRequest

AUTHORITY = "127.0.0.1:9090"
TOKEN = "6b1f0c" + "0" * 26
DIGEST = "sha256:" + "ab" * 32


def read(text: str, registry: str = "") -> Container:
    found = read_container(text, registry, lambda _: False)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"docker://{AUTHORITY}/wt/TOK/library/ubuntu:24.04", "127.0.0.1-9090-wt-TOK-library-ubuntu-24.04.img"),
        (f"{AUTHORITY}/wt/TOK/library/ubuntu:24.04", "127.0.0.1-9090-wt-TOK-library-ubuntu-24.04.img"),
        ("docker://quay.io/biocontainers/salmon", "quay.io-biocontainers-salmon.img"),
        ("ubuntu:24.04", "ubuntu-24.04.img"),
        (f"quay.io/a/b@{DIGEST}", f"quay.io-a-b@{DIGEST.replace(':', '-')}.img"),
        ("https://depot.galaxyproject.org/singularity/fastqc:0.12.1--hdfd78af_0",
         "depot.galaxyproject.org-singularity-fastqc-0.12.1--hdfd78af_0.img"),
        ("https://depot.galaxyproject.org/singularity/a%3A1", "depot.galaxyproject.org-singularity-a%3A1.img"),
        ("oras://community.wave.seqera.io/library/bwa:0.7--ab12", "community.wave.seqera.io-library-bwa-0.7--ab12.img"),
        (f"http://{AUTHORITY}/sif/x--{TOKEN}.sif", f"127.0.0.1-9090-sif-x--{TOKEN}.sif"),
        ("library://collection/tools/blender.sif:4", "collection-tools-blender-4.sif"),
        ("shub://lab/tool", "lab-tool.img"),
    ],
)  # fmt: skip
def test_names_of_files(text: str, name: str) -> None:
    assert read(text).file_name == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("biocontainers/fastqc:0.12", "quay.io-biocontainers-fastqc-0.12.img"),
        ("ubuntu:24.04", "quay.io-ubuntu-24.04.img"),
        ("ghcr.io/a/b:1", "ghcr.io-a-b-1.img"),
        ("localhost:5000/b:1", "localhost-5000-b-1.img"),
        ("docker://a/b:1", "a-b-1.img"),
    ],
)
@pytest.mark.parametrize("registry", ["quay.io", "quay.io/"])
def test_the_registry_of_the_configuration(text: str, name: str, registry: str) -> None:
    assert read(text, registry).file_name == name


_WORDS = st.text("az09._-", min_size=1, max_size=8)


@given(
    scheme=st.sampled_from(["docker", "oras", "https", "library"]),
    path=st.lists(_WORDS, max_size=4).map(lambda parts: "/".join(["host", *parts])),
    tag=st.none() | _WORDS,
)
def test_a_name_becomes_one_file(scheme: str, path: str, tag: str | None) -> None:
    path += f":{tag}" if tag else ""
    name = read(f"{scheme}://{path}").file_name
    assert not set("/:") & set(name)
    assert name.endswith((".img", ".sif"))
    assert name == read(f"docker://{path}").file_name


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (f"{AUTHORITY}/wt/{TOKEN}/library/ubuntu:24.04", f"/sif/wt/{TOKEN}/library/ubuntu:24.04.sif"),
        (f"docker://{AUTHORITY}/conda/samtools:1.17", "/sif/conda/samtools:1.17.sif"),
        (f"docker://{AUTHORITY}/sif/conda/samtools:1.17", "/sif/conda/samtools:1.17.sif"),
        (f"oras://{AUTHORITY}/sif/frozen/a:1--{TOKEN}", f"/sif/frozen/a:1--{TOKEN}.sif"),
        ("conda/samtools", "/sif/conda/samtools:latest.sif"),
        ("localhost:5000/b", "/sif/localhost:5000/b:latest.sif"),
        (f"quay.io/a/b@{DIGEST}", f"/sif/quay.io/a/b@{DIGEST}.sif"),
        ("oras://community.wave.seqera.io/library/bwa:0.7", "/sif/community.wave.seqera.io/library/bwa:0.7.sif"),
        ("https://depot.galaxyproject.org/singularity/a%3A1", "/sif/https/depot.galaxyproject.org/singularity/a%3A1"),
        ("http://10.0.0.1:80/x.sif", "/sif/http/10.0.0.1:80/x.sif"),
        (f"http://{AUTHORITY}/sif/x--{TOKEN}.sif", f"/sif/x--{TOKEN}.sif"),
        ("quay.io/a/b c:1", "/sif/quay.io/a/b%20c:1.sif"),
    ],
)
def test_what_the_daemon_is_asked_for(text: str, path: str) -> None:
    assert read(text).path(AUTHORITY) == path


def test_a_platform_stands_behind_the_tag_or_in_the_query() -> None:
    assert read("ubuntu").path(AUTHORITY, "linux/arm64") == "/sif/ubuntu:latest--linux-arm64.sif"
    assert read(f"a@{DIGEST}").path(AUTHORITY, "linux/arm/v7") == f"/sif/a@{DIGEST}.sif?platform=linux/arm/v7"


@pytest.mark.parametrize("text", ["library://a/b:1", "shub://a/b", "ftp://example.org/x.sif"])
def test_stores_that_the_daemon_does_not_ask(text: str) -> None:
    with pytest.raises(InvalidName, match=r"under the name .*\.(img|sif)"):
        read(text).path(AUTHORITY)


@pytest.mark.parametrize("text", ["/shared/x.sif", "file:///x.sif", "./x.sif", "../x.img"])
def test_files_are_used_where_they_are(text: str) -> None:
    assert read_container(text, "quay.io", lambda _: False) is None


def test_a_name_that_is_a_file_here() -> None:
    assert read_container("tool.sif", "", {"tool.sif"}.__contains__) is None
    assert read("tool.sif").file_name == "tool.sif"


@pytest.mark.parametrize("text", ["a" * 260, "docker://.hidden", "docker://a\0b"])
def test_names_that_make_no_file(text: str) -> None:
    with pytest.raises(InvalidName, match="makes no file name"):
        read(text)


def test_lists() -> None:
    configuration = """process { withName: 'A' { container = 'https://x.org/a:1' } }
process { withName: 'W:B' { container = "docker://b:1" } }
process { withName: 'C' { container = 'null' } }
"""
    assert listed(configuration, "-") == ["https://x.org/a:1", "docker://b:1"]
    assert names_in(configuration, "-") == ["b:1"]
    json = '{"processes": [{"name": "A", "container": "oras://x/a:1"}, {"name": "B", "container": null}]}'
    assert listed(json, "-") == ["oras://x/a:1"]
    assert listed("# a list\n\n /x.sif \nprocess/a:1\n/x.sif\n", "-") == ["/x.sif", "process/a:1"]
    with pytest.raises(InvalidRequest, match="nextflow inspect"):
        listed("{}", "-")
