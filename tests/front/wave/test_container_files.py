"""Container files that Nextflow 22.10 to 23.10 write, and those that people write."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavelet.errors import CallerError, InvalidRequest, NotServed
from wavelet.front.reading.conda_container_file import recognised
from wavelet.front.wave.models import SubmitBody
from wavelet.front.wave.translate import translate
from wavelet.image.reference import Platform, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.registry_image.node import RegistryImage

AMD64 = Platform("linux", "amd64")
PROCPS = "conda-forge::procps-ng"
SITE = CondaDefaults.of("ubuntu:24.04", (PROCPS,), ("conda-forge", "bioconda"), platform=AMD64)
FROM = "FROM mambaorg/micromamba:1.4.1\n"
COPY = "COPY --chown=$MAMBA_USER:$MAMBA_USER conda.yml /tmp/conda.yml\n"
CLEAN = "micromamba clean -a -y\n"
CLEAN_LINE = f"    && {CLEAN}"
STRING = (
    f"{FROM}RUN \\\n    micromamba install -y -n base -c conda-forge -c defaults \\\n"
    f"    bioconda::salmon=1.10.3 conda-forge::python>=3.10 pip:numpy \\\n{CLEAN_LINE}"
)
FILE = f"{FROM}{COPY}RUN micromamba install -y -n base -f /tmp/conda.yml && \\\n    {CLEAN}"
FILE_23_10 = (
    "FROM mambaorg/micromamba:1.5.1\n"
    f"{COPY}RUN micromamba install -y -n base -f /tmp/conda.yml \\\n"
    f"    && micromamba install -y -n base conda-forge::procps-ng \\\n{CLEAN_LINE}USER root\n"
)
LOCK = (
    f"{FROM}RUN \\\n    micromamba install -y -n base -c conda-forge -c defaults \\\n"
    f"    -f https://prefix.example/wave/x/conda-lock.yml \\\n{CLEAN_LINE}"
)
YML = (
    "name: my-env\nchannels:\n  - conda-forge\n  - bioconda\ndependencies:\n  - salmon=1.10.3\n  - pip:\n    - numpy\n"
)


def plan(*specs: str, **members: Any) -> CondaEnvironment:
    base = RegistryImage(Reference.parse("ubuntu:24.04"), AMD64)
    values: dict[str, Any] = {"channels": ("conda-forge", "bioconda"), "platform": AMD64, "base": base}
    return CondaEnvironment(tuple(sorted(specs)), **(values | members))


def read(text: str, conda_file: str | None = None) -> CondaEnvironment | None:
    asked = recognised(text, conda_file)
    return None if asked is None else asked.plan(AMD64, SITE)


def test_a_list_of_packages() -> None:
    assert read(STRING) == plan(
        "bioconda::salmon=1.10.3",
        "conda-forge::python>=3.10",
        "pip",
        PROCPS,
        pip=("numpy",),
        channels=("conda-forge", "defaults"),
    )


def test_a_list_of_packages_of_the_first_version() -> None:
    text = (
        "FROM mambaorg/micromamba:0.25.1\nRUN \\\n   micromamba install -y -n base -c defaults -c conda-forge \\\n"
        "   samtools=1.16 'python >=3.8' \\\n   && micromamba clean -a -y\n"
    )
    assert read(text) == plan("samtools=1.16", "python>=3.8", PROCPS, channels=("defaults", "conda-forge"))


def test_a_file() -> None:
    expected = plan("salmon=1.10.3", "pip", PROCPS, pip=("numpy",))
    assert read(FILE, YML) == read(FILE_23_10, YML) == expected
    literal = YML.replace("  - pip:\n    - numpy\n", "  - pip:numpy\n")
    assert read(FILE_23_10, literal) == expected
    url = "https://conda.anaconda.org/conda-forge/linux-64/zlib-1.3-h_0.conda"
    assert read(FILE, f"@EXPLICIT\n{url}\n") == plan(PROCPS, locked=(Package(url),))


def test_a_lock_at_a_url() -> None:
    location = "https://prefix.example/wave/x/conda-lock.yml"
    assert read(LOCK) == plan(PROCPS, channels=("conda-forge", "defaults"), lock_location=location)


def test_base_packages_and_the_image() -> None:
    text = STRING.replace(CLEAN_LINE, f"    && micromamba install -y -n base bc which=2 \\\n{CLEAN_LINE}USER root\n")
    found = read(text.replace("mambaorg/micromamba:1.4.1", "my.example/mamba:1"))
    assert found is not None
    assert {"bc", "which=2"} < set(found.specs)
    assert PROCPS not in found.specs
    assert str(found.base.reference) == "my.example/mamba:1"


@pytest.mark.parametrize("text", [STRING, FILE_23_10, LOCK])
def test_commands_of_the_user(text: str) -> None:
    with pytest.raises(NotServed, match=r"^containerFile: this version of wavelet [^.]* commands [^.]*$"):
        read(text + "RUN echo hi\n", YML if "COPY" in text else None)


@pytest.mark.parametrize(
    ("text", "conda_file"),
    [
        ("", None),
        ("FROM alpine\n", None),
        ("FROM alpine\nRUN apk update && apk add bash cowsay\n", None),
        ("Bootstrap: docker\nFrom: alpine\n%post\n apk add bash\n", None),
        (FILE, None),
        (STRING, YML),
        (LOCK, YML),
        (FILE.replace("/tmp/conda.yml &&", "/tmp/other.yml &&"), YML),
        (STRING.replace(FROM, "FROM a AS b\n"), None),
        (STRING.replace(FROM, FROM * 2), None),
        (STRING.replace(FROM, f"ARG x=1\n{FROM}"), None),
        (STRING.replace(FROM, f"{FROM}USER root\n"), None),
        (STRING.replace("-n base", "-n other"), None),
        (STRING.replace("install -y", "install"), None),
        (STRING.replace("-c defaults", "-c $CHANNEL"), None),
        (STRING.replace("-c defaults", "--channel defaults"), None),
        (STRING.replace("pip:numpy", "--freeze-installed"), None),
        (STRING.replace("pip:numpy", "$(cat specs)"), None),
        (STRING.replace("pip:numpy", "numpy > /dev/null"), None),
        (STRING.replace("pip:numpy", "numpy; rm -rf /"), None),
        (STRING.replace("pip:numpy", "numpy || true"), None),
        (STRING.replace("pip:numpy", "`id`"), None),
        (STRING.replace("pip:numpy", "# numpy"), None),
        (STRING.replace(CLEAN_LINE, f"    && pip install numpy \\\n{CLEAN_LINE}"), None),
        (STRING.replace(CLEAN_LINE, "    && micromamba clean --all --yes\n"), None),
        (STRING.replace(CLEAN_LINE, "\n"), None),
        (STRING.replace("RUN \\", "RUN --mount=type=cache,target=/x \\"), None),
        (STRING.replace("micromamba install", "conda install"), None),
    ],
)
def test_what_a_person_has_written_is_not_mistaken(text: str, conda_file: str | None) -> None:
    assert read(text, conda_file) is None


@pytest.mark.parametrize(
    ("text", "conda_file", "field"),
    [
        (STRING.replace("pip:numpy", "bwa="), None, "containerFile"),
        (STRING.replace("pip:numpy", "https://x.example/l.yml"), None, "containerFile"),
        (FILE, "name: x\n", "condaFile"),
        (FILE_23_10, "dependencies: [a, 'b=']", "condaFile"),
    ],
)
def test_a_mistake_in_it_is_named(text: str, conda_file: str | None, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(text, conda_file)
    assert caught.value.field == field


LINES = [*STRING.splitlines(), *FILE_23_10.splitlines(), *LOCK.splitlines(), "RUN id", "ENV A=b", "# x", "WORKDIR /x"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=9))
def test_any_order_of_lines_is_recognised_or_refused(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        asked = recognised(text, None)
    except CallerError as error:
        assert error.field == "containerFile"
        return
    if asked is not None:
        assert lines[0].startswith("FROM ")
        assert not any(line.startswith(("RUN id", "ENV", "WORKDIR", "COPY")) for line in lines)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([STRING, FILE_23_10, LOCK]), st.data())
def test_a_further_instruction_anywhere_is_noticed(text: str, data: st.DataObject) -> None:
    """What a person adds is never left out: the file is another's, or has commands."""
    lines = text.splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines)))
    added = data.draw(st.sampled_from(["RUN id\n", "ENV A=b\n", "COPY x /x\n", "ENTRYPOINT x\n"]))
    changed = "".join([*lines[:at], added, *lines[at:]])
    try:
        assert recognised(changed, YML if "COPY --chown" in text else None) is None
    except NotServed as error:
        assert "commands" in error.message
    except InvalidRequest as error:
        assert error.field == "containerFile"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_doors_body() -> None:
    body = SubmitBody(container_file=b64(FILE), conda_file=b64(YML))
    assert translate(body, "v1", SITE).plan == plan("salmon=1.10.3", "pip", PROCPS, pip=("numpy",))
    assert translate(body, "v1", SITE).image.startswith("conda/")
    with pytest.raises(NotServed, match="runs no container files"):
        translate(SubmitBody(container_file=b64("FROM alpine\n")), "v1", SITE)
    with pytest.raises(InvalidRequest, match="containerFile: is not base64"):
        translate(SubmitBody(container_file="FROM alpine"), "v1", SITE)
    with pytest.raises(NotServed, match="condaFile: "):
        translate(SubmitBody(container_image="a", conda_file=b64(YML)), "v1", SITE)


SALMON = plan("salmon=1.10.3", PROCPS, channels=("conda-forge", "defaults"))
RECORDED = {
    "conda-string": read(STRING),
    "conda-file": read(FILE, YML),
    "conda-lock": plan(
        PROCPS,
        locked=(Package("https://conda.anaconda.org/conda-forge/linux-64/ca-certificates-2024.2.2-hbcca054_0.conda"),),
    ),
    "conda-remote": plan(
        PROCPS,
        channels=("conda-forge", "defaults"),
        lock_location="https://prefix.dev/envs/pditommaso/wave/6x60arx3od13/conda-lock.yml",
    ),
    "conda-opts": None,
    "dockerfile": None,
    "singularity-file": None,
}


def test_what_nextflow_sends(recording: dict[str, Any], request: pytest.FixtureRequest) -> None:
    case = request.node.callspec.id.partition("-")[2].removesuffix("-post")
    sent = recording["body"]
    if recording["path"] != "/container-token" or not (sent and sent.get("containerFile")):
        return
    body = msgspec.convert(sent, SubmitBody)
    expected = RECORDED.get(case, SALMON)
    if expected is None:
        with pytest.raises(NotServed):
            translate(body, "v1", SITE)
        return
    found = translate(body, "v1", SITE).plan
    assert (found.base if isinstance(found, AugmentedImage) else found) == expected
