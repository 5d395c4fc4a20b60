"""Who may push, how much there may be, what goes by itself, and what is a manifest: pure."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.errors import AccessRefused, ManifestInvalid, NoSpace
from wavelet.hosted.model import HostedRepository, read_pushed, readers_view, view_of
from wavelet.hosted.policy import (
    UNNAMED_LIFETIME,
    UNTAGGED_LIFETIME,
    Kept,
    Pushes,
    check_pusher,
    check_room,
    expired,
    leads_to,
    unnamed,
    without,
)
from wavelet.image.image import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from wavelet.image.reference import Digest, Repository
from wavelet.plan import hosted
from wavelet.plan.tokens import ANONYMOUS, NOBODY, Identity, Login, Principal

A, B, C, D, E = (Digest.of(letter.encode()) for letter in "abcde")
NOW = 10 * UNTAGGED_LIFETIME


@pytest.mark.parametrize(
    ("pushes", "daemon", "caller"),
    [("on", 0, None), ("on", 0, 1000), ("on", 1000, None), ("auto", 1000, 1000), ("auto", 1000, 0)],
)
def test_who_may_push(pushes: Pushes, daemon: int, caller: int | None) -> None:
    check_pusher(pushes, daemon, caller)


@pytest.mark.parametrize(
    ("pushes", "daemon", "caller"),
    [("off", 1000, 1000), ("off", 0, 0), ("auto", 0, 0), ("auto", 0, 1000), ("auto", 1000, None)],
)
def test_who_may_not_push_hears_of_the_setting(pushes: Pushes, daemon: int, caller: int | None) -> None:
    with pytest.raises(AccessRefused, match=r"hosted\.pushes"):
        check_pusher(pushes, daemon, caller)


@pytest.mark.parametrize("pushes", ["on", "auto"])
def test_who_cannot_be_told_from_others_pushes_nothing(pushes: Pushes) -> None:
    with pytest.raises(AccessRefused, match="for whom they are"):
        check_pusher(pushes, 1000, 1000, hidden=True)


def test_the_limit_is_named() -> None:
    check_room(10, 10)
    with pytest.raises(NoSpace, match=r"hosted\.limit.*cache gc"):
        check_room(11, 10)


def test_a_name_is_the_readers_own_then_everybodys() -> None:
    ann = Identity(1001)
    assert [each.owner for each in readers_view(ann, "tool")] == [Principal(uid=1001), ANONYMOUS]
    assert [each.owner for each in readers_view(NOBODY, "tool")] == [ANONYMOUS]


@pytest.mark.parametrize("owner", [ANONYMOUS, Principal(uid=0), Principal(uid=1001), Principal(login_key="0a" * 16)])
def test_a_plan_says_whose_repository_it_is(owner: Principal) -> None:
    repository = HostedRepository(owner, "team/tool").source.repository
    assert (hosted.owner_of(repository), hosted.path_of(repository)) == (owner, "team/tool")


def test_a_plans_repository_is_open_to_its_owner_alone() -> None:
    anns = hosted.owned(Principal(uid=1001), "tool")
    assert [each.owner for each in view_of(anns, Identity(1001))] == [Principal(uid=1001)]
    for other in (NOBODY, Identity(1002), Identity(None, Login("ann", "x"), "ab")):
        assert view_of(anns, other) == []
    assert [each.owner for each in view_of(hosted.owned(ANONYMOUS, "tool"), Identity(1002))] == [ANONYMOUS]
    assert hosted.owner_of(Repository("quay.io", "all/tool")) is None
    assert hosted.owner_of(hosted.unowned("all/tool")) is None


def kept(*members: Digest, subject: Digest | None = None, used: float = 0.0) -> Kept:
    return Kept(members, subject, used)


REPOSITORY = {A: kept(B, C), B: kept(E), C: kept(E), D: kept(subject=A)}
"""An index A of two images, which share a blob E, and a signature D of the index."""


def test_what_a_tag_leads_to() -> None:
    assert leads_to(REPOSITORY, [A]) == {A, B, C, D}
    assert leads_to(REPOSITORY, [B]) == {B}
    assert leads_to(REPOSITORY, [E]) == set()


def test_with_an_image_goes_what_it_alone_leads_to() -> None:
    assert without(REPOSITORY, [], A) == {A, B, C, D}
    assert without(REPOSITORY, [B], A) == {A, C, D}
    assert without(REPOSITORY, [], B) == set()  # the index has it still


def test_what_no_tag_leads_to_goes_in_the_end() -> None:
    assert expired(REPOSITORY, [A], NOW) == set()
    assert expired(REPOSITORY, [], NOW) == {A, B, C, D}
    assert expired({A: kept(B, used=NOW - UNTAGGED_LIFETIME + 1), B: kept()}, [], NOW) == set()


def test_blobs_wait_a_day_for_their_manifest() -> None:
    blobs = {D: NOW - UNNAMED_LIFETIME - 1, E: NOW - UNNAMED_LIFETIME - 1, A: NOW}
    assert unnamed(blobs, {B: kept(E)}, NOW) == {D}


@given(
    st.dictionaries(
        st.sampled_from([A, B, C, D]),
        st.tuples(st.lists(st.sampled_from([A, B, C, D, E])), st.sampled_from([None, A, B])),
    ),
    st.sets(st.sampled_from([A, B, C, D])),
    st.sampled_from([A, B, C, D]),
)
def test_nothing_that_is_left_loses_a_member(
    graph: dict[Digest, tuple[list[Digest], Digest | None]], tagged: set[Digest], gone: Digest
) -> None:
    manifests = {digest: kept(*members, subject=subject) for digest, (members, subject) in graph.items()}
    removed = without(manifests, tagged - {gone}, gone)
    assert not removed & leads_to(manifests, tagged - {gone})
    left = manifests.keys() - removed
    assert not {member for digest in left for member in manifests[digest].members} & removed


def document(**members: Any) -> bytes:
    return json.dumps({"schemaVersion": 2} | members).encode()


def descriptor(digest: Digest, size: int = 1, **more: Any) -> dict[str, Any]:
    return {"mediaType": "application/x", "digest": digest, "size": size} | more


def test_what_a_manifest_says() -> None:
    data = document(
        mediaType=OCI_MANIFEST,
        config=descriptor(A) | {"mediaType": "application/sbom"},
        layers=[descriptor(B), descriptor(C, urls=["https://there.example/layer"])],
        subject=descriptor(D),
        annotations={"a": "1", "b": None, "c": 2},
    )
    pushed = read_pushed(data, f"{OCI_MANIFEST}; charset=utf-8")
    assert [each.digest for each in pushed.blobs] == [A, B]
    assert (pushed.subject, pushed.artifact_type, pushed.annotations) == (D, "application/sbom", {"a": "1"})


def test_an_artifact_has_its_own_type() -> None:
    data = document(config=descriptor(A), layers=[], artifactType="application/spdx")
    assert read_pushed(data, OCI_MANIFEST).artifact_type == "application/spdx"


def test_an_index_names_manifests() -> None:
    pushed = read_pushed(document(manifests=[descriptor(A)]), OCI_INDEX)
    assert ([each.digest for each in pushed.manifests], pushed.blobs) == ([A], ())


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"", OCI_MANIFEST),
        (b"{", OCI_MANIFEST),
        (b"[]", OCI_MANIFEST),
        (document(), OCI_MANIFEST),
        (document(schemaVersion=1, layers=[]), OCI_MANIFEST),
        (document(config=descriptor(A), layers=[]), "text/plain"),
        (document(config=descriptor(A), layers=[], mediaType=DOCKER_MANIFEST), OCI_MANIFEST),
        (document(config=descriptor(A), layers=[]), OCI_INDEX),
        (document(manifests=[]), OCI_MANIFEST),
        (document(config={"mediaType": "x", "digest": "sha256:0", "size": 1}, layers=[]), OCI_MANIFEST),
        (document(config=descriptor(A), layers=[], subject={"digest": "none"}), OCI_MANIFEST),
        (document(config=descriptor(A, -1), layers=[]), OCI_MANIFEST),
        (b"[" * 100_000, OCI_MANIFEST),
    ],
)
def test_what_is_no_manifest(data: bytes, content_type: str) -> None:
    with pytest.raises(ManifestInvalid):
        read_pushed(data, content_type)


@given(st.binary(max_size=200), st.text(max_size=40))
def test_any_bytes_are_a_manifest_or_are_refused(data: bytes, content_type: str) -> None:
    with contextlib.suppress(ManifestInvalid):
        read_pushed(data, content_type)
