"""With whose login frozen images are pushed, and what is said where none may."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab import images, versions
from lab.engines import skopeo
from lab.http import Answer
from lab.push_site import VERSION, PushSite, post_as
from lab.registry import PASSWORDS, Registry
from lab.users import User

pytestmark = pytest.mark.registry


def digest(name: str, account: str) -> str:
    """Return the digest of an image, as an account of its registry is told it."""
    login = (account, PASSWORDS[account])
    shown = skopeo("inspect", "--tls-verify=false", "--no-tags", f"docker://{name}", login=login)
    return str(shown["Digest"])


def status_as(user: User, site: PushSite, answer: Answer) -> dict[str, object]:
    """Return the state of a user's request once it is decided."""
    assert answer.status == 200, answer.body
    path = f"{site.node.url}/v1alpha2/container/{answer.json()['requestId']}/status"
    while (state := dict(user.get(path).json()))["status"] != "DONE":
        pass
    return state


@pytest.mark.parametrize("version", ["23.10", VERSION])
def test_who_may_not_push_is_told_which_login_was_used_and_which_right_is_missing(
    push_site: PushSite, version: str
) -> None:
    repository = f"{push_site.locked.host}/team/refused"
    fields = {"containerImage": push_site.base, "buildRepository": repository, "freeze": True}
    answer = versions.post(push_site.node, version, **fields)
    assert answer.status == 403
    said = answer.json()["message"]
    for part in ("wave.build.repository", "asked as: anonymous", f"right to push to {repository}", "wavelet login"):
        assert part in said
    assert len(said.splitlines()) == 1


@pytest.mark.skopeo
def test_a_login_that_was_handed_over_counts_at_once(push_site: PushSite) -> None:
    repository = f"{push_site.locked.host}/team/handed"
    fields = {"entries": ["bioconda::bwa=0.7.17"], "freeze": True, "buildRepository": repository}
    assert versions.post(push_site.node, "23.10", **fields).status == 403
    with push_site.logged_in("ann"):
        answer = versions.ask(push_site.node, "23.10", **fields)
        assert digest(answer["targetImage"], "ann").startswith("sha256:")


@pytest.mark.users
@pytest.mark.skopeo
def test_a_wrong_login_is_named_and_a_right_one_counts_at_once(push_site: PushSite, ann: User) -> None:
    site, host = push_site, push_site.locked.host
    fields = {"containerImage": site.base, "buildRepository": f"{host}/team/of-ann", "freeze": True}
    ann.log_in(host, "ann", "not-her-password")
    refused = post_as(ann, site.node, **fields)
    said = str(refused.json()["message"] if refused.status != 200 else status_as(ann, site, refused)["reason"])
    for part in ("wave.build.repository", f"login of uid {ann.uid}", "right to push", f"wavelet login {host}"):
        assert part in said
    ann.log_in(host, "ann", PASSWORDS["ann"])
    answer = post_as(ann, site.node, **fields)
    assert status_as(ann, site, answer)["succeeded"] is True
    assert digest(answer.json()["targetImage"], "bob").startswith("sha256:")


@pytest.mark.users
@pytest.mark.skopeo
def test_what_one_may_read_goes_where_one_may_write(
    push_site: PushSite, start_registry: Callable[..., Registry], ann: User, bob: User
) -> None:
    """Ann's private image, with a layer added, is pushed as Ann; Bob, who may push there, is not given it."""
    private, host = start_registry(accounts=("ann",)), push_site.locked.host
    secret = images.layer({"secret": b"nobody but ann may read this\n"})
    source = private.push("secret/tool", "1", images.busybox(secret))
    fields = {"containerImage": source, "buildRepository": f"{host}/team/private", "freeze": True}
    fields |= {"config": {"env": ["A=b"]}}
    ann.log_in(private.host, "ann", PASSWORDS["ann"])
    bob.log_in(host, "bob", PASSWORDS["bob"])
    refused = post_as(ann, push_site.node, **fields)
    said = str(refused.json()["message"] if refused.status != 200 else status_as(ann, push_site, refused)["reason"])
    assert "right to push" in said
    ann.log_in(host, "ann", PASSWORDS["ann"], also=True)
    answer = post_as(ann, push_site.node, **fields)
    assert status_as(ann, push_site, answer)["succeeded"] is True
    assert digest(answer.json()["targetImage"], "ann").startswith("sha256:")
    assert post_as(bob, push_site.node, **fields).status in (401, 403, 404)


@pytest.mark.users
@pytest.mark.skopeo
def test_two_users_have_a_name_each_and_send_what_they_share_once(push_site: PushSite, ann: User, bob: User) -> None:
    site, host = push_site, push_site.locked.host
    base = site.target.push("bases/shared", "1", images.busybox(images.layer({"f": b"of both"})))
    fields = {"containerImage": base, "config": {"env": ["A=b"]}, "freeze": True}
    names, sent = [], []
    for user, account in ((ann, "ann"), (bob, "bob")):
        user.log_in(host, account, PASSWORDS[account])
        answer = post_as(user, site.node, buildRepository=f"{host}/team/both", **fields)
        assert status_as(user, site, answer)["succeeded"] is True
        names.append(answer.json()["targetImage"])
        sent.append(site.locked.count("/v2/team/both/blobs/uploads/", "PUT"))
    assert names[0] != names[1] and sent[0] == sent[1] > 0
    assert digest(names[0], "bob") == digest(names[1], "ann")
