"""The table of who speaks for whom."""

from __future__ import annotations

import pytest

from wavelet.errors import AccessRefused
from wavelet.plan.tokens import ANONYMOUS, NOBODY, Identity, Login, Principal
from wavelet.requests.access import AccessRules, Caller

ROOT = AccessRules(0, frozenset({900}))
ANN = AccessRules(1000, frozenset({900}))
LOGIN = Login("ann", "secret")
OWN_LOGIN = Identity(None, LOGIN, "key")


def caller(uid: int | None, *, login: bool = False) -> Caller:
    return Caller(uid, LOGIN if login else None, "key" if login else "")


@pytest.mark.parametrize("uid", [None, 0, 1000, 1001, 900])
def test_roots_daemon_serves_all(uid: int | None) -> None:
    ROOT.admit(caller(uid))


@pytest.mark.parametrize(("uid", "served"), [(None, True), (0, True), (1000, True), (900, True), (1001, False)])
def test_a_users_daemon_serves_that_user_and_engines(uid: int | None, served: bool) -> None:
    if served:
        ANN.admit(caller(uid))
        return
    with pytest.raises(AccessRefused, match=r"belongs to uid 1000.*you are uid 1001"):
        ANN.admit(caller(uid))


@pytest.mark.parametrize(
    ("rules", "uid", "identity"),
    [
        (ROOT, None, NOBODY),
        (ROOT, 0, Identity(0)),
        (ROOT, 1001, Identity(1001)),
        (ROOT, 900, Identity(900)),
        (ANN, None, NOBODY),
        (ANN, 0, Identity(1000)),
        (ANN, 1000, Identity(1000)),
    ],
)
def test_who_asks(rules: AccessRules, uid: int | None, identity: Identity) -> None:
    assert rules.request_identity(caller(uid)) == identity


@pytest.mark.parametrize(
    ("rules", "uid", "login", "identity"),
    [
        (ROOT, None, False, NOBODY),
        (ROOT, 0, False, NOBODY),
        (ROOT, 900, False, NOBODY),
        (ROOT, 1001, False, Identity(1001)),
        (ROOT, 0, True, OWN_LOGIN),
        (ROOT, 1001, True, OWN_LOGIN),
        (ROOT, None, True, OWN_LOGIN),
        (ANN, 0, False, Identity(1000)),
        (ANN, None, False, NOBODY),
    ],
)
def test_who_pulls_without_a_token(rules: AccessRules, uid: int | None, login: bool, identity: Identity) -> None:
    assert rules.pull_identity(caller(uid, login=login)) == identity


@pytest.mark.parametrize(
    ("uid", "login", "identity"),
    [
        (1001, False, Identity(1001)),
        (0, False, Identity(1001)),
        (900, False, Identity(1001)),
        (1002, False, None),
        (None, False, None),
        (1002, True, OWN_LOGIN),
        (None, True, OWN_LOGIN),
        (1001, True, Identity(1001)),
    ],
)
def test_who_pulls_a_users_token(uid: int | None, login: bool, identity: Identity | None) -> None:
    if identity is not None:
        assert ROOT.token_identity(caller(uid, login=login), Principal(1001)) == identity
        return
    with pytest.raises(AccessRefused, match="another user"):
        ROOT.token_identity(caller(uid, login=login), Principal(1001))


@pytest.mark.parametrize("uid", [None, 0, 900, 1001])
def test_everyone_pulls_a_token_for_all_as_nobody(uid: int | None) -> None:
    assert ROOT.token_identity(caller(uid), ANONYMOUS) == NOBODY
    assert ROOT.token_identity(caller(uid, login=True), ANONYMOUS) == NOBODY


@pytest.mark.parametrize(
    ("rules", "identity", "principal", "may"),
    [
        (ROOT, Identity(1001), Principal(1001), True),
        (ROOT, Identity(0), Principal(1001), True),
        (ROOT, Identity(1002), Principal(1001), False),
        (ROOT, NOBODY, Principal(1001), False),
        (ROOT, NOBODY, ANONYMOUS, False),
        (ROOT, Identity(1001), ANONYMOUS, False),
        (ANN, Identity(1000), ANONYMOUS, True),
        (ROOT, OWN_LOGIN, Principal(login_key="key"), False),
    ],
)
def test_who_may_evict(rules: AccessRules, identity: Identity, principal: Principal, may: bool) -> None:
    assert rules.may_evict(identity, principal) is may


def test_the_identity_behind_a_token() -> None:
    assert Identity.of(ANONYMOUS) == NOBODY
    assert Identity.of(Principal(7)) == Identity(7)


def test_no_work_is_done_for_who_has_only_the_hash_of_a_login() -> None:
    with pytest.raises(ValueError, match="login:key"):
        Identity.of(OWN_LOGIN.principal)
