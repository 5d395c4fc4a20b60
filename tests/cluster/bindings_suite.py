"""What every keeper has to do for names that were given before it was known what they answer.

Subclass `BindingsSuite` as `RecordsSuite`; besides `make` give `binding` and `change`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.keepers import Keeper
from cluster.suite import (
    KEY,
    LIFETIME,
    UNKNOWN,
    Clock,
    KeeperSuite,
    decided_record,
    image_record,
    layer_record,
    pin_of,
    undecided_record,
)
from wavelet.cluster.records import Record, Stored, seal_binding
from wavelet.errors import DamagedBinding, InvalidRequest, NewerForm, TokenNotFound
from wavelet.image.reference import Digest, Platform
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import Pin
from wavelet.plan.tokens import ANONYMOUS

TODAY, TOMORROW = (pin_of(undecided_record(), content) for content in ("today", "tomorrow"))


def newer_binding(token: str, record: Record) -> bytes:
    """A binding in a form that a later version may have."""
    from wavelet.cluster import records

    body = seal_binding(token, pin_of(record), record.plan, KEY, FORMS).partition(b"\n")[2]
    body = body.replace(b'"version":2,"needs":"0.2.0"', b'"version":3,"needs":"0.9.0"')
    return records._seal(token, body, KEY) + b"\n" + body


class BindingsSuite(KeeperSuite):
    def bindings(self, path: Path) -> list[str]:
        """Return the tokens of all bindings that lie in the place."""
        raise NotImplementedError

    def change(self, path: Path, token: str, content: bytes) -> None:
        """Write a binding as somebody else would."""
        raise NotImplementedError

    async def test_the_first_pin_stays(self, records: Keeper, tmp_path: Path, clock: Clock) -> None:
        record = undecided_record()
        token = await records.put(record, {})
        stored = await records.get(token)
        assert stored == Stored(record, clock.now, clock.now)
        assert await records.bind(token, TODAY) == TODAY
        assert await records.bind(token, TOMORROW) == TODAY
        assert await records.get(token) == Stored(record, clock.now, clock.now, TODAY)
        again = await self.reopened(records, tmp_path, clock)
        assert await again.get(token) == Stored(record, clock.now, clock.now, TODAY)
        assert await again.bind(token, TOMORROW) == TODAY
        await again.close()

    async def test_a_name_that_has_its_pin_is_bound_to_nothing(self, records: Keeper, tmp_path: Path) -> None:
        record = decided_record()
        token = await records.put(record, {})
        for _ in range(2):
            assert await records.bind(token, TOMORROW) == TODAY
            stored = await records.get(token)
            assert stored is not None
            assert stored.pin == stored.record.pin == TODAY
        assert self.bindings(tmp_path) == []

    async def test_an_old_record_is_bound_too(self, records: Keeper) -> None:
        record, digest = layer_record(b"bytes")
        token = await records.put(record, {digest: b"bytes"})
        assert await records.bind(token, pin_of(record)) == pin_of(record)
        assert await records.bind(token, pin_of(record, "tomorrow")) == pin_of(record)
        assert await records.inline(token, digest) == b"bytes"

    async def test_a_long_lock_is_bound_and_read(self, records: Keeper, tmp_path: Path, clock: Clock) -> None:
        base = image_record("ubuntu:24.04").plan
        assert isinstance(base, RegistryImage)
        asked = CondaEnvironment(("samtools",), ("conda-forge",), Platform.parse("amd64"), base)
        fixed = replace(base, reference=base.reference.at(Digest.of(b"today")))
        urls = [f"https://conda.example/x/linux-64/package-{number}-1.2-h0_0.conda" for number in range(400)]
        lock = LockedEnvironment(tuple(Package(url, "a" * 64, "b" * 32, 7) for url in urls), (), asked.platform, fixed)
        undecided, decided = Record(asked, ANONYMOUS, nonce="aa"), Record(asked, ANONYMOUS, Pin.of(lock))
        tokens = [await records.put(record, {}) for record in (undecided, decided)]
        assert await records.bind(tokens[0], Pin.of(lock)) == Pin.of(lock)
        again = await self.reopened(records, tmp_path, clock)
        for token in tokens:
            for _ in range(2):
                stored = await again.get(token)
                assert stored is not None
                assert stored.pin == Pin.of(lock)
        await again.close()

    async def test_names_are_bound_one_by_one(self, records: Keeper) -> None:
        one, other = [await records.put(undecided_record(nonce=nonce), {}) for nonce in ("aa", "bb")]
        assert await records.bind(one, TODAY) == TODAY
        stored = await records.get(other)
        assert stored is not None
        assert stored.pin is None
        assert await records.bind(other, TOMORROW) == TOMORROW

    async def test_there_is_nothing_to_bind(self, records: Keeper, tmp_path: Path, clock: Clock) -> None:
        token = await records.put(undecided_record(), {})
        await records.evict(token)
        expired = await records.put(undecided_record("busybox:2"), {})
        clock.now += LIFETIME
        for unknown in (UNKNOWN, "", "../../etc/passwd", token, expired):
            with pytest.raises(TokenNotFound):
                await records.bind(unknown, TODAY)
        assert self.bindings(tmp_path) == []

    async def test_another_plans_pin_is_refused_and_leaves_the_name_free(self, records: Keeper, tmp_path: Path) -> None:
        record = undecided_record()
        token = await records.put(record, {})
        for pin in (replace(TODAY, parts=TODAY.parts * 2), replace(TODAY, parts=(record.plan,))):  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest):
                await records.bind(token, pin)
        assert self.bindings(tmp_path) == []
        assert await records.bind(token, TODAY) == TODAY

    async def test_of_many_at_once_all_get_one_pin(self, records: Keeper) -> None:
        token = await records.put(undecided_record(), {})
        pins = [pin_of(undecided_record(), str(number)) for number in range(20)]
        bound = await asyncio.gather(*(records.bind(token, pin) for pin in pins))
        assert len(set(bound)) == 1
        assert bound[0] in pins

    async def test_what_is_bound_is_never_seen_unbound_again(self, records: Keeper) -> None:
        token = await records.put(undecided_record(), {})
        looks = [asyncio.create_task(records.get(token)) for _ in range(10)]
        await records.bind(token, TODAY)
        await asyncio.gather(*looks)
        stored = await records.get(token)
        assert stored is not None
        assert stored.pin == TODAY

    async def test_eviction_takes_the_binding_along(self, records: Keeper, tmp_path: Path) -> None:
        token = await records.put(undecided_record(), {})
        await records.bind(token, TODAY)
        assert self.bindings(tmp_path) == [token]
        assert await records.evict(token) is True
        assert self.bindings(tmp_path) == []
        await records.put(undecided_record(), {})
        assert await records.bind(token, TOMORROW) == TOMORROW

    async def test_it_expires_with_its_record(self, records: Keeper, tmp_path: Path, clock: Clock) -> None:
        token = await records.put(undecided_record(), {})
        await records.bind(token, TODAY)
        clock.now += LIFETIME - 1
        await records.put(image_record("busybox:2"), {})
        assert await records.expire() == 0
        assert self.bindings(tmp_path) == [token]
        clock.now += 1
        assert await records.expire() == 1
        assert self.bindings(tmp_path) == []

    async def test_a_record_that_is_kept_anew_stays_bound(self, records: Keeper, clock: Clock) -> None:
        token = await records.put(undecided_record(), {})
        await records.bind(token, TODAY)
        clock.now += LIFETIME + 1
        assert await records.put(undecided_record(), {}) == token
        stored = await records.get(token)
        assert stored is not None
        assert stored.pin == TODAY
        assert await records.expire() == 0
        assert await records.bind(token, TOMORROW) == TODAY

    async def test_a_damaged_binding_is_an_error_and_stays(self, records: Keeper, tmp_path: Path) -> None:
        token = await records.put(undecided_record(), {})
        other = await records.put(undecided_record(nonce="cc"), {})
        good = seal_binding(token, TODAY, undecided_record().plan, KEY, FORMS)
        damages = (
            b"",
            b"\n",
            good[:-1],
            good.replace(Digest.of(b"today").encode(), Digest.of(b"evil").encode()),
            seal_binding(token, TODAY, undecided_record().plan, bytes(32), FORMS),
            seal_binding(other, TODAY, undecided_record().plan, KEY, FORMS),
            b"[" * 5000,
        )
        for damage in damages:
            self.change(tmp_path, token, damage)
            for _ in range(2):
                with pytest.raises(DamagedBinding, match=f"{token}.*send the request again: it gets a new name"):
                    await records.get(token)
                with pytest.raises(DamagedBinding):
                    await records.bind(token, TOMORROW)
                assert await records.get(token, patient=False) is None
        assert await records.bind(other, TOMORROW) == TOMORROW
        assert await records.evict(token) is True
        assert await records.get(token, patient=False) is None

    async def test_a_binding_of_a_newer_version(self, records: Keeper, tmp_path: Path) -> None:
        token = await records.put(undecided_record(), {})
        self.change(tmp_path, token, newer_binding(token, undecided_record()))
        for _ in range(2):
            with pytest.raises(NewerForm, match=r"form 3; wavelet 0\.9\.0 or newer reads it"):
                await records.get(token)
            with pytest.raises(NewerForm):
                await records.bind(token, TODAY)
            assert await records.get(token, patient=False) is None
