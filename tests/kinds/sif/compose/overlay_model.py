"""What layers upon each other are, slowly: each is applied to a tree of all below it, as an engine unpacks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from made_layers import Made

BROKEN = "broken"


@dataclass(eq=False)
class Node:
    """A file, directory, or what is left of a link to nothing; several names may have the same one."""

    kind: str
    made: Made | None = None


State = dict[bytes, Node]


def apply_layers(layers: Sequence[Sequence[Made]]) -> State:
    """Return what shows, by path."""
    state: State = {b"": Node("directory")}
    for layer in layers:
        below = dict(state)
        for made in layer:
            if made.kind == "whiteout":
                _remove(state, made.path)
            elif made.opaque:
                for path in [path for path in state if _is_in(path, made.path)]:
                    del state[path]
        shared: dict[int, Node] = {}
        for made in layer:
            for end in (at for at, byte in enumerate(made.path) if byte == ord("/")):
                if made.kind != "whiteout" or made.path[:end] in state:
                    _directory(state, made.path[:end], None)
            _add(state, below, shared, made)
    return state


def _add(state: State, below: State, shared: dict[int, Node], made: Made) -> None:
    if made.kind == "whiteout":
        return
    if made.kind == "directory":
        _directory(state, made.path, None if made.implied else made)
        return
    _remove(state, made.path)
    if made.kind == "link":
        target = _look_up(below, made.target)
        state[made.path] = target if target is not None and target.kind != "directory" else Node(BROKEN)
    elif made.same:
        state[made.path] = shared.setdefault(made.same, Node(made.kind, made))
    else:
        state[made.path] = Node(made.kind, made)


def _directory(state: State, path: bytes, made: Made | None) -> None:
    there = state.get(path)
    if there is None or there.kind != "directory":
        _remove(state, path)
        state[path] = Node("directory", made)
    elif made is not None:
        state[path] = Node("directory", made)


def _remove(state: State, path: bytes) -> None:
    for each in [each for each in state if each == path or _is_in(each, path)]:
        del state[each]


def _is_in(path: bytes, directory: bytes) -> bool:
    return path != directory and (not directory or path.startswith(directory + b"/"))


def _look_up(state: State, path: bytes, steps: int = 200) -> Node | None:
    """Return what is at a path; links on the way to it are followed, itself it is not."""
    place: list[bytes] = []
    parts = path.split(b"/")
    while parts and steps:
        steps -= 1
        part = parts.pop(0)
        if part in (b"", b"."):
            continue
        if part == b"..":
            del place[-1:]
            continue
        node = state.get(b"/".join([*place, part]))
        if node is None:
            return None
        if node.kind == "symlink" and parts:
            assert node.made is not None
            if node.made.target.startswith(b"/"):
                place = []
            parts = node.made.target.split(b"/") + parts
            continue
        if not parts:
            return node
        if node.kind != "directory":
            return None
        place.append(part)
    return None
