"""A model of how a layer is unpacked: its tree as a dictionary, and every rule in its plainest form."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field

Path = tuple[bytes, ...]

_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "whiteout",
}


class Unpackable(Exception):
    """No engine could unpack it."""


@dataclass(eq=False)
class Thing:
    """What is at a path; hard links are the same one."""

    kind: str
    mode: int = 0o755
    content: bytes = b""
    target: bytes = b""
    is_implied: bool = False


@dataclass
class Model:
    """The tree of a layer."""

    tree: dict[Path, Thing] = field(default_factory=lambda: {(): Thing("directory", is_implied=True)})
    opaque: set[Path] = field(default_factory=set)
    whited: set[Path] = field(default_factory=set)

    def take(self, info: tarfile.TarInfo, data: bytes) -> None:
        """Unpack a member."""
        parts = _cleaned(info.name.encode("utf-8", "surrogateescape"))
        target = info.linkname.encode("utf-8", "surrogateescape")
        name = parts[-1] if parts else b""
        if name == b".wh..wh..opq":
            self.opaque.add(self._made(parts[:-1]))
        elif name.startswith(b".wh."):
            self.whited.add((*self._made(parts[:-1]), name.removeprefix(b".wh.")))
        elif info.type == tarfile.LNKTYPE:
            self._link((*self._made(parts[:-1]), name), _cleaned(target))
        else:
            kind = _KINDS[info.type]
            place = (*self._made(parts[:-1]), name) if parts else ()
            self._put(place, Thing(kind, info.mode, data, target if kind == "symlink" else b""))

    def _put(self, place: Path, thing: Thing) -> None:
        if thing.kind != "directory":
            if not place:
                raise Unpackable
            if place in self.tree and self.tree[place].kind == "directory":
                for gathered in (self.tree, self.opaque, self.whited):
                    for each in [each for each in gathered if each[: len(place)] == place and each != place]:
                        gathered.pop(each) if isinstance(gathered, dict) else gathered.remove(each)
                self.opaque.discard(place)
        self.tree[place] = thing

    def _link(self, place: Path, target: Path) -> None:
        at = self._place(target)
        found = self.tree.get(at)
        if found is None or found.kind == "link":
            self._put(place, Thing("link", target=b"/".join(target)))
        elif found.kind == "directory":
            raise Unpackable
        elif place != at:
            self._put(place, found)

    def end(self) -> None:
        """Have links lead to what is there at the end."""
        for place in sorted(place for place, thing in self.tree.items() if thing.kind == "link"):
            thing = self.tree[place]
            for _ in range(100):
                at = self._place(_cleaned(thing.target))
                found = self.tree.get(at)
                if found is None or found.kind != "link":
                    break
                thing = found
            else:
                raise Unpackable
            if found is None:
                self.tree[place] = Thing("link", target=b"/".join(at))
            elif found.kind == "directory":
                raise Unpackable
            else:
                self.tree[place] = found

    def _place(self, parts: Path) -> Path:
        return (*self._led(parts[:-1]), parts[-1]) if parts else ()

    def _led(self, parts: Path) -> Path:
        """Follow links."""
        left, at = list(parts), ()
        for _ in range(1000):
            if not left:
                return at
            name = left.pop(0)
            if name == b"..":
                at = at[:-1]
            elif name not in (b"", b"."):
                thing = self.tree.get((*at, name))
                if thing is None or thing.kind != "symlink":
                    at = (*at, name)
                    continue
                left = [*thing.target.split(b"/"), *left]
                at = () if thing.target.startswith(b"/") else at
        raise Unpackable

    def _made(self, parts: Path) -> Path:
        """Follow links, and have all directories on the way to where they lead, and there."""
        led: Path = ()
        for number in range(len(parts)):
            led = self._led(parts[: number + 1])
            for length in range(1, len(led) + 1):
                there = self.tree.get(led[:length])
                if there is None or there.kind != "directory":
                    self._put(led[:length], Thing("directory", is_implied=True))
        return led

    def described(self) -> dict[bytes, tuple[object, ...]]:
        """Return what there is to say of every path; of hard links the first of their names too."""
        names: dict[int, list[Path]] = {}
        for place, thing in self.tree.items():
            names.setdefault(id(thing), []).append(place)
        groups = {id_: min(places) for id_, places in names.items() if len(places) > 1}
        found: dict[bytes, tuple[object, ...]] = {b"/".join(each): ("whiteout",) for each in self.whited}
        for place, thing in self.tree.items():
            if thing.kind == "whiteout":
                found[b"/".join(place)] = ("whiteout",)
                continue
            hides = thing.kind == "directory" and (place in self.opaque or place in self.whited)
            said = (thing.kind, 0 if thing.kind == "link" else thing.mode, thing.content, thing.target)
            found[b"/".join(place)] = (*said, groups.get(id(thing)), hides, thing.is_implied)
        return found


def unpacked(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Model:
    """Unpack a layer.

    Raises:
        Unpackable: no engine could.
    """
    model = Model()
    for info, data in members:
        model.take(info, data)
    model.end()
    return model


def _cleaned(name: bytes) -> Path:
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            parts = parts[:-1]
        elif part not in (b"", b"."):
            parts.append(part)
    return tuple(parts)
