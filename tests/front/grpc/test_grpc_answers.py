"""Answers: what a request asked for is told so that it can be asked for again."""

from __future__ import annotations

import pytest

from doubles.grpc_door import AUTHORITY, CREATED, SITE
from wavelet.front.grpc import answers
from wavelet.front.grpc.values import submission
from wavelet.plan.tokens import ANONYMOUS
from wavelet.requests.progress import Pending, Running
from wavelet.requests.request import About, ContainerRequest
from wavelet.requests.request_cache import Status
from wavelet.resolve.events import BytesSent, PhaseBegan
from wavelet.v1 import containers_pb2 as pb

TOKEN = "0123456789abcdef" * 2
PACKAGES = pb.Packages(entries=["samtools=1.17"], channels=["conda-forge"])


@pytest.mark.parametrize(
    ("request_", "remote"),
    [
        (pb.ResolveRequest(container_image="busybox:1", freeze=True), False),
        (pb.ResolveRequest(container_image="busybox:1", freeze=True, name_strategy="none"), False),
        (pb.ResolveRequest(packages=PACKAGES, freeze=True, build_repository="reg.example/team/lab"), True),
        (
            pb.ResolveRequest(
                packages=PACKAGES,
                freeze=True,
                build_repository="team/lab",
                cache_repository="reg.example/cache",
                name_strategy="imageSuffix",
            ),
            True,
        ),
        (pb.ResolveRequest(container_image="quay.io/org/tool:1", mirror=True, build_repository="reg.example"), True),
        (pb.ResolveRequest(container_image="quay.io/org/tool:1", mirror=True, build_repository="reg.io/a/b"), True),
    ],
)
def test_a_delivery_is_told_so_that_it_can_be_asked_for_again(request_: pb.ResolveRequest, remote: bool) -> None:
    asked = submission(request_, SITE)
    about = About(api="grpc", image=asked.image, notes=("cacheRepository: has no effect",), rules=("site#1", "ca"))
    request = ContainerRequest(TOKEN, asked.plan, ANONYMOUS, CREATED, CREATED, about)
    told = answers.described(request, Status(request, Pending(), 1.0), None, AUTHORITY)
    assert submission(told.request, SITE).plan == asked.plan
    assert told.request.name_strategy == request_.name_strategy
    assert told.container.remote is remote
    assert list(told.container.notes) == ["cacheRepository: has no effect"]
    assert list(told.rules) == ["site#1", "ca"]


def test_what_is_sent_is_told_of_work_that_goes_on() -> None:
    asked = submission(pb.ResolveRequest(container_image="busybox:1", freeze=True), SITE)
    request = ContainerRequest(TOKEN, asked.plan, ANONYMOUS, CREATED, CREATED)
    running = Running(2.0, (PhaseBegan("making"), BytesSent(3, 4)))
    told = answers.described(request, Status(request, Pending(), 2.0), running, AUTHORITY).running
    assert (told.seconds, told.phase, told.sent.done, told.sent.total) == (2.0, pb.PHASE_MAKING, 3, 4)
    assert answers.event_of(BytesSent(3, 4)).sent == told.sent
