"""What takes half a minute to be decided: begun before all other tests (see conftest.py), looked at after them."""

from __future__ import annotations

import pytest
from faulty import Waits

pytestmark = [pytest.mark.registry, pytest.mark.timeout(100)]


def test_a_bad_package_is_a_build_that_failed(waits: Waits) -> None:
    state = waits.refused.result(60)
    assert state["status"] == "DONE"
    assert state["succeeded"] is False
    assert "bad-zstd-1.0-h0_0.conda: the archive is damaged" in state["reason"]
    assert waits.server.host in state["reason"]
    assert "bad-zstd-1.0-h0_0.conda: the archive is damaged" in waits.log_of_refused()


def test_a_transfer_that_stalls_is_taken_up_again(waits: Waits) -> None:
    answer = waits.stalled.result(60)
    assert answer.status == 200, answer
    ranges = [seen.headers.get("range", "") for seen in waits.server.requests if "/part001-" in seen.path]
    assert ranges == ["", "bytes=300000-"]
