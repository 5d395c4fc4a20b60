"""Forms of what is printed, and quantities in arguments."""

from __future__ import annotations

import argparse

import pytest

from wavelet.cli import container_options
from wavelet.cli.argument_types import byte_count, duration
from wavelet.cli.commands import conda
from wavelet.cli.daemon_call import flag_of
from wavelet.cli.output import lines, plain, table, visible
from wavelet.cli.progress import progress_of
from wavelet.v1.cache_pb2 import ListResponse
from wavelet.v1.containers_pb2 import CONTAINER_STATE_READY, Layer, ResolveResponse


def test_messages_become_plain_values() -> None:
    kept = ListResponse(name="a", size=2**60)
    kept.last_used.FromJsonString("2025-01-31T00:00:00Z")
    found = plain(kept)
    assert found["size"] == 2**60
    assert found["lastUsed"] == "2025-01-31T00:00:00Z"
    assert found["pinned"] is False
    assert "leasedUntil" not in found
    assert plain(ResolveResponse(state=CONTAINER_STATE_READY))["state"] == "ready"
    assert plain(Layer(data=b"abc"), whole=False) == {"data": "(3 bytes)"}


def test_values_for_people() -> None:
    assert lines({"a": 1, "long": True, "none": None, "inner": {"list": ["x"], "empty": []}}) == [
        "a     1",
        "long  yes",
        "inner",
        "  list",
        "    x",
    ]
    assert table(("name", "b"), [("x", "1")]) == ["name  b", "x     1"]
    assert table(("name",), []) == []


def test_a_list_of_what_has_members_has_a_line_for_each() -> None:
    """The steps of a request ran together: `step pin`, `state done`, `step make`, …"""
    steps = [{"step": "pin", "state": "done", "since": "now"}, {"step": "make", "state": "failed", "reason": "no"}]
    assert lines({"steps": steps}) == [
        "steps",
        "  step  state   since  reason",
        "  pin   done    now",
        "  make  failed         no",
    ]
    assert lines([{"a": 1, "b": {"c": 2}}, {"a": "x\ny"}]) == ["- a  1", "  b", "    c  2", "- a  x\n   y"]
    assert lines([{"a": ""}, {}]) == []


def test_words_of_others_do_not_steer_the_terminal() -> None:
    assert visible("a\x1b[2Jb\tc\n\r") == "a\\x1b[2Jb\tc\n\\r"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h30m", 5400), ("2d", 172800)])
def test_times(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1w", "m", "1 h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


def test_how_far_things_are() -> None:
    """Fault F7: images that were finished, or waited, had a bar of `0 B`."""
    assert progress_of(0, 0, in_bytes=True) == ""
    assert progress_of(5, 0, in_bytes=False) == "5"
    assert progress_of(0, 2_000, in_bytes=True) == "0 B of 2 kB"


def test_sizes() -> None:
    assert byte_count("50GB") == 50_000_000_000
    with pytest.raises(argparse.ArgumentTypeError, match="is not a size"):
        byte_count("much")


def test_the_option_of_a_member_or_of_what_it_is_in() -> None:
    """Fault F8: a message names what the user has set."""
    assert flag_of("packages.asOf", container_options.FLAGS) == "--as-of"
    assert flag_of("packages.entries[3]", container_options.FLAGS) == "--conda-package"
    assert flag_of("containerConfig.layers[0].gzipSize", container_options.FLAGS) == "--layer"
    assert flag_of("packages.condaOpts.baseImage", container_options.FLAGS) == "--conda-base-image"
    assert flag_of("packages.condaOpts.commands", conda.FLAGS) == "SPEC"
    assert flag_of("unknown.member", container_options.FLAGS) is None
