import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster import golden
from cluster.suite import KEY, decided_record, image_record, layer_record, pin_of, undecided_record
from wavelet.cluster.records import Record, authenticate, open_binding, seal_binding
from wavelet.errors import InvalidRequest, NewerForm
from wavelet.image.reference import Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.plan import canonical
from wavelet.plan.node import ContainerConfig
from wavelet.plan.tokens import Principal

VALUES = st.text(st.characters(blacklist_categories=["Cs"]))


@given(st.lists(VALUES.map(lambda text: f"N={text}"), max_size=3), st.lists(VALUES, max_size=3), VALUES)
def test_a_record_keeps_its_token(env: list[str], command: list[str], directory: str) -> None:
    config = ContainerConfig(cmd=tuple(command), env=tuple(env), working_dir=directory)
    record = Record(AugmentedImage(RegistryImage(Reference.parse("busybox")), config), Principal(7))
    again = Record.decode(record.encode(), FORMS)
    assert again.token(KEY) == record.token(KEY)
    assert authenticate(record.token(KEY), record.encode(), KEY, FORMS) == again


def test_it_is_read_as_it_was_written() -> None:
    old = (image_record(), image_record(principal=Principal(4294967294)), layer_record(b"x")[0])
    pinned = tuple(replace(record, pin=pin_of(record)) for record in old)
    undecided = tuple(replace(record, nonce="0f") for record in old)
    named_before = tuple(replace(record, first="ab" * 16) for record in pinned)
    for record in (*old, *pinned, *undecided, *named_before):
        assert Record.decode(record.encode(), FORMS) == record
        assert authenticate(record.token(KEY), record.encode(), KEY, FORMS) == record


def test_what_equal_requests_get_instead_takes_no_part_in_the_name() -> None:
    record = decided_record()
    assert replace(record, first="ab" * 16).token(KEY) == record.token(KEY)


@pytest.mark.parametrize("first", ["", "x", "AB" * 16, "../../etc/passwd", "ab" * 17])
def test_what_is_no_name_is_no_first_one(first: str) -> None:
    data = replace(decided_record(), first="ab" * 16).encode().replace(b"ab" * 16, first.encode())
    assert Record.decode(data, FORMS) == decided_record()


@pytest.mark.parametrize("nonce", ["", "x", "AB", "0" * 65, "00\\n"])
def test_what_is_no_nonce_is_refused(nonce: str) -> None:
    data = undecided_record(nonce="ab").encode().replace(b'"nonce":"ab"', b'"nonce":"%b"' % nonce.encode())
    with pytest.raises(InvalidRequest):
        Record.decode(data, FORMS)


@given(st.binary())
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        Record.decode(data, FORMS)


@pytest.mark.parametrize(
    "principal", ["", "root", "uid:", "uid:-1", "uid:1 ", "uid:\uff11", "uid:01", "login:abc", "anonymous\r"]
)
def test_other_principals_are_refused(principal: str) -> None:
    with pytest.raises(InvalidRequest):
        Record.decode(principal.encode() + b"\n" + canonical.encode(image_record().plan), FORMS)


def test_a_changed_principal_is_another_name() -> None:
    record = image_record(principal=Principal(1))
    with pytest.raises(InvalidRequest, match="does not belong"):
        authenticate(record.token(KEY), image_record(principal=Principal(2)).encode(), KEY, FORMS)


# -- what others may have written -------------------------------------------------------------------------------------

MEMBERS = ("version", "needs", "asked", "plan", "pin", "parts", "maker", "nonce", "first", "from", "base", "platform")
MORE = ("config", "env", "layers", "index", "lock", "conda", "packages", "url", "specs", "includes", "libc", "scripts")
NUMBERS = st.integers() | st.floats() | st.sampled_from([1, 2, 3, 10**400])
TEXTS = st.text(max_size=6) | st.sampled_from(["a/b:1", f"a/b@sha256:{'0' * 64}", "linux/amd64", "\ud800", "ab" * 16])
HOSTILE = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS + MORE), inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.fixed_dictionaries(
    {"version": st.sampled_from([1, 2, 3]) | HOSTILE, "asked": HOSTILE, "plan": HOSTILE},
    optional={"pin": HOSTILE, "nonce": HOSTILE, "first": HOSTILE, "needs": HOSTILE},
)
FILES = [
    kept.files[f"{token[:2]}/{token}"].partition("\n")[2]
    for kept in map(golden.load, (1, 2))
    for token in kept.tokens.values()
]


def refused_or_read(data: bytes) -> None:
    for read in (lambda kept: Record.decode(kept, FORMS), lambda kept: authenticate("0" * 32, kept, KEY, FORMS)):
        try:
            read(data)
        except (InvalidRequest, NewerForm) as error:
            assert str(error)


@pytest.mark.parametrize(
    "body",
    [
        '{"version":1,"plan":{"base":{"from":"a"},"config":{"env":[1]}}}',
        '{"version":1,"plan":{"base":{"from":"a"},"config":{"cmd":["\\ud800"]}}}',
        '{"version":2,"asked":{"from":"a"},"pin":{"parts":[{"lock":{"platform":"linux/amd64","packages":[{"url":[]}],'
        f'"base":{{"from":"a@sha256:{"0" * 64}"}}}}}}]}}}}',
    ],
)
def test_what_reads_well_and_is_no_plan_is_refused(body: str) -> None:
    with pytest.raises(InvalidRequest, match="not a record"):
        authenticate("0" * 32, b"anonymous\n" + body.encode(), KEY, FORMS)


@given(DOCUMENTS | HOSTILE)
def test_a_hostile_record_is_refused_and_nothing_else(document: Any) -> None:
    refused_or_read(b"anonymous\n" + json.dumps(document).encode())


@given(st.sampled_from(FILES), st.data())
def test_a_changed_record_is_refused_and_nothing_else(kept: str, data: st.DataObject) -> None:
    principal, _, body = kept.partition("\n")
    document = json.loads(body)
    at = document
    while isinstance(at, dict | list) and at:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        step = data.draw(st.sampled_from(keys))
        if not isinstance(at[step], dict | list) or not at[step] or data.draw(st.booleans()):
            at[step] = data.draw(HOSTILE)
            break
        at = at[step]
    refused_or_read(principal.encode() + b"\n" + json.dumps(document).encode())


@given(st.binary(max_size=80))
def test_a_binding_is_opened_by_its_name_and_key_alone(data: bytes) -> None:
    record = undecided_record()
    token, pin = record.token(KEY), pin_of(record)
    good = seal_binding(token, pin, record.plan, KEY, FORMS)
    assert open_binding(token, good, record.plan, KEY, FORMS) == pin
    for name, sealed, key in (
        (token, data, KEY),
        (token, good + data + b" ", KEY),
        (token, good[:-1] + data, KEY) if data != good[-1:] else (token, b"", KEY),
        ("0" * 32, good, KEY),
        (token, good, bytes(32)),
    ):
        with pytest.raises(InvalidRequest, match="does not belong"):
            open_binding(name, sealed, record.plan, key, FORMS)
