"""Principals are values: equal ones have one text, and a text is read as the value that wrote it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.plan.tokens import ANONYMOUS, NOBODY, Identity, Login, Principal

PRINCIPALS = st.one_of(
    st.just(ANONYMOUS),
    st.integers(0, 2**32 - 1).map(Principal),
    st.text("0123456789abcdef").map(lambda key: Principal(login_key=key)),
)


@given(PRINCIPALS)
def test_what_is_written_is_read(principal: Principal) -> None:
    assert Principal.parse(str(principal)) == principal


@given(PRINCIPALS, PRINCIPALS)
def test_different_principals_have_different_texts(one: Principal, other: Principal) -> None:
    assert (one == other) == (str(one) == str(other))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "root",
        "Anonymous",
        "anonymous\n",
        "uid:",
        "uid:-1",
        "uid:01",
        "uid:1 ",
        "uid:1\n",
        "uid:\uff11",
        "uid:12345678901",
        "login",
        "login:a\nb",
    ],
)
def test_other_texts_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no principal"):
        Principal.parse(text)


def test_a_principal_never_shows_a_secret() -> None:
    identity = Identity(7, Login("ann", "s3cret"), "abc")
    assert NOBODY.principal == ANONYMOUS
    assert str(ANONYMOUS) == "anonymous"
    assert str(Identity(7).principal) == "uid:7"
    assert str(identity.principal) == "login:abc"
    assert "s3cret" not in repr(identity) + str(identity.principal) + repr(identity.principal)


def test_a_login_without_a_key_is_not_everybody() -> None:
    assert Identity(None, Login("ann", "s3cret")).principal != ANONYMOUS
