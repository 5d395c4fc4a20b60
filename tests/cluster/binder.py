"""A process that binds the names whose nonces it reads to a pin of its own, and prints what each is bound to then.

It prints once `bind` has returned, and is meant to be killed. With `no-links`, its file system has no hard links.
"""

import asyncio
import importlib
import os
import sys
from pathlib import Path

from cluster import no_links
from cluster.suite import KEY, LIFETIMES, pin_of, undecided_record
from wavelet.kinds.table import FORMS


async def main() -> None:
    module, name, path, mine, links = sys.argv[1:]
    if links == "no-links":
        os.link = no_links.link
    keeper = getattr(importlib.import_module(module), name)(Path(path), KEY, FORMS, LIFETIMES)
    print("ready", flush=True)
    while nonce := (await asyncio.to_thread(sys.stdin.readline)).strip():
        record = undecided_record(nonce=nonce)
        bound = await keeper.bind(record.token(KEY), pin_of(record, mine))
        print(nonce, bound.name, flush=True)
    await keeper.close()


asyncio.run(main())
