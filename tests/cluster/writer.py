"""A process that puts records without end and prints each token once its put has returned. Meant to be killed."""

import asyncio
import importlib
import sys
import time
from pathlib import Path

from cluster.suite import KEY, LIFETIMES, layer_record
from wavelet.kinds.table import FORMS


async def main() -> None:
    module, name, path, start = sys.argv[1:]
    keeper = getattr(importlib.import_module(module), name)(Path(path), KEY, FORMS, LIFETIMES)

    async def put(number: int) -> None:
        content = b"%d" % number * 1000
        record, digest = layer_record(content)
        token = await keeper.put(record, {digest: content})
        print(token, number, flush=True)

    number = int(start)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        await asyncio.gather(*(put(number + i) for i in range(8)))
        number += 8


asyncio.run(main())
