"""One text at a time: match specs, channels and requirements in normal form."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavelet.errors import InvalidRequest
from wavelet.kinds.conda.model.specs import (
    channel_of,
    directory_of,
    name_of,
    normal_channel,
    normal_requirement,
    normal_spec,
    without_login,
)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("samtools", "samtools"),
        (" 'samtools' ", "samtools"),
        ('"python>=3.10"', "python>=3.10"),
        ("Samtools=1.17", "samtools=1.17"),
        ("samtools = 1.17", "samtools=1.17"),
        ("samtools 1.17", "samtools==1.17"),
        ("samtools=1.17.*", "samtools=1.17"),
        ("samtools 1.17.*", "samtools=1.17"),
        ("samtools 1.*", "samtools=1"),
        ("samtools=*", "samtools"),
        ("samtools *", "samtools"),
        ("samtools=1.17=", "samtools=1.17"),
        ("samtools=1.17=h5_0", "samtools==1.17=h5_0"),
        ("samtools==1.17=h5_0", "samtools==1.17=h5_0"),
        ("samtools 1.17 h5_0", "samtools==1.17=h5_0"),
        ("samtools=1.17.*=h5*", "samtools=1.17.*=h5*"),
        ("pytorch=*=cuda*", "pytorch=*=cuda*"),
        ("pytorch * cuda*", "pytorch=*=cuda*"),
        ("python >=3.10, <3.13", "python>=3.10,<3.13"),
        ("python >=3.10 h2755cc3_0", "python>=3.10=h2755cc3_0"),
        ("blas 1.0 mkl", "blas==1.0=mkl"),
        ("python >=3.10,<3.13 *_cpython", "python>=3.10,<3.13=*_cpython"),
        ("python 3.8|3.9", "python 3.8|3.9"),
        ("python=3.8|3.9", "python=3.8|3.9"),
        ("python!=3.9,~=3.8", "python!=3.9,~=3.8"),
        ("bioconda::samtools=1.17", "bioconda::samtools=1.17"),
        ("bioconda/linux-64::samtools", "bioconda/linux-64::samtools"),
        ("https://mirror.example/bioconda/::samtools", "https://mirror.example/bioconda::samtools"),
        ("conda-forge:r-base=4.3.2", "r-base=4.3.2"),
        ("foo[version='>=1,<2',build=x]", "foo[version='>=1,<2',build=x]"),
        ("_libgcc_mutex", "_libgcc_mutex"),
        ("__cuda>=12", "__cuda>=12"),
        ("foo=2!1.0+local", "foo=2!1.0+local"),
    ],
)
def test_normal_forms(text: str, spec: str) -> None:
    assert normal_spec(text, "f") == spec
    assert normal_spec(spec, "f") == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("''", "empty"),
        ("=1.17", "no package name"),
        ("*", "no package name"),
        ("samtools:1.17", "<name>=<version>"),
        ("pip::numpy", "one colon"),
        ("samtools=", "'='"),
        ("samtools>", "'>'"),
        ("samtools===1", "'===1'"),
        ("samtools=>1", "'=>1'"),
        ("samtools=1.17,", "''"),
        ("samtools >=1 <2", "commas"),
        ("a b c d", "several packages"),
        ("a 1 c d", "commas"),
        ("-c conda-forge", "options of conda"),
        ("- bwa", "dash"),
        ("samtools@1.17", "'@'"),
        ("samtools=1[build=x", "bracket"),
        ("samtools $(id)", "$"),
        ("sämtools", "ASCII"),
        ("sam\ntools", "ASCII"),
        ("a" * 513, "512"),
        ("https://user:pw@x.example/c::samtools", "login"),
    ],
)
def test_what_no_solver_reads_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        normal_spec(text, "packages.entries[3]")
    assert caught.value.field == "packages.entries[3]"
    assert caught.value.message.startswith("packages.entries[3]: ")
    assert words in caught.value.message
    assert "pw" not in caught.value.message or "login" not in words


@pytest.mark.parametrize(
    "text",
    [
        "fastqc multiqc",
        "samtools=1.17 bwa",
        "samtools=1.17 bwa=0.7.18",
        "fastqc bioconda::multiqc",
        "bioconda::fastqc bioconda::multiqc=1.2",
        "samtools>=1.17 hisat2",
        "samtools 1.17 bwa=0.7",
        "conda install samtools",
        "fastqc=0.12.1,multiqc",
        "fastqc=0.12.1,bioconda::multiqc=1.2",
        "fastqc,multiqc",
        "fastqc;multiqc",
        "fastqc\nmultiqc",
        "fastqc=0.12.1; multiqc=1",
    ],
)
def test_several_packages_in_one_text(text: str) -> None:
    """Fault E8: the second package of an entry was read as the version, or the build, of the first."""
    with pytest.raises(InvalidRequest, match="two packages are two entries"):
        normal_spec(text, "packages.entries[0]")


@pytest.mark.parametrize("marker", ["", " ; python_version>'3'"])
def test_the_url_of_a_wheel_may_have_a_marker(marker: str) -> None:
    url = "https://x.example/six-1.16.0-py3-none-any.whl"
    assert normal_requirement(url + marker, "f") == f"six @ {url}{marker}"
    assert normal_requirement(f"six @ {url}{marker}", "f") == f"six @ {url}{marker}"


def test_names_and_channels() -> None:
    assert name_of("bioconda::samtools==1.17=h_0") == "samtools"
    assert name_of("_libgcc_mutex") == "_libgcc_mutex"
    assert name_of("foo[version='a::b']") == "foo"
    assert channel_of("bioconda/linux-64::samtools") == "bioconda"
    assert channel_of("https://x.example/label/dev::samtools") == "https://x.example/label/dev"
    assert channel_of("samtools") == ""


@pytest.mark.parametrize(
    ("text", "channel"),
    [
        ("conda-forge", "conda-forge"),
        ("conda-forge/label/dev/", "conda-forge/label/dev"),
        ("HTTPS://conda.example/x/", "https://conda.example/x"),
        ("file:///srv/channel", "file:///srv/channel"),
    ],
)
def test_channels(text: str, channel: str) -> None:
    assert normal_channel(text, "f") == channel


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "../x",
        "ftp://x/y",
        "https:///x",
        "https://u:s3cr3t@h/c",
        "https://h/t/s3cr3t/c",
        "https://h/c?s3cr3t=1",
    ],
)
def test_what_is_no_channel(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        normal_channel(text, "f")
    assert "s3cr3t" not in caught.value.message or "?" in text


def test_logins_are_taken_out() -> None:
    assert without_login("https://u:p@h/t/tk-1/c/linux-64/a-1-0.conda") == "https://h/c/linux-64/a-1-0.conda"
    assert without_login("https://h/c/noarch/t/a-1-0.conda") == "https://h/c/noarch/t/a-1-0.conda"


@pytest.mark.parametrize(
    ("text", "requirement"),
    [
        ("numpy", "numpy"),
        ("'numpy >= 1.26, < 2'", "numpy>=1.26,<2"),
        ("numpy==1.26  # pinned", "numpy==1.26"),
        ("six; python_version >= '3.8'", "six; python_version >= '3.8'"),
        ('six; python_version >= "3.8"', 'six; python_version >= "3.8"'),
        ("\"six; python_version >= '3.8'\"", "six; python_version >= '3.8'"),
        ("multiqc[dev]>=1; python_version < '3.13'", "multiqc[dev]>=1; python_version < '3.13'"),
        ("https://x.example/a/six-1.0-py3-none-any.whl", "six @ https://x.example/a/six-1.0-py3-none-any.whl"),
        (
            "Six @https://x.example/Six-1-py3-none-any.whl#sha256=ab",
            "six @ https://x.example/Six-1-py3-none-any.whl#sha256=ab",
        ),
        ("pkg@https://x.example/p-1-py3-none-any.whl", "pkg @ https://x.example/p-1-py3-none-any.whl"),
    ],
)
def test_requirements(text: str, requirement: str) -> None:
    assert normal_requirement(text, "f") == requirement
    assert normal_requirement(requirement, "f") == requirement


@pytest.mark.parametrize(
    "text",
    [
        "-r reqs.txt",
        "six==1.16.0 --hash=sha256:ab",
        "--index-url https://x",
        "git+https://x/y",
        "./x",
        "https://x/y.whl",
        "y @ https://x/y-1.tar.gz",
        "y @ git+https://x/y",
        "https://u:p@h/y-1-py3-none-any.whl",
        "",
        "a b",
        "a @ https://u:p@h/a.whl",
    ],
)
def test_what_is_no_requirement(text: str) -> None:
    with pytest.raises(InvalidRequest):
        normal_requirement(text, "f")


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="ab1_.-=<>!~,|*+ []:'\"/@#$", max_size=16) | st.text(max_size=12))
def test_a_normal_form_is_its_own(text: str) -> None:
    for normal in (normal_spec, normal_channel, normal_requirement):
        try:
            found = normal(text, "f")
        except InvalidRequest as error:
            assert error.field == "f"
            continue
        assert normal(found, "f") == found


@pytest.mark.parametrize(
    "spec",
    [
        "foo[url=http://127.0.0.1:9/x/linux-64/foo-1.0-0.conda]",
        "foo[url='file:///etc/linux-64/passwd-1-0.conda']",
        "foo[version='1', url=\"https://x/linux-64/foo-1.0-0.conda\"]",
        "foo[ url = x]",
        "foo[fn=foo-1.0-0.conda]",
        "foo[version=1][url=x]",
        "foo[version='1',]",
        "foo[version='1' url='x']",
        "foo[version='[url=x]']",
    ],
)
def test_brackets_say_what_a_package_is_and_not_where(spec: str) -> None:
    with pytest.raises(InvalidRequest, match="bracket") as caught:
        normal_spec(spec, "packages.entries")
    assert caught.value.field == "packages.entries"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("foo[subdir=noarch]", "foo[subdir=noarch]"),
        ("foo[ subdir = 'noarch' ]", "foo[subdir=noarch]"),
        ("conda-forge::foo[subdir=noarch]", "conda-forge/noarch::foo"),
        ("foo=1[channel=conda-forge]", "conda-forge::foo=1"),
        ("foo[channel='conda-forge/noarch', build_number='>=1']", "conda-forge/noarch::foo[build_number='>=1']"),
        ("foo[channel=https://x.example/c,subdir=linux-64]", "https://x.example/c/linux-64::foo"),
        ("conda-forge/noarch::foo[channel=conda-forge]", "conda-forge/noarch::foo"),
        ("foo[license=MIT, license_family=MIT]", "foo[license=MIT,license_family=MIT]"),
    ],
)
def test_where_a_package_is_from(text: str, spec: str) -> None:
    """Fault E5: one thing however it is written, and kept for the solver."""
    assert normal_spec(text, "packages.entries") == spec
    assert normal_spec(spec, "packages.entries") == spec
    assert directory_of(spec) in ("noarch", "linux-64") or "subdir" not in text + spec


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("foo=1[version='2']", "version"),
        ("foo=1=h0[build=h1]", "build"),
        ("foo[version=1,version=2]", "twice"),
        ("a::foo[channel=b]", "two channels"),
        ("a/noarch::foo[subdir=linux-64]", "two platforms"),
        ("foo[subdir=nowhere]", "directory"),
        ("foo[extras=[x]]", "brackets"),
        ("foo[when='python>=3']", "brackets"),
        ("foo[features=x]", "brackets"),
        ("foo[url=https://x.example/c/noarch/foo-1-0.conda]", "entry of its own"),
        ("foo[channel='https://user:s3cr3t@h.example/x']", "login"),
        ("nodefaults::foo", "nodefaults"),
    ],
)
def test_restrictions_that_would_not_be_heeded(spec: str, words: str) -> None:
    """Fault E5: what a spec says of a package is heeded or refused."""
    with pytest.raises(InvalidRequest, match=words) as caught:
        normal_spec(spec, "packages.entries")
    assert "s3cr3t" not in caught.value.message


def test_brackets_that_say_what_a_package_is() -> None:
    for spec in ("foo[version='>=1,<2',build=h0_0]", "foo[build_number='>=3']", "foo[md5=" + "a" * 32 + "]"):
        assert normal_spec(spec, "packages.entries") == spec
