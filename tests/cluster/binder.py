"""Processes that bind the names whose nonces they read to a pin of their own, and print what each is bound to then.

One that has imported all is forked for each node: `python -m cluster.binder MODULE NAME PATH SOCKET:PIN:LINKS...`. A
node prints its process id when it is ready, and a name once `bind` has returned, and is meant to be killed. With
`no-links`, its file system has no hard links.
"""

import asyncio
import importlib
import os
import socket
import sys
from pathlib import Path

from cluster import no_links
from cluster.keepers import Keeper
from cluster.suite import KEY, LIFETIMES, pin_of, undecided_record
from wavelet.kinds.table import FORMS


async def bind(keeper: type[Keeper], path: Path, asked: socket.socket, mine: str) -> None:
    reader, writer = await asyncio.open_connection(sock=asked)
    records = keeper(path, KEY, FORMS, LIFETIMES)
    writer.write(f"{os.getpid()}\n".encode())
    while nonce := (await reader.readline()).decode().strip():
        record = undecided_record(nonce=nonce)
        bound = await records.bind(record.token(KEY), pin_of(record, mine))
        writer.write(f"{nonce} {bound.name}\n".encode())
    await records.close()


def main() -> None:
    module, name, path, *nodes = sys.argv[1:]
    keeper = getattr(importlib.import_module(module), name)
    numbers = {int(node.partition(":")[0]) for node in nodes}
    for node in nodes:
        number, mine, links = node.split(":")
        if os.fork():
            continue
        for other in numbers - {int(number)}:
            os.close(other)
        if links == "no-links":
            os.link = no_links.link
        asyncio.run(bind(keeper, Path(path), socket.socket(fileno=int(number)), mine))
        return
    for each in numbers:
        os.close(each)
    for _ in nodes:
        os.wait()


main()
