"""From bodies to plans: rules, mistakes, and the properties that names depend on."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavelet.errors import CallerError, InvalidRequest, NotServed, WaveletError
from wavelet.front.reading.submission import Submission
from wavelet.front.wave.models import SubmitBody
from wavelet.front.wave.translate import translate
from wavelet.image.reference import Platform, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import canonical, decode, encode
from wavelet.plan.node import ContainerConfig
from wavelet.plan.tokens import target_name

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
BUSYBOX = Reference.parse("busybox:1.36")
PINNED = f"quay.io/a/b@sha256:{'ab' * 32}"
LAYER = {
    "location": "https://example.org/l.tar.gz",
    "gzipDigest": f"sha256:{'1' * 64}",
    "gzipSize": 10,
    "tarDigest": f"sha256:{'2' * 64}",
}


SITE = CondaDefaults.of("ubuntu:24.04", (), ("conda-forge",), platform=AMD64)


def submission(api: Any = "v1alpha2", **members: Any) -> Submission:
    return translate(msgspec.convert({"containerImage": "busybox:1.36"} | members, SubmitBody), api, SITE)


def test_an_image_is_of_one_platform() -> None:
    assert submission().plan == RegistryImage(BUSYBOX, AMD64)
    assert submission(containerPlatform="aarch64").plan == RegistryImage(BUSYBOX, ARM64)


@pytest.mark.parametrize(
    "config",
    [
        None,
        {},
        {"entrypoint": None, "cmd": None, "env": None, "workingDir": None, "layers": None},
        {"entrypoint": [], "cmd": [], "env": [], "workingDir": "", "layers": []},
    ],
)
def test_an_empty_config_is_none(config: Any) -> None:
    assert submission(containerConfig=config).plan == RegistryImage(BUSYBOX, AMD64)
    assert submission(containerImage=PINNED, containerConfig=config).plan.label.served_as.startswith("sha256:")


def test_a_config_and_includes() -> None:
    plan = submission(
        containerConfig={"env": ["A=1", "B=2", "A=3"], "entrypoint": ["/e"], "cmd": ["c"], "workingDir": "/w"},
        containerIncludes=["alpine", PINNED],
    ).plan
    includes = (RegistryImage(Reference.parse("alpine"), AMD64), RegistryImage(Reference.parse(PINNED), AMD64))
    config = ContainerConfig(("/e",), ("c",), ("A=3", "B=2"), "/w")
    assert plan == AugmentedImage(RegistryImage(BUSYBOX, AMD64), config, includes)


def test_several_platforms_are_an_index() -> None:
    plan = submission(containerPlatform="linux/arm64,linux/amd64,aarch64").plan
    assert plan == ImageIndex(((AMD64, RegistryImage(BUSYBOX, AMD64)), (ARM64, RegistryImage(BUSYBOX, ARM64))))
    plan = submission(containerPlatform="amd64,arm64", containerIncludes=["alpine"]).plan
    assert isinstance(plan, ImageIndex)
    for platform, member in plan.members:
        assert isinstance(member, AugmentedImage)
        assert member.base.platform == platform
        assert [include.platform for include in member.includes] == [platform]


def test_a_digest_pinned_image_is_kept_as_it_is() -> None:
    plans = [submission(containerImage=PINNED, containerPlatform=text).plan for text in (None, "amd64", "arm64")]
    assert plans == [RegistryImage(Reference.parse(PINNED))] * 3
    tagged = submission(containerImage=PINNED.replace("@", ":1@"))
    assert tagged.plan == plans[0]
    assert tagged.image == PINNED.replace("@", ":1@")


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({}, "library/busybox:1.36"),
        ({"containerImage": "registry.example:5000/x/y/z"}, "x/y/z:latest"),
        ({"containerConfig": {"env": ["A=1"]}}, "library/busybox:1.36"),
        ({"containerPlatform": "amd64,arm64"}, "library/busybox:1.36"),
        ({"containerImage": PINNED}, f"a/b@sha256:{'ab' * 32}"),
        ({"containerImage": PINNED, "containerConfig": {"env": ["A=1"]}}, "a/b:sha256-abababababab"),
        ({"containerImage": PINNED, "containerIncludes": ["alpine"]}, "a/b:sha256-abababababab"),
        ({"containerImage": PINNED, "containerPlatform": "amd64,arm64"}, "a/b:sha256-abababababab"),
    ],
)
def test_names(members: dict[str, Any], name: str) -> None:
    target = target_name("127.0.0.1:9090", "0" * 32, submission(**members).plan)
    assert target == f"127.0.0.1:9090/wt/{'0' * 32}/{name}"
    assert str(Reference.parse(target)) == target


@pytest.mark.parametrize(
    ("api", "members", "field", "words"),
    [
        ("v1alpha2", {"containerImage": None}, "containerImage", "nothing to make"),
        ("v1alpha2", {"containerImage": ""}, "containerImage", "nothing to make"),
        ("v1alpha2", {"containerFile": "RlJPTSB4"}, "containerFile", "together with containerImage"),
        ("v1alpha2", {"packages": {}}, "packages", "together with containerImage"),
        ("v1alpha2", {"containerImage": None, "containerFile": "x", "packages": {}}, "packages", "with containerFile"),
        ("v1alpha2", {"condaFile": "eA=="}, "condaFile", "packages.environment"),
        ("v1", {"packages": {}}, "packages", "POST /v1alpha2/container"),
        ("v1", {"nameStrategy": "none"}, "nameStrategy", "POST /v1alpha2/container"),
        ("v1", {"mirror": True, "buildRepository": "x.io/y"}, "mirror", "POST /v1alpha2/container"),
        ("v1alpha2", {"mirror": True, "freeze": True, "buildRepository": "x.io/y"}, "freeze", "mirror"),
        (
            "v1alpha2",
            {"mirror": True, "buildRepository": "x.io/y", "containerIncludes": ["a"]},
            "containerIncludes",
            "",
        ),
        ("v1alpha2", {"mirror": True, "containerConfig": {"cmd": ["x"]}}, "containerConfig", "mirror"),
        ("v1alpha2", {"mirror": True}, "buildRepository", "missing"),
        ("v1alpha2", {"buildRepository": "docker://x.io/y"}, "buildRepository", "scheme"),
        ("v1alpha2", {"cacheRepository": "s3://x"}, "cacheRepository", "scheme"),
        ("v1alpha2", {"nameStrategy": "tagprefix"}, "nameStrategy", "none, tagPrefix, imageSuffix"),
        ("v1alpha2", {"scanMode": "sync"}, "scanMode", "none, async, required"),
        ("v1alpha2", {"scanLevels": ["LOW", "low"]}, r"scanLevels[1]", "LOW, MEDIUM, HIGH, CRITICAL"),
        ("v1alpha2", {"buildCompression": {"mode": "xz"}}, "buildCompression.mode", "gzip, estargz, zstd"),
        ("v1alpha2", {"containerPlatform": "linux/riscv64"}, "containerPlatform", "linux/amd64"),
        ("v1alpha2", {"containerPlatform": "windows/amd64"}, "containerPlatform", "linux/amd64"),
        ("v1alpha2", {"containerPlatform": "amd64,"}, "containerPlatform", "linux/amd64"),
        ("v1alpha2", {"containerIncludes": ["a"] * 11}, "containerIncludes", "10 are accepted"),
        ("v1alpha2", {"containerConfig": {"env": ["A=1", "=2"]}}, "containerConfig.env[1]", "NAME=VALUE"),
        ("v1alpha2", {"containerConfig": {"env": [""]}}, "containerConfig.env[0]", "NAME=VALUE"),
        ("v1alpha2", {"containerConfig": {"env": ["A=\0"]}}, "containerConfig.env", "NUL"),
        ("v1alpha2", {"containerConfig": {"workingDir": "data"}}, "containerConfig.workingDir", "absolute path"),
        ("v1alpha2", {"containerConfig": {"cmd": ["\0"]}}, "containerConfig.cmd", "NUL"),
        ("v1alpha2", {"containerConfig": {"workingDir": "/\0"}}, "containerConfig.workingDir", "NUL"),
    ],
)
def test_a_mistake_is_named(api: str, members: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        submission(api, **members)
    assert caught.value.status == 400
    assert caught.value.field == field
    assert caught.value.message.startswith(f"{field}: ")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"containerImage": "docker://busybox"}, "containerImage"),
        ({"containerImage": "https://quay.io/a/b"}, "containerImage"),
        ({"containerImage": "BusyBox"}, "containerImage"),
        ({"containerImage": "a/../b"}, "containerImage"),
        ({"containerImage": "busybox@sha256:12"}, "containerImage"),
        ({"containerIncludes": ["alpine", "oras://x/y"]}, "containerIncludes[1]"),
    ],
)
def test_a_wrong_name_is_named(members: dict[str, Any], field: str) -> None:
    with pytest.raises(CallerError) as caught:
        submission(**members)
    assert caught.value.field == field
    assert field in caught.value.message


@pytest.mark.parametrize(
    ("api", "members", "field"),
    [
        ("v1alpha2", {"containerImage": None, "containerFile": "RlJPTSB4"}, "containerFile"),
        ("v1", {"containerImage": None, "containerFile": "RlJPTSB4", "condaFile": "eA=="}, "containerFile"),
        ("v1alpha2", {"containerImage": None, "packages": {"type": "CRAN", "entries": ["x"]}}, "packages.type"),
        ("v1", {"condaFile": "eA=="}, "condaFile"),
        ("v1alpha2", {"scanMode": "async"}, "scanMode"),
        ("v1alpha2", {"scanMode": "required"}, "scanMode"),
        ("v1alpha2", {"buildContext": LAYER}, "buildContext"),
    ],
)
def test_what_this_version_does_not_serve(api: str, members: dict[str, Any], field: str) -> None:
    with pytest.raises(NotServed, match=rf"^{field}: this version of wavelet [^.]*$") as caught:
        submission(api, **members)
    assert caught.value.status == 501


def test_what_needs_nothing_is_accepted() -> None:
    plain = submission().plan
    accepted = {
        "buildRepository": "127.0.0.1:19091/builds",
        "cacheRepository": "x.io/cache",
        "nameStrategy": "imageSuffix",
        "scanMode": "none",
        "scanLevels": ["LOW"],
        "buildCompression": {"mode": "zstd", "level": 3, "force": True},
        "format": "docker",
        "buildTemplate": "conda/pixi:v1",
        "unknown": {"a": 1},
    }
    assert submission(**accepted).plan == plain


TEXT = st.one_of(
    st.text(max_size=12), st.sampled_from(["busybox", PINNED, "linux/arm64", "A=1", "data:AAAA", "http://x/y"])
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = [field.encode_name for field in msgspec.structs.fields(SubmitBody)]
LAYERS = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys(LAYER, JSON | st.sampled_from(list(LAYER.values())))), max_size=2
)
LISTS = dict.fromkeys(("entrypoint", "cmd", "env", "workingDir"), JSON | st.lists(TEXT, max_size=3))
CONFIG = st.fixed_dictionaries({}, optional=LISTS | {"layers": LAYERS})
ANY = JSON | TEXT | st.booleans() | st.none()
BODY = st.fixed_dictionaries(
    {"containerImage": TEXT},
    optional={name: ANY for name in MEMBERS if name != "containerImage"} | {"containerConfig": CONFIG | st.none()},
)


@settings(max_examples=200, deadline=None)
@given(BODY | JSON, st.sampled_from(["v1", "v1alpha2"]))
def test_any_json_gives_a_plan_or_the_callers_error(body: Any, api: Any) -> None:
    try:
        asked = translate(msgspec.json.decode(json.dumps(body).encode(), type=SubmitBody), api, SITE)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    except WaveletError as error:
        assert isinstance(error, CallerError)
        assert error.field
        assert error.field in error.message
        return
    assert canonical(asked.plan)
    assert decode(encode(asked.plan), FORMS) == asked.plan
    target_name("127.0.0.1:9090", "0" * 32, asked.plan)


ENV = st.lists(st.from_regex(r"[A-C](=[a-c]{0,2})?", fullmatch=True), max_size=6)
REQUEST = st.fixed_dictionaries(
    {
        "containerImage": st.sampled_from(["busybox:1.36", "docker.io/library/busybox:1.36", PINNED, "quay.io/x/y"]),
        "containerPlatform": st.sampled_from([None, "linux/amd64", "x86_64", "arm64", "amd64,arm64"]),
        "containerConfig": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "env": ENV | st.none(),
                "entrypoint": st.lists(TEXT.filter(lambda t: "\0" not in t), max_size=2) | st.none(),
                "workingDir": st.sampled_from([None, "", "/w"]),
                "layers": st.none() | st.lists(st.just(LAYER), max_size=2),
            },
        ),
        "containerIncludes": st.none() | st.lists(st.sampled_from(["alpine", PINNED]), max_size=2),
    }
)
NOISE = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": JSON,
        "fingerprint": st.text(max_size=5),
        "workflowId": TEXT,
        "towerAccessToken": TEXT,
        "towerRefreshToken": JSON,
        "towerEndpoint": JSON,
        "towerWorkspaceId": JSON,
        "scanMode": st.sampled_from([None, "none"]),
        "scanLevels": st.sampled_from([None, [], ["LOW"]]),
        "dryRun": st.sampled_from([None, True, False]),
        "freeze": st.sampled_from([None, False]),
        "mirror": st.sampled_from([None, False]),
        "futureMember": JSON,
    },
)


def rewritten(body: dict[str, Any], seed: random.Random) -> dict[str, Any]:
    """Return an equal request in another form: order, nulls, default platform, environment, locations."""
    other: dict[str, Any] = json.loads(json.dumps(body))
    if other["containerPlatform"] in (None, "linux/amd64", "x86_64"):
        other["containerPlatform"] = seed.choice([None, "linux/amd64", "amd64", "linux/x86-64"])
    config = other["containerConfig"] or {}
    for name in ("env", "entrypoint", "cmd", "workingDir", "layers"):
        if not config.get(name):
            config[name] = seed.choice([None, "" if name == "workingDir" else []])
    for layer in config.get("layers") or []:
        layer |= {"location": f"http://{seed.random()}.example/x", "skipHashing": True}
        layer["gzipSize"] = seed.choice([10, "10", None])
    if config["env"]:
        config["env"] = [f"{config['env'][0].partition('=')[0]}=overridden", *config["env"]]
    other["containerConfig"] = config
    other |= {name: None for name in MEMBERS if name not in other}
    members = list(other.items())
    seed.shuffle(members)
    return dict(members)


@settings(max_examples=150, deadline=None)
@given(REQUEST, NOISE, NOISE, st.randoms(use_true_random=False))
def test_equal_requests_have_equal_canonical_plans(
    body: dict[str, Any], noise: dict[str, Any], other_noise: dict[str, Any], seed: random.Random
) -> None:
    one = submission(**(body | noise)).plan
    other = submission(**(rewritten(body, seed) | other_noise)).plan
    assert canonical(one) == canonical(other)
    assert one.label.served_as == other.label.served_as


def test_v1_and_v2_ask_for_the_same() -> None:
    assert canonical(submission("v1").plan) == canonical(submission("v1alpha2").plan)


def test_different_requests_have_different_canonical_plans() -> None:
    plans = [
        submission(**members).plan
        for members in (
            {},
            {"containerImage": "busybox:1.37"},
            {"containerPlatform": "arm64"},
            {"containerPlatform": "amd64,arm64"},
            {"containerConfig": {"env": ["A=1"]}},
            {"containerConfig": {"env": ["A=2"]}},
            {"containerConfig": {"cmd": ["A=1"]}},
            {"containerConfig": {"layers": [LAYER]}},
            {"containerConfig": {"layers": [LAYER, LAYER]}},
            {"containerIncludes": ["alpine"]},
        )
    ]
    assert len({canonical(plan) for plan in plans}) == len(plans)
