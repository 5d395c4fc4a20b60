"""Names that are the request: their grammar, its way back, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavelet.errors import CallerError, InvalidName, InvalidRequest, NotServed
from wavelet.image.reference import Platform, Reference, valid_path, valid_tag
from wavelet.kinds.conda.model.environment_text import Environment
from wavelet.kinds.conda.model.near_cache_names import name_for, read_name
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.conda.model.package_request import CondaDefaults, PackageRequest
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.conda.model.specs import normal_requirement, normal_spec
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.name_codec import decode, encode_component, encode_tag

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
SITE = CondaDefaults.of("ubuntu:24.04", ("conda-forge::procps-ng",), ("conda-forge", "bioconda"), platform=AMD64)
PROCPS = "conda-forge::procps-ng"


def plan(*specs: str, **members: Any) -> CondaEnvironment:
    base = RegistryImage(Reference.parse("ubuntu:24.04"), AMD64)
    values: dict[str, Any] = {"channels": ("conda-forge", "bioconda"), "platform": AMD64, "base": base}
    return CondaEnvironment(tuple(sorted(specs)), renewed=True, **(values | members))


@pytest.mark.parametrize(
    ("path", "tag", "expected"),
    [
        ("samtools", "latest", plan("samtools", PROCPS)),
        ("samtools", "1.17", plan("samtools=1.17", PROCPS)),
        ("samtools", "1.17--hd87286a_2", plan("samtools==1.17=hd87286a_2", PROCPS)),
        ("samtools", "__eq1.17", plan("samtools==1.17", PROCPS)),
        ("samtools", "1.0__pllocal", plan("samtools=1.0+local", PROCPS)),
        ("samtools", "1.0RC1", plan("samtools=1.0RC1", PROCPS)),
        ("samtools/bwa", "latest", plan("bwa", "samtools", PROCPS)),
        ("bwa/samtools", "latest", plan("bwa", "samtools", PROCPS)),
        ("samtools__1.17/bwa__0.7.18", "latest", plan("bwa=0.7.18", "samtools=1.17", PROCPS)),
        ("samtools__eq1.17__is0", "latest", plan("samtools==1.17=0", PROCPS)),
        ("samtools__eq1.17__0", "latest", plan("samtools==1.17=0", PROCPS)),
        ("foo__isv1.2", "latest", plan("foo=v1.2", PROCPS)),
        ("bioconda__ccsamtools", "1.17", plan("bioconda::samtools=1.17", PROCPS)),
        ("python__ge3.11__an__lt3.13", "latest", plan("python>=3.11,<3.13", PROCPS)),
        ("x__bg__lolibgcc_mutex", "0.1", plan("_libgcc_mutex=0.1", PROCPS)),
        ("r-base", "4.3.3", plan("r-base=4.3.3", PROCPS)),
        ("samtools-1.17", "latest", plan("samtools-1.17", PROCPS)),
        ("pytorch__is__st__iscuda__st", "latest", plan("pytorch=*=cuda*", PROCPS)),
        ("python/pip--multiqc__eq1.27", "3.12", plan("python=3.12", "pip", PROCPS, pip=("multiqc==1.27",))),
        ("pip--x__bg__ujinja2", "latest", plan("pip", PROCPS, pip=("jinja2",))),
        ("samtools/channel--bioconda", "latest", plan("samtools", PROCPS, channels=("bioconda",))),
        ("samtools/add--none", "latest", plan("samtools")),
        ("samtools/add--which/add--bc", "latest", plan("samtools", "which", "bc")),
        ("samtools/date--2026-01-31", "1.17", plan("samtools=1.17", PROCPS, as_of="2026-01-31T00:00:00Z")),
        ("samtools/date--2024-02-29t123001z", "latest", plan("samtools", PROCPS, as_of="2024-02-29T12:30:01Z")),
        ("a/platform--amd64", "latest", plan("a", PROCPS)),
    ],
)
def test_names(path: str, tag: str, expected: CondaEnvironment) -> None:
    assert valid_path(f"conda/{path}")
    assert valid_tag(tag)
    assert read_name(path, tag, SITE) == expected
    assert read_name(*name_for(expected, SITE), SITE) == expected


def test_a_platform_and_a_base() -> None:
    base = RegistryImage(Reference.parse("quay.io/a/b:1"), ARM64)
    expected = plan("samtools", PROCPS, platform=ARM64, base=base)
    assert read_name("samtools/platform--arm64/base--quay.io__sla__slb__co1", "latest", SITE) == expected
    assert name_for(expected, SITE) == ("samtools/platform--arm64/base--quay.io__sla__slb__co1", "latest")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (plan("samtools=1.17", PROCPS), "samtools:1.17"),
        (plan("samtools", PROCPS), "samtools:latest"),
        (plan("bwa=0.7.18", "samtools=1.17", PROCPS), "bwa__0.7.18/samtools__1.17:latest"),
        (plan("bioconda::samtools=1.17", PROCPS), "bioconda__ccsamtools:1.17"),
        (plan("samtools==1.17=h_0", PROCPS), "samtools:1.17--h_0"),
        (plan("foo=latest", PROCPS), "foo__islatest:latest"),
        (plan("samtools=1.17"), "samtools/channel--conda-forge/channel--bioconda/add--none:1.17"),
    ],
)
def test_the_plain_cases_are_plain(asked: CondaEnvironment, name: str) -> None:
    assert ":".join(name_for(asked, SITE)) == name


@pytest.mark.parametrize(
    ("path", "tag", "words"),
    [
        ("samtools/bwa", "1.17", "version of one package"),
        ("samtools__1.16", "1.17", "version of one package"),
        ("pip--multiqc", "1.17", "version of one package"),
        ("samtools__zz1", "latest", "'__zz' in 'samtools__zz1' is no code"),
        ("samtools", "1__", "is no code"),
        ("samtools", "1.17--", "version"),
        ("foo--bar", "latest", "'foo--bar' is neither a spec nor one of pip--…"),
        ("a/platform--amd64/platform--arm64", "latest", "platform--… is there 2 times"),
        ("a/platform--sparc", "latest", "unsupported container platform"),
        ("a/date--2026-02-30", "latest", "is not a date"),
        ("a/date--yesterday", "latest", "is not a date"),
        ("a/base--__ub", "latest", "not an image name"),
        ("channel--bioconda", "latest", "names no package"),
        ("a/channel--https__co__sl__slu__cop__ath__slc", "latest", "login"),
        ("a__gt", "latest", "'>'"),
    ],
)
def test_what_no_name_says(path: str, tag: str, words: str) -> None:
    with pytest.raises(InvalidName) as caught:
        read_name(path, tag, SITE)
    assert words in caught.value.message


def test_what_no_image_is_made_for() -> None:
    with pytest.raises(NotServed):
        read_name("a/platform--arm", "latest", SITE)


def test_what_no_name_stands_for() -> None:
    package = Package("https://h.example/c/noarch/a-1-0.conda")
    for asked in (plan("a", locked=(package,)), plan("a", lock_location="https://h.example/x.yml")):
        with pytest.raises(InvalidName, match="lock file"):
            name_for(asked, SITE)
    with pytest.raises(InvalidName, match="no name of 255"):
        name_for(plan(*(f"package-{number}" for number in range(40))), SITE)


PRINTABLE = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
TRICKY = st.text(alphabet="a1A.-_=<>!~:,*+x", min_size=1, max_size=20)


@settings(max_examples=1000, deadline=None)
@given(PRINTABLE | TRICKY)
def test_texts_come_back(text: str) -> None:
    component, tag = encode_component(text), encode_tag(text)
    assert valid_path(component) or len(component) > 255
    assert valid_tag(f"a{tag}") or len(tag) > 127
    assert decode(component) == decode(tag) == text
    assert "--" not in component


NAMES = st.from_regex(r"_{0,2}[a-z][a-z0-9]{0,6}([-_.][a-z0-9]{1,4}){0,2}", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9]{1,2}(\.[0-9a-zA-Z]{1,3}){0,3}(\+loc)?", fullmatch=True)
SPECS = st.builds(
    lambda channel, name, condition: f"{channel}{name}{condition}",
    st.sampled_from(["", "", "bioconda::", "conda-forge/label/dev::", "https://h.example:8080/c::"]),
    NAMES,
    st.one_of(
        st.just(""),
        st.builds("{}{}".format, st.sampled_from(["=", "==", ">=", "<", "!=", "~="]), VERSIONS),
        st.builds(">={},<{}".format, VERSIONS, VERSIONS),
        st.builds("={}|={}".format, VERSIONS, VERSIONS),
        st.builds("=={}={}".format, VERSIONS, st.sampled_from(["0", "h1a2b_0", "*_cpython", "PY_1"])),
        st.sampled_from(["[build_number='>2']", "=1!2.0.*=*", " 1*"]),
    ),
)
TIMES = st.sampled_from([None, "2026-01-31T00:00:00Z", "2025-12-01T23:59:59Z"])


@settings(max_examples=150, deadline=None)
@given(
    st.sets(SPECS, max_size=3),
    st.sets(
        st.sampled_from(["numpy>=1.26", "Jinja2", "x[y]; python_version < '3.9'", "p @ https://h/p-1-py3-none-any.whl"])
    ),
    st.permutations(["conda-forge", "bioconda", "https://h.example/c", "file:///srv/x"]),
    st.sampled_from([AMD64, ARM64]),
    TIMES,
    st.booleans(),
)
def test_plans_come_back(
    specs: set[str], pip: set[str], channels: list[str], platform: Platform, as_of: str | None, added: bool
) -> None:
    try:
        normal = {normal_spec(spec, "f") for spec in specs} | ({PROCPS} if added else set())
    except InvalidRequest:
        return
    if not normal and not pip:
        return
    wanted = Environment(tuple(sorted(normal)), pip=tuple(sorted(normal_requirement(text, "f") for text in pip)))
    base_packages = None if added else ()
    asked = PackageRequest(wanted, "f", tuple(channels), base_packages=base_packages, as_of=as_of, renewed=True).plan(
        platform, SITE
    )
    try:
        path, tag = name_for(asked, SITE)
    except InvalidName as error:
        assert "no name of 255" in error.message
        return
    assert valid_path(f"conda/{path}")
    assert valid_tag(tag)
    assert read_name(path, tag, SITE) == asked


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="ab1_.-/", min_size=1, max_size=24), st.text(alphabet="aB1_.-", min_size=1, max_size=12))
def test_any_name_is_read_or_refused(path: str, tag: str) -> None:
    try:
        read = read_name(path, tag, SITE)
    except CallerError:
        return
    assert read_name(*name_for(read, SITE), SITE) == read


def test_the_documents_names_are_names() -> None:
    text = (Path(__file__).parents[4] / "docs" / "conda-names.md").read_text()
    names = re.findall(r"^\| `conda/(\S+):([^`]+)` \|", text, re.MULTILINE)
    assert len(names) == 11
    for path, tag in names:
        assert valid_path(f"conda/{path}")
        assert read_name(path, tag, SITE).renewed
    codes = re.findall(r"\| `(\S+|\\\|)`(?: \(\w+\))? \| `(__[a-z]{2})` ", text)
    assert len(codes) == 30
    for character, code in codes:
        assert decode(f"a{code}a") == f"a{character.removeprefix(chr(92))}a"
