"""What every keeper of records has to do. Subclass `RecordsSuite`, name the class `Test…`, and give `make`.
`bindings_suite.py` has what it has to do for names that are bound later.

The clock is the suite's: a keeper takes `clock`, a callable that gives unix seconds.
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from cluster.keepers import Keeper
from lab.plans import map_leaves
from wavelet.cluster.records import Lifetimes, Record, Stored
from wavelet.errors import DigestMismatch, InvalidRequest
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.canonical import Pin
from wavelet.plan.node import INLINE, ContainerConfig, Layer
from wavelet.plan.tokens import ANONYMOUS, Principal

KEY = bytes(range(32))
LIFETIME = 30 * 86400.0
LIFETIMES = Lifetimes(LIFETIME, frozen=10 * LIFETIME)
UNKNOWN = "0" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def image_record(name: str = "busybox:1", principal: Principal = ANONYMOUS) -> Record:
    return Record(RegistryImage(Reference.parse(name), Platform.of("linux", "amd64")), principal)


def pin_of(record: Record, content: str = "today") -> Pin:
    """Return a pin of a record's plan: its images as they were when their digest was that of `content`."""
    digest = Digest.of(content.encode())
    return Pin.of(map_leaves(record.plan, lambda each: replace(each, reference=each.reference.at(digest))))


def undecided_record(name: str = "busybox:1", nonce: str = "ab" * 16) -> Record:
    return replace(image_record(name), nonce=nonce)


def decided_record(name: str = "busybox:1", content: str = "today") -> Record:
    return replace(image_record(name), pin=pin_of(image_record(name), content))


def layer_record(content: bytes, location: str = INLINE) -> tuple[Record, Digest]:
    digest = Digest.of(content)
    layer = Layer(digest, len(content), Digest.of(content + b"tar"), location)
    config = ContainerConfig(env=("A=ü", "B=2"), layers=(layer,))
    return Record(AugmentedImage(RegistryImage(Reference.parse("debian:12")), config), Principal(1000)), digest


class Make(Protocol):
    """Opens the place below `path`; opening it again gives the same records."""

    def __call__(self, path: Path, key: bytes, lifetimes: Lifetimes, clock: Clock) -> Keeper: ...


class KeeperSuite:
    """What each suite has: a keeper of a place, and the same place opened again."""

    make: Make

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def records(self, tmp_path: Path, clock: Clock):
        records = self.make(tmp_path, KEY, LIFETIMES, clock)
        yield records
        await records.close()

    async def reopened(self, records: Keeper, path: Path, clock: Clock, key: bytes = KEY) -> Keeper:
        await records.close()
        return self.make(path, key, LIFETIMES, clock)


class RecordsSuite(KeeperSuite):
    async def test_what_is_put_is_got(self, records: Keeper, clock: Clock) -> None:
        record = image_record()
        token = await records.put(record, {})
        assert token == record.token(KEY)
        assert await records.get(token) == Stored(record, clock.now, clock.now)
        assert await records.get(token) == Stored(record, clock.now, clock.now)

    async def test_it_is_there_after_a_new_start(self, records: Keeper, tmp_path: Path, clock: Clock) -> None:
        record, digest = layer_record(b"bytes")
        token = await records.put(record, {digest: b"bytes"})
        again = await self.reopened(records, tmp_path, clock)
        stored = await again.get(token)
        assert stored is not None
        assert stored.record == record
        assert await again.inline(token, digest) == b"bytes"
        await again.close()

    async def test_unknown_and_malformed_tokens(self, records: Keeper) -> None:
        for token in (UNKNOWN, "", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 32 + "\n", "\0" * 32):
            assert await records.get(token) is None
            assert await records.inline(token, Digest.of(b"")) is None
            assert await records.evict(token) is False
            await records.touch(token)

    async def test_a_record_of_a_clock_that_was_ahead_has_expired(
        self, records: Keeper, tmp_path: Path, clock: Clock
    ) -> None:
        """Fault D2, of records: nothing says how old it is."""
        now = clock.now
        clock.now += 400 * 86400
        token = await records.put(image_record(), {})
        clock.now = now
        assert await records.get(token, patient=False) is None
        again = await self.reopened(records, tmp_path, clock)
        assert await again.get(token, patient=False) is None
        assert await again.expire() == 1
        assert await again.put(image_record(), {}) == token
        assert await again.get(token) == Stored(image_record(), now, now)
        await again.close()

    async def test_a_node_whose_clock_is_ahead_takes_no_record_from_others(
        self, records: Keeper, tmp_path: Path, clock: Clock
    ) -> None:
        """Fault D2, of records that many use: a use by a wrong clock does not make them stay, or go."""
        made = clock.now
        token = await records.put(image_record(), {})
        clock.now = made + LIFETIME - 10
        await records.touch(token)
        right = await self.reopened(records, tmp_path, clock)
        clock.now = made + 60
        for _ in range(2):
            assert await right.get(token) == Stored(image_record(), made, made)
            assert await right.expire() == 0
        clock.now = made + LIFETIME + 1
        assert await right.get(token, patient=False) is None
        await right.close()

    async def test_clocks_that_differ_a_little_agree_on_a_record(self, records: Keeper, clock: Clock) -> None:
        token = await records.put(image_record(), {})
        clock.now -= 60
        assert await records.expire() == 0
        assert await records.get(token) is not None

    async def test_principals_have_different_names(self, records: Keeper) -> None:
        tokens = {
            await records.put(image_record(principal=who), {}) for who in (ANONYMOUS, Principal(0), Principal(1000))
        }
        assert len(tokens) == 3

    async def test_put_again_changes_nothing_but_the_use(self, records: Keeper, tmp_path: Path, clock: Clock) -> None:
        made = clock.now
        token = await records.put(image_record(), {})
        clock.now += 86400
        assert await records.put(image_record(), {}) == token
        again = await self.reopened(records, tmp_path, clock)
        assert await again.get(token) == Stored(image_record(), made, clock.now)
        await again.close()

    async def test_the_first_writer_wins_and_layers_are_added(self, records: Keeper) -> None:
        first, digest = layer_record(b"bytes", "http://127.0.0.1:1/layer")
        second, _ = layer_record(b"bytes")
        token = await records.put(first, {})
        assert await records.inline(token, digest) is None
        assert await records.put(second, {digest: b"bytes"}) == token
        stored = await records.get(token)
        assert stored is not None
        assert stored.record == first
        assert await records.inline(token, digest) == b"bytes"

    async def test_inline_layers_are_checked(self, records: Keeper) -> None:
        record, digest = layer_record(b"bytes")
        with pytest.raises(DigestMismatch, match=str(digest)):
            await records.put(record, {digest: b"other"})
        with pytest.raises(InvalidRequest, match="without its bytes"):
            await records.put(record, {})
        with pytest.raises(InvalidRequest, match="no layer of the request"):
            await records.put(image_record(), {digest: b"bytes"})
        assert await records.get(record.token(KEY)) is None

    async def test_an_inline_layer_belongs_to_its_token(self, records: Keeper) -> None:
        record, digest = layer_record(b"bytes")
        token = await records.put(record, {digest: b"bytes"})
        other = await records.put(image_record(), {})
        assert await records.inline(token, Digest.of(b"other")) is None
        assert await records.inline(other, digest) is None

    async def test_a_large_inline_layer(self, records: Keeper) -> None:
        content = b"x" * 12_000_000
        record, digest = layer_record(content)
        token = await records.put(record, {digest: content})
        assert await records.inline(token, digest) == content

    async def test_it_expires(self, records: Keeper, clock: Clock) -> None:
        record, digest = layer_record(b"bytes")
        token = await records.put(record, {digest: b"bytes"})
        assert await records.get(token) is not None
        clock.now += LIFETIME - 1
        other = await records.put(image_record(), {})
        assert await records.expire() == 0
        assert await records.get(token) is not None
        clock.now += 1
        assert await records.get(token) is None
        assert await records.expire() == 1
        assert await records.get(token) is None
        assert await records.inline(token, digest) is None
        assert await records.get(other) is not None

    async def test_use_renews(self, records: Keeper, clock: Clock) -> None:
        token = await records.put(image_record(), {})
        for _ in range(3):
            clock.now += LIFETIME - 86400
            await records.touch(token)
            # A touch may be written later: a put makes it wait for what came before.
            await records.put(image_record(f"busybox:{clock.now:.0f}"), {})
        stored = await records.get(token)
        assert stored is not None
        assert stored.used_at == clock.now
        assert await records.expire() == 1  # the first of the others, never used

    async def test_touches_in_quick_succession_count_once(self, records: Keeper, clock: Clock) -> None:
        token = await records.put(image_record(), {})
        made = clock.now
        clock.now += 100
        await records.touch(token)
        await records.put(image_record("busybox:2"), {})
        stored = await records.get(token)
        assert stored is not None
        assert stored.used_at == made

    async def test_a_touch_revives_nothing(self, records: Keeper, clock: Clock) -> None:
        token = await records.put(image_record(), {})
        clock.now += LIFETIME
        await records.touch(token)
        await records.put(image_record("busybox:2"), {})
        assert await records.get(token) is None

    async def test_put_after_expiry_begins_anew(self, records: Keeper, clock: Clock) -> None:
        token = await records.put(image_record(), {})
        clock.now += LIFETIME + 1
        assert await records.put(image_record(), {}) == token
        assert await records.get(token) == Stored(image_record(), clock.now, clock.now)

    async def test_eviction(self, records: Keeper) -> None:
        record, digest = layer_record(b"bytes")
        token = await records.put(record, {digest: b"bytes"})
        assert await records.get(token) is not None
        assert await records.evict(token) is True
        assert await records.get(token) is None
        assert await records.inline(token, digest) is None
        assert await records.evict(token) is False
        assert await records.put(record, {digest: b"bytes"}) == token
        assert await records.get(token) is not None

    async def test_what_is_evicted_while_it_is_read_is_not_remembered(self, records: Keeper) -> None:
        token = await records.put(decided_record(), {})
        looks = [asyncio.create_task(records.get(token)) for _ in range(8)]
        await records.evict(token)
        await asyncio.gather(*looks)
        assert await records.get(token, patient=False) is None

    async def test_another_clusters_records_are_not_served(
        self, records: Keeper, tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        token = await records.put(image_record(), {})
        again = await self.reopened(records, tmp_path, clock, key=bytes(32))
        assert await again.get(token) is None
        assert "not authentic" in capsys.readouterr().out
        await again.close()

    async def test_many_at_once(self, records: Keeper) -> None:
        wanted = [image_record(f"busybox:{number % 40}") for number in range(200)]
        tokens = await asyncio.gather(*(records.put(record, {}) for record in wanted))
        assert len(set(tokens)) == 40
        for record, token in zip(wanted, tokens, strict=True):
            stored = await records.get(token)
            assert stored is not None
            assert stored.record == record

    async def test_a_put_whose_caller_goes_away_is_kept_or_not_but_never_half(self, records: Keeper) -> None:
        record, digest = layer_record(b"bytes")
        task = asyncio.create_task(records.put(record, {digest: b"bytes"}))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        token = await records.put(record, {digest: b"bytes"})
        assert await records.get(token) is not None
        assert await records.inline(token, digest) == b"bytes"
