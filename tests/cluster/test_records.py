import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.suite import KEY, image_record, layer_record
from wavelet.cluster.records import Record, authenticate
from wavelet.errors import InvalidRequest
from wavelet.image.reference import Reference
from wavelet.plan.plan import ContainerConfig, WithConfig
from wavelet.plan.source import FromRegistry

VALUES = st.text(st.characters(blacklist_categories=["Cs"]))


@given(st.lists(VALUES.map(lambda text: f"N={text}"), max_size=3), st.lists(VALUES, max_size=3), VALUES)
def test_a_record_keeps_its_token(env: list[str], command: list[str], directory: str) -> None:
    config = ContainerConfig(cmd=tuple(command), env=tuple(env), working_dir=directory)
    record = Record(WithConfig(FromRegistry(Reference.parse("busybox")), config), "uid:7")
    again = Record.decode(record.encode())
    assert again.token(KEY) == record.token(KEY)
    assert authenticate(record.token(KEY), record.encode(), KEY) == again


def test_it_is_read_as_it_was_written() -> None:
    for record in (image_record(), image_record(principal="uid:4294967294"), layer_record(b"x")[0]):
        assert Record.decode(record.encode()) == record


@given(st.binary())
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        Record.decode(data)


@pytest.mark.parametrize(
    "principal", ["", "root", "uid:", "uid:-1", "uid:1 ", "uid:\uff11", "login:abc", "anonymous\r"]
)
def test_other_principals_are_refused(principal: str) -> None:
    with pytest.raises(InvalidRequest):
        Record.decode(image_record(principal=principal).encode())


def test_a_changed_principal_is_another_name() -> None:
    record = image_record(principal="uid:1")
    with pytest.raises(InvalidRequest, match="does not belong"):
        authenticate(record.token(KEY), image_record(principal="uid:2").encode(), KEY)
