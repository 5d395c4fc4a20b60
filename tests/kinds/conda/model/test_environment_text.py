"""Texts whose type nobody declares: what they ask for, and why they do not."""

from __future__ import annotations

import json
import re
import textwrap

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wavelet.bounded_yaml import read_yaml
from wavelet.errors import CallerError, InvalidRequest, NotServed, TooLarge
from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.environment_text import Environment, read_entries, read_environment
from wavelet.kinds.conda.model.packages import Package, Wheel

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
FIELD = "packages.environment"
FORGE = "https://conda.anaconda.org/conda-forge"
SHA, SHB, MD5 = "a" * 64, "0" * 63 + "1", "1" * 32
ZLIB = f"{FORGE}/linux-64/zlib-1.3-h_0.conda"
ZLIB_ARM = f"{FORGE}/linux-aarch64/zlib-1.3-h_0.conda"
TZ = f"{FORGE}/noarch/tzdata-2024a-0.tar.bz2"
WHEEL = "https://files.example/numpy-1.26.4-cp312-cp312-manylinux_2_17_x86_64.whl"

CONDA_LOCK = f"""
version: 1
metadata:
  content_hash: {{linux-64: x}}
  channels: [{{url: conda-forge, used_env_vars: []}}, {{url: "https://h.example/t/tk/bioconda/"}}]
  platforms: [linux-64, linux-aarch64, osx-64]
package:
- {{name: zlib, manager: conda, platform: linux-64, url: "{ZLIB}", hash: {{md5: {MD5}, sha256: {SHA}}}, category: main}}
- {{name: zlib, manager: conda, platform: linux-aarch64, url: "{ZLIB_ARM}", hash: {{sha256: {SHB}}}, category: main}}
- {{name: tzdata, manager: conda, platform: linux-64, url: "{TZ}", hash: {{md5: {MD5}}}, categories: [main, dev]}}
- {{name: dev, manager: conda, platform: linux-64, url: "{FORGE}/noarch/dev-1-0.conda", hash: {{}}, category: dev}}
- {{name: numpy, manager: pip, platform: linux-64, url: "{WHEEL}", hash: {{sha256: {SHA}}}, category: main}}
"""

PIXI_6 = f"""
version: 6
environments:
  default:
    channels:
    - url: {FORGE}/
    - url: {FORGE}/
    indexes: [https://index.example/simple]
    options: {{pypi-prerelease-mode: if-necessary-or-explicit}}
    packages:
      linux-64:
      - conda: {ZLIB}
      - conda: {TZ}
      - pypi: {WHEEL}
      linux-aarch64:
      - conda: {ZLIB_ARM}
      osx-64:
      - conda: {FORGE}/osx-64/zlib-1.3-h_0.conda
      - pypi: ./local
  test:
    channels: []
    packages: {{}}
packages:
- conda: {ZLIB}
  sha256: {SHA}
  md5: {MD5}
  depends:
  - __glibc >=2.17
  size: 1234
- conda: {TZ}
  sha256: {SHB}
- conda: {ZLIB_ARM}
  sha256: {SHA}
- pypi: {WHEEL}
  name: numpy
  sha256: {SHA}
"""

PIXI_4 = f"""
version: 4
environments:
  default:
    channels: [{{url: conda-forge}}]
    packages:
      linux-64:
      - conda: {ZLIB}
packages:
- kind: conda
  name: zlib
  url: {ZLIB}
  sha256: {SHA}
"""

FLAT = "\n".join(
    line.strip()
    for line in PIXI_6.splitlines()
    if "test:" not in line and "channels: []" not in line and "{}" not in line
)


def read(text: str) -> Environment:
    return read_environment(textwrap.dedent(text), FIELD)


def test_an_environment_in_yaml() -> None:
    found = read("""\
        # comment
        name: my-env
        prefix: /home/somebody/envs/x
        channels:
          - conda-forge
          - https://mirror.example/bioconda/
          - nodefaults
          - conda-forge
        dependencies:
          - 'samtools=1.17'
          - python >=3.10
          - pip:multiqc
          - pip:
            - numpy >= 1.26
            - multiqc
        variables: {B: "2", A: x=y}
        """)
    assert found == Environment(
        ("python>=3.10", "samtools=1.17"),
        ("conda-forge", "https://mirror.example/bioconda"),
        ("multiqc", "numpy>=1.26"),
        ("A=x=y", "B=2"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "dependencies: [samtools=1.10]",
        '{"dependencies": ["samtools=1.10"]}',
        "---\ndependencies:\n- samtools=1.10\n",
        "\ufeffdependencies:\r\n- samtools=1.10\r\n",
        "samtools=1.10",
        "\n# packages\nsamtools=1.10  # pinned\n",
        "'samtools=1.10'\n",
        "samtools =1.10\nsamtools=1.10",
    ],
)
def test_one_thing_in_many_ways(text: str) -> None:
    assert read_environment(text, FIELD).specs == ("samtools=1.10",)


def test_a_list_of_specs_as_conda_exports_it() -> None:
    found = read("# platform: linux-64\nsamtools=1.17=h00cdaf9_0\nnumpy=1.26.4=pypi_0\nbwa\n")
    assert found.specs == ("bwa", "samtools==1.17=h00cdaf9_0")
    assert found.pip == ("numpy==1.26.4",)


def test_an_explicit_list() -> None:
    text = (
        f"# platform: linux-64\n@EXPLICIT\n{ZLIB}#{MD5}\nhttps://u:p@h.example/t/tk/c/noarch/a-1-0.conda#sha256:{SHA}\n"
    )
    found = read_environment(text, FIELD)
    locked = found.locked_for(AMD64, FIELD)
    assert locked.packages == (
        Package(ZLIB, None, MD5),
        Package("https://h.example/c/noarch/a-1-0.conda", SHA, None),
    )
    assert found.specs == ()
    with pytest.raises(
        InvalidRequest, match=r"^packages.environment: locks packages for linux-64, none for linux-aarch64"
    ):
        found.locked_for(ARM64, FIELD)
    assert read_environment(f"@EXPLICIT\n{TZ}", FIELD).locked_for(ARM64, FIELD).packages == (Package(TZ),)


@pytest.mark.parametrize(
    "line",
    [
        f"# pip numpy @ {WHEEL}#sha256={SHA}",
        f"#  pip numpy[x] @{WHEEL}#sha256:{SHA}",
        f"# pip numpy @ {WHEEL} --hash=sha256:{SHA}",
        f"# wheel: {WHEEL}#sha256:{SHA}",
    ],
)
def test_wheels_in_an_explicit_list(line: str) -> None:
    """Fault E2: wheels in the comments of explicit lists, ours and of others, were dropped."""
    for text in (f"# platform: linux-64\n@EXPLICIT\n{TZ}\n# a remark\n{line}\n", f"{line}\n@EXPLICIT\n{TZ}\n"):
        locked = read_environment(text, FIELD).locked_for(AMD64, FIELD)
        assert (locked.packages, locked.wheels) == ((Package(TZ),), (Wheel(WHEEL, SHA),))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("# pip six==1.16.0", "line 3: names a Python package without"),
        ("# pip six @ six.whl", "line 3: names a Python package without"),
        (f"# pip numpy @ {WHEEL}", "has no sha256"),
        (f"# pip numpy @ {WHEEL}#md5={MD5}", "line 3"),
        (f"# pip six @ https://x.example/six-1.16.0.tar.gz#sha256={SHA}", "not the URL of a wheel"),
        (f"# wheel: {WHEEL}", "has no sha256"),
    ],
)
def test_a_comment_that_names_what_cannot_be_taken(line: str, words: str) -> None:
    """Fault E2: what a reader of a lock does not understand it refuses."""
    with pytest.raises(InvalidRequest) as caught:
        read_environment(f"@EXPLICIT\n{TZ}\n{line}\n", FIELD)
    assert words in caught.value.message


def test_an_explicit_list_says_its_platform() -> None:
    found = read_environment(f"# platform: linux-64\n@EXPLICIT\n{TZ}\n", FIELD)
    assert found.locked_for(AMD64, FIELD).packages == (Package(TZ),)
    with pytest.raises(InvalidRequest, match=r"for linux-64, none for linux-aarch64.*arch = 'amd64'"):
        found.locked_for(ARM64, FIELD)


def test_packages_by_their_url_among_specs() -> None:
    found = read(f"dependencies:\n- bwa\n- {ZLIB}#{MD5}\n")
    assert (found.specs, found.locked_for(AMD64, FIELD).packages) == (("bwa",), (Package(ZLIB, None, MD5),))


def test_a_lock_of_conda_lock() -> None:
    found = read_environment(CONDA_LOCK, FIELD)
    assert found.channels == ("conda-forge", "https://h.example/bioconda")
    amd64 = found.locked_for(AMD64, FIELD)
    assert amd64.packages == (Package(ZLIB, SHA, MD5), Package(TZ, None, MD5))
    assert amd64.wheels == (Wheel(WHEEL, SHA),)
    assert found.locked_for(ARM64, FIELD).packages == (Package(ZLIB_ARM, SHB),)


@pytest.mark.parametrize(
    "text", [PIXI_6, PIXI_6.replace("version: 6", "version: 7\nplatforms:\n- name: linux-64"), FLAT]
)
def test_a_lock_of_pixi(text: str) -> None:
    found = read_environment(text, FIELD)
    assert found.channels == (FORGE,)
    amd64 = found.locked_for(AMD64, FIELD)
    assert amd64.packages == (Package(ZLIB, SHA, MD5), Package(TZ, SHB))
    assert amd64.packages[0].size == 1234
    assert amd64.wheels == (Wheel(WHEEL, SHA),)
    assert found.locked_for(ARM64, FIELD).packages == (Package(ZLIB_ARM, SHA),)


@pytest.mark.parametrize("version", ["4", "5"])
def test_an_older_lock_of_pixi(version: str) -> None:
    found = read_environment(PIXI_4.replace("version: 4", f"version: {version}"), FIELD)
    assert found.locked_for(AMD64, FIELD).packages == (Package(ZLIB, SHA),)


def test_what_a_lock_has_for_other_platforms_is_passed_over() -> None:
    source = "{name: s, manager: pip, platform: osx-64, url: https://x.example/s.zip, hash: {}, category: main}"
    assert read_environment(f"{CONDA_LOCK}- {source}\n", FIELD).locked_for(AMD64, FIELD).wheels
    text = PIXI_6.replace("- pypi: ./local", "- conda_source: x")
    assert read_environment(text, FIELD).locked_for(AMD64, FIELD).wheels


def test_a_lock_as_json() -> None:
    assert read_environment(json.dumps(yaml.load(PIXI_6, yaml.BaseLoader)), FIELD) == read_environment(PIXI_6, FIELD)


def test_other_platforms_than_conda_has() -> None:
    with pytest.raises(NotServed):
        read("samtools").locked_for(Platform("linux", "arm", "v7"), FIELD)


MARKED = "six; python_version >= '3.8'"


@pytest.mark.parametrize(
    "text",
    [
        f"dependencies:\n- python\n- pip:\n  - {MARKED}\n",
        f'dependencies:\n- python\n- pip:\n  - "{MARKED}"\n',
        f"python\npip:{MARKED}\n",
        f'python\n"pip:{MARKED}"\n',
        "python\npip:'six; python_version >= \"3.8\"'\n",
    ],
)
def test_only_what_is_quoted_as_a_whole_is_unquoted(text: str) -> None:
    """Fault E3: the last quote of a marker was cut off."""
    assert [each.replace('"', "'") for each in read(text).pip] == [MARKED]
    assert read_entries([(FIELD, f"pip:{MARKED}")]).pip == (MARKED,)
    assert read_entries([(FIELD, f'"pip:{MARKED}"')]).pip == (MARKED,)


@pytest.mark.parametrize("priority", ["flexible", "disabled"])
def test_another_priority_of_channels_is_refused(priority: str) -> None:
    """Fault E8: a channel priority that is not the one of the solver was read over."""
    with pytest.raises(InvalidRequest, match=r"channel_priority: .*strict") as caught:
        read(f"channels: [a]\nchannel_priority: {priority}\ndependencies: [samtools]\n")
    assert caught.value.field == FIELD
    assert read("channel_priority: strict\ndependencies: [samtools]\n").specs == ("samtools",)


@pytest.mark.parametrize(
    "head", ["%YAML 1.2\n---\n", "# x\n%YAML 1.2\n%TAG ! tag:x,2000:\n---\n", "%YAML 1.1\n--- # y\n"]
)
def test_a_directive_makes_it_yaml(head: str) -> None:
    """Fault E8: a file that begins with a directive of YAML was read as a list of specs."""
    assert read(f"{head}dependencies: [samtools]\n").specs == ("samtools",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no package"),
        ("# nothing\n", "names no package"),
        ("dependencies: []", "names no package"),
        ("@EXPLICIT\n", "names no package"),
        ("name: x\nchannels: [a]\n", "has name, channels, but no dependencies"),
        ("dependencies: samtools", "dependencies: is not a list"),
        ("dependencies: [samtools, [a]]", "dependencies[1]: is neither"),
        ("dependencies: [{sel(linux): x}]", "dependencies[0]: is neither"),
        ("dependencies: [a, {pip: [[x]]}]", "dependencies[1].pip[0]: is not a text"),
        ("dependencies: [a, 'b=']", "dependencies[1]: 'b='"),
        ("dependencies: [a, 'pip::b']", "one colon"),
        ("dependencies: [a, {pip: [-r x.txt]}]", "dependencies[1].pip: '-r x.txt' is an option"),
        ("channels: [{x: y}]\ndependencies: [a]", "channels[0]: is not a text"),
        ("channels: ['https://u:p@h/c']\ndependencies: [a]", "login"),
        ("variables: [a]\ndependencies: [a]", "variables: is not a mapping"),
        ("variables: {a-b: c}\ndependencies: [a]", "variables: 'a-b'"),
        ("samtools\nbwa=\n", "line 2: 'bwa='"),
        ("FROM ubuntu\nRUN apt-get install x\n", "Dockerfile"),
        ("{", "is not YAML"),
        ("dependencies:\n- a\n b: c\n", "line 3: is not YAML"),
        ("dependencies: &x [a]\nchannels: *x\n", "line 2: aliases"),
        ("dependencies: [a]\ndependencies: [b]\n", "line 2: the key 'dependencies' is there twice"),
        # Fault D8: newer parsers have a limit of their own, with other words; the sentence is the same.
        ("dependencies: " + "[" * 100_000, "is nested more than 32 deep"),
        ("dependencies:\n" + "- " * 100_000, "is nested more than 32 deep"),
        (f"@EXPLICIT\n{ZLIB}#xyz\n", "line 2: 'xyz' is not a md5"),
        (f"@EXPLICIT\n{ZLIB}#sha1:{SHA}\n", "line 2"),
        ("@EXPLICIT\nsamtools=1.17\n", "line 2: 'samtools=1.17' is no conda package's URL"),
        (f"@EXPLICIT\n{ZLIB}\n{ZLIB_ARM}\n", "linux-64 and linux-aarch64 together"),
        (f"@EXPLICIT\n{ZLIB}\n{ZLIB.replace('1.3', '1.2')}\n", "both zlib-1.3"),
        (PIXI_6.replace("version: 6", "version: 99"), "version '99'"),
        (PIXI_6.replace("default:", "other:"), "none of other, test is named default"),
        (PIXI_6.replace(WHEEL, "https://x.example/numpy-1.tar.gz"), "is not the URL of a wheel"),
        (PIXI_6.replace(f"conda: {TZ}", "conda: ./source"), "'./source' is no conda package's URL"),
        (CONDA_LOCK.replace("version: 1", "version: 9"), "version 9"),
        (CONDA_LOCK.replace(f"{{sha256: {SHA}}}", "{}"), "has no sha256"),
        (CONDA_LOCK.replace(MD5, "1e3"), "'1e3' is not a md5"),
        (FLAT.replace("version: 6", "version: 3"), "version '3'"),
        (FLAT + "\npackages:\n", "without indentation"),
        ("version: 6\nenvironments: {default: {packages: {osx-64: [{conda: x}]}}}\n", "only for osx-64"),
    ],
)
def test_a_mistake_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_environment(text, FIELD)
    assert caught.value.field == FIELD
    assert caught.value.message.startswith(f"{FIELD}: ")
    assert words in caught.value.message
    assert len(caught.value.message) < 700


def test_no_text_is_too_large_for_an_answer() -> None:
    for text in ("a" * (9 * 2**20), "\n".join(f"p{n}" for n in range(6000))):
        with pytest.raises(TooLarge):
            read_environment(text, FIELD)


WORDS = [*PIXI_6.splitlines(), *CONDA_LOCK.splitlines(), "@EXPLICIT", "dependencies:", "- a", "samtools=1", ZLIB]
TEXTS = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=30).map("\n".join),
    st.text(max_size=60),
    st.binary(max_size=60).map(lambda data: data.decode("latin-1")),
)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_environment(text, FIELD)
    except CallerError as error:
        assert error.message.startswith(FIELD)


VALUES = st.recursive(
    st.text(alphabet="ab:- 1'\n", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_yaml_is_read_as_others_read_it(value: object) -> None:
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    assert read_yaml(yaml.dump(value, Dumper=Plain), "f") == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dependencies: [bwa]\n---\ndependencies: [samtools]\n", "line 3: a second document"),
        ("dependencies: [bwa]\n...\n---\n[samtools]\n", "a second document"),
        ("- samtools\n- bwa\n", "`dependencies:` above it"),
        ("-c conda-forge\nsamtools\n", "options of conda"),
        ("--channel=conda-forge\nsamtools\n", "options of conda"),
        ("-c constraints.txt\nsix\n", "requirements.txt"),
        ("{}", "has no members, but no dependencies"),
        ("<!DOCTYPE html>\n<html>\n@EXPLICIT\n", "HTML"),
        (f"@EXPLICIT\n{ZLIB}\n# pip six {WHEEL}#sha256={SHA}\n", "line 3: names a wheel"),
        (f"@EXPLICIT\n{ZLIB}\n# six: {WHEEL}\n", "line 3: names a wheel"),
    ],
)
def test_nothing_is_dropped_and_the_sentence_says_what_it_is(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(words)):
        read_environment(text, FIELD)


def test_an_empty_end_is_no_second_document() -> None:
    assert read_environment("dependencies: [bwa]\n---\n", FIELD).specs == ("bwa",)


@pytest.mark.parametrize("begin", ["# pip: numpy", "# PIP numpy", "# pip numpy"])
def test_spellings_of_wheels_in_comments(begin: str) -> None:
    text = f"@EXPLICIT\n{ZLIB}\n{begin} @ {WHEEL}#sha256={SHA}\n"
    assert read_environment(text, FIELD).locked_for(AMD64, FIELD).wheels == (Wheel(WHEEL, SHA),)


def test_variables_that_images_have_are_noted() -> None:
    found = read_environment("dependencies: [bwa]\nvariables: {PATH: /x, BASH_ENV: y, A: b}\n", FIELD)
    assert [note.split()[1] for note in found.notes] == ["PATH", "BASH_ENV"]
    assert "PATH=/x" in found.variables
