"""What every keeper of records has to do for frozen images, whose names last longer than others."""

from dataclasses import replace
from pathlib import Path

from cluster.keepers import Keeper
from cluster.suite import LIFETIME, Clock, KeeperSuite, image_record, layer_record, pin_of
from wavelet.cluster.records import Record
from wavelet.image.reference import Repository
from wavelet.kinds.frozen.node import FrozenImage

PUSHED = Repository("registry.example", "frozen")


def frozen(record: Record, repository: Repository | None = None) -> Record:
    return replace(record, plan=FrozenImage(record.plan, repository))


def decided(name: str, repository: Repository | None = None) -> Record:
    record = frozen(image_record(name), repository)
    return replace(record, pin=pin_of(record))


class FrozenSuite(KeeperSuite):
    async def test_it_lives_on_when_others_are_forgotten(self, records: Keeper, tmp_path: Path, clock: Clock) -> None:
        here = await records.put(decided("a:1"), {})
        pushed = await records.put(decided("a:1", PUSHED), {})
        usual = await records.put(image_record("a:1"), {})
        clock.now += LIFETIME + 1
        assert await records.get(here) is not None
        assert await records.get(usual) is None
        assert await records.expire() == 2
        again = await self.reopened(records, tmp_path, clock)
        assert await again.get(here) is not None
        assert await again.get(pushed, patient=False) is None
        clock.now += 9 * LIFETIME
        assert await again.get(here, patient=False) is None
        assert await again.expire() == 1
        assert await again.expire() == 0
        await again.close()

    async def test_it_lives_from_its_last_use(self, records: Keeper, tmp_path: Path, clock: Clock) -> None:
        token = await records.put(decided("a:1"), {})
        for _ in range(3):
            clock.now += 9 * LIFETIME
            await records.touch(token)
            await records.expire()
        again = await self.reopened(records, tmp_path, clock)
        stored = await again.get(token)
        assert stored is not None
        assert stored.used_at == clock.now
        await again.close()

    async def test_what_belongs_to_it_lives_as_long(self, records: Keeper, tmp_path: Path, clock: Clock) -> None:
        with_layer, digest = layer_record(b"bytes")
        record = replace(frozen(with_layer), nonce="ab" * 16)
        token = await records.put(record, {digest: b"bytes"})
        pin = await records.bind(token, pin_of(record))
        clock.now += 9 * LIFETIME
        assert await records.expire() == 0
        again = await self.reopened(records, tmp_path, clock)
        stored = await again.get(token)
        assert stored is not None
        assert stored.pin == pin
        assert await again.bind(token, pin_of(record, "tomorrow")) == pin
        assert await again.inline(token, digest) == b"bytes"
        await again.close()

    async def test_all_of_it_is_forgotten_at_once(self, records: Keeper) -> None:
        with_layer, digest = layer_record(b"bytes")
        token = await records.put(frozen(with_layer), {digest: b"bytes"})
        assert await records.evict(token)
        assert await records.get(token, patient=False) is None
        assert await records.inline(token, digest) is None
        assert not await records.evict(token)

    async def test_equal_requests_get_the_first_name_as_long(self, records: Keeper, clock: Clock) -> None:
        record = replace(decided("a:1"), first="ab" * 16)
        token = await records.put(record, {})
        clock.now += 9 * LIFETIME
        assert await records.expire() == 0
        stored = await records.get(token)
        assert stored is not None
        assert stored.record.first == "ab" * 16
