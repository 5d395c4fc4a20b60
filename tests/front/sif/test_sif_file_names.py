"""What the paths of SIF files mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.cluster.sif_directory.names import readable
from wavelet.errors import CallerError, ImageNotFound, InvalidName, InvalidRequest, NotFound
from wavelet.front.registry.names import CondaName, FrozenName, LocalName, SifName, TokenName, UpstreamName, parse_name
from wavelet.front.sif.file_names import NamedFile, PublishedFile, RequestedFile, read_path
from wavelet.image.reference import Digest, Platform, Repository

TOKEN = "0123456789abcdef" * 2
DIGEST = Digest("sha256:" + "ab" * 32)
ARM64 = Platform("linux", "arm64")
TOOL = UpstreamName(Repository("quay.io", "bio/tool"))


@pytest.mark.parametrize("readable", ["samtools_1.17--", "a--b--", "x-"])
def test_a_token_is_all_that_counts_of_a_request_s_file(readable: str) -> None:
    name = f"{readable.removesuffix('-').removesuffix('-')}--{TOKEN}.sif"
    assert read_path(name, reserved=True) == RequestedFile(TOKEN, name)
    assert read_path(f"{TOKEN}.sif", reserved=False) == RequestedFile(TOKEN, f"{TOKEN}.sif")


@pytest.mark.parametrize(
    ("path", "name", "reference", "platform", "file_name"),
    [
        ("quay.io/bio/tool:1.sif", TOOL, "1", None, "tool_1.sif"),
        ("quay.io/bio/tool:1", TOOL, "1", None, "tool_1.sif"),
        ("quay.io/bio/tool.sif", TOOL, "latest", None, "tool_latest.sif"),
        ("quay.io/bio/tool:1--linux-arm64.sif", TOOL, "1", ARM64, "tool_1--linux-arm64.sif"),
        (f"quay.io/bio/tool@{DIGEST}.sif", TOOL, DIGEST, None, "tool_sha256-abababababab.sif"),
        (f"quay.io/bio/tool:1@{DIGEST}", TOOL, DIGEST, None, "tool_sha256-abababababab.sif"),
        (f"quay.io/bio/tool:1--linux-arm64@{DIGEST}", TOOL, DIGEST, ARM64, "tool_sha256-abababababab.sif"),
        ("conda/samtools:1.17.sif", CondaName("samtools"), "1.17", None, "samtools_1.17.sif"),
        ("local/a/b:2.sif", LocalName("a/b"), "2", None, "b_2.sif"),
        (f"wt/{TOKEN}/a/b:2.sif", TokenName(TOKEN, "a/b"), "2", None, "b_2.sif"),
        (f"frozen/a:1--{TOKEN}.sif", FrozenName("a"), f"1--{TOKEN}", None, f"a_1--{TOKEN}.sif"),
        (f"frozen/a:1--{TOKEN}@{DIGEST}.sif", FrozenName("a"), DIGEST, None, f"a_1--{TOKEN}.sif"),
        ("localhost_5000/a:1.sif", UpstreamName(Repository("localhost:5000", "a")), "1", None, "a_1.sif"),
        ("localhost:5000/a:1.sif", UpstreamName(Repository("localhost:5000", "a")), "1", None, "a_1.sif"),
        (
            "ubuntu:24.04.sif",
            UpstreamName(Repository("docker.io", "library/ubuntu")),
            "24.04",
            None,
            "ubuntu_24.04.sif",
        ),
    ],
)
def test_any_name_that_engines_pull_has_a_file(
    path: str, name: object, reference: str | Digest, platform: Platform | None, file_name: str
) -> None:
    found = read_path(path, reserved=True)
    assert isinstance(found, NamedFile)
    asked = found.digest or found.tag
    assert (found.name.of, asked, found.platform, found.file_name) == (name, reference, platform, file_name)
    assert isinstance(asked, Digest) == isinstance(reference, Digest)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("ubuntu", NotFound),
        ("v1alpha2/container", NotFound),
        ("container-token", NotFound),
        ("sif/ubuntu:1.sif", InvalidName),
        ("ubuntu:.sif.sif/x", CallerError),
        ("../ubuntu:1.sif", InvalidName),
        ("ubuntu:a b.sif", InvalidName),
        ("ubuntu@sha256:12.sif", CallerError),
        ("ubuntu:1--linux-riscv64.sif", ImageNotFound),
        (f"a b--{TOKEN}.sif", InvalidName),
        (".sif", InvalidName),
    ],
)
def test_what_is_no_file(path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_path(path, reserved=True)


_PIECES = [
    "a",
    "B",
    "quay.io",
    "sif",
    "wt",
    TOKEN,
    "conda",
    "/",
    ":",
    "@",
    str(DIGEST),
    ".sif",
    "--",
    "linux-arm64",
    "..",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=9).map("".join) | st.text(max_size=40), st.booleans())
def test_any_path_means_a_file_or_is_the_callers_fault(path: str, reserved: bool) -> None:
    try:
        found = read_path(path, reserved=reserved)
    except CallerError:
        return
    # Nothing of it breaks out of the header that it stands in, or of the directory into which it is saved.
    assert not set(found.file_name) & set('/"\\\r\n')
    assert found.file_name.endswith(".sif")


@given(st.text(max_size=120))
def test_the_address_that_is_answered_is_of_a_requests_file(label: str) -> None:
    name = f"{readable(label)}--{TOKEN}.sif"
    assert read_path(name, reserved=True) == RequestedFile(TOKEN, name)


@given(st.sampled_from(["ubuntu", "quay.io/a/b", "conda/samtools", f"wt/{TOKEN}/a", "frozen/x", "local/x", "h_5000/a"]))
def test_a_sif_name_is_another_one_with_sif_before_it(name: str) -> None:
    assert parse_name(f"sif/{name}", None, reserved=True) == SifName(parse_name(name, None, reserved=True))  # type: ignore[arg-type]
    assert isinstance(parse_name(f"sif/{name}", None, reserved=False), UpstreamName)
    assert isinstance(parse_name(f"sif/{name}", "quay.io", reserved=True), UpstreamName)
    with pytest.raises(InvalidName, match="twice"):
        parse_name(f"sif/sif/{name}", None, reserved=True)


@pytest.mark.parametrize(
    ("path", "url", "file_name"),
    [
        (
            "https/depot.test/s/samtools:1.17--h0_0",
            "https://depot.test/s/samtools:1.17--h0_0",
            "samtools:1.17--h0_0.sif",
        ),
        ("http/localhost:80/a/b.sif", "http://localhost/a/b.sif", "b.sif"),
        ('https/depot.test/a "b" c', "https://depot.test/a%20%22b%22%20c", "a__b__c.sif"),
    ],
)
def test_a_url_is_the_file_that_is_there(path: str, url: str, file_name: str) -> None:
    name = read_path(path, reserved=True)
    assert isinstance(name, PublishedFile)
    assert (name.plan.url, name.file_name, name.path) == (url, file_name, path)


@pytest.mark.parametrize("path", ["https/depot.test/../x", "http/d.test/a//b", "https/d.test:x/a"])
def test_what_is_no_url_of_a_file(path: str) -> None:
    with pytest.raises(InvalidRequest):
        read_path(path, reserved=True)


def test_a_repository_may_begin_as_a_url_does() -> None:
    name = read_path("https/tool:1", reserved=True)
    assert isinstance(name, NamedFile)
    assert name.name == SifName(UpstreamName(Repository("docker.io", "https/tool")))
