"""Bindings as files of a shared directory: what names answer that were given before it was known.

    <directory>/<first two digits>/<token>.pin    a binding, beside its record; the first one stays: see `first`

What says that a name is bound and cannot be read is never replaced: the name may have been answered by it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wavelet.cluster.publish import sync_directory
from wavelet.cluster.records import damaged_binding, open_binding, seal_binding
from wavelet.cluster.shared_directory import first
from wavelet.errors import DirectoryUnavailable, InvalidRequest
from wavelet.plain_files import NotPlainError
from wavelet.plan.canonical import Forms, Pin
from wavelet.plan.node import Node
from wavelet.quantities import SKEW, is_within

SUFFIX = ".pin"

BINDING_LIMIT = 16 * 1024 * 1024
"""Bytes of a file above which it is no binding. A lock of a thousand packages has a quarter of a million."""


class BindingFiles:
    """The bindings in a directory of records. All methods are blocking."""

    def __init__(self, root: Path, key: bytes, forms: Forms, clock: Callable[[], float]) -> None:
        """Use the records' directory; `key` is the cluster's, `forms` plans', `clock` gives unix seconds."""
        self._root = root
        self._key = key
        self._forms = forms
        self._clock = clock

    def path(self, token: str) -> Path:
        """Return where a name's binding is."""
        return self._root / token[:2] / f"{token}{SUFFIX}"

    def read(self, token: str, asked: Node) -> tuple[Pin, int] | None:
        """Return what a name is bound to, durably, and the binding's bytes; None if it is not bound.

        Raises:
            NewerForm: a newer version has bound it.
            DamagedBinding: it is bound, and to what cannot be read.
        """
        path = self.path(token)
        try:
            content, status = first.read(path, BINDING_LIMIT)
        except FileNotFoundError:
            return None
        except NotPlainError as error:
            raise damaged_binding(token, error.strerror) from None
        if is_within(status.st_mtime, self._clock() + SKEW, 2 * SKEW):
            # It may be visible before the node that makes it has made it durable.
            sync_directory(path.parent)
        try:
            return open_binding(token, content, asked, self._key, self._forms), len(content)
        except InvalidRequest as error:
            raise damaged_binding(token, error.message) from None

    def bind(self, token: str, asked: Node, pin: Pin) -> tuple[Pin, int]:
        """Bind a name unless it is bound; return what it is bound to then, durably, and the binding's bytes.

        Raises:
            NewerForm: a newer version has bound it.
            DamagedBinding: it is bound, and to what cannot be read.
            DirectoryUnavailable: its binding is there and cannot be seen, or has just gone.
            InvalidRequest: it is not a pin of what was `asked`.
            OSError: it cannot be written.
        """
        if (bound := self.read(token, asked)) is not None:
            return bound
        sealed = seal_binding(token, pin, asked, self._key, self._forms)
        path = self.path(token)
        first.publish_first(path, sealed, self._clock())
        if (bound := self.read(token, asked)) is None:
            # NFS caches absences: this looks at the directory afresh.
            sync_directory(path.parent)
            bound = self.read(token, asked)
        if bound is None:
            raise DirectoryUnavailable(f"what the name {token} was bound to has gone from {path.parent}; ask again")
        return bound

    def keep(self, token: str) -> None:
        """Keep a binding from being taken for one that its record has left behind."""
        first.set_time(self.path(token), self._clock())
