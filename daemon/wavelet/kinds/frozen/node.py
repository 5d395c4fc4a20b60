"""An image with a name that lasts, as a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, get_args

from wavelet.image.reference import Reference, Repository
from wavelet.kinds.delivered import DeliveredImage
from wavelet.plan.delivery import Delivery, Named, Strategy, frozen
from wavelet.plan.node import Label, Node, View, written


@dataclass(frozen=True)
class FrozenImage(DeliveredImage):
    """`image` under a name that lasts.

    Attributes:
        image: what is frozen.
        target: where it is pushed to; None: nowhere, the node's own registry has it.
        strategy: how it is named.
        cache: a repository for layers of packages. It takes no part in names: whatever is found there is the same.
    """

    tag = "frozen"

    target: Repository | None = None
    strategy: Strategy = ""
    cache: Repository | None = None

    def delivered_to(self, repository: Repository) -> FrozenImage:
        """See `Node`."""
        return self if self.target is not None else replace(self, target=repository)

    @cached_property
    def delivery(self) -> Delivery:
        """See `Node`. Whoever has a request asks for it many times, and it takes a while to find out for packages."""
        named, own_path = _named(self.image)
        return frozen(named, own_path, self.target, self.strategy, self.cache)

    @property
    def is_unchanged(self) -> bool:
        """Whether it is just what some registry has, so that it keeps its digest."""
        return self.image.repository is not None and not self.image.children

    @property
    def label(self) -> Label:
        """See `Node`."""
        return self.image.label if self.is_unchanged else self.image.label.of_changed()

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`. Where it goes is no part of its bytes."""
        value: dict[str, Any] = {"frozen": written(self.image, view)}
        if view is View.KEY:
            return value
        value |= {} if self.target is None else {"repository": str(self.target)}
        value |= {"nameStrategy": self.strategy} if self.strategy else {}
        return value | ({} if self.cache is None or view is View.NAME else {"cacheRepository": str(self.cache)})

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        strategy = value.get("nameStrategy", "")
        if strategy not in get_args(Strategy):
            raise ValueError(strategy)
        return cls(
            read(value["frozen"]),
            _repository(value.get("repository")),
            strategy,
            _repository(value.get("cacheRepository")),
        )


def _repository(text: str | None) -> Repository | None:
    return None if text is None else Reference.parse(text).repository


def _named(image: Node) -> tuple[Named, str]:
    """Return what an image is called after, and, if it is one of a registry, its path."""
    packages = image.description.packages
    if packages is not None:
        return packages.named or (("environment", None),), ""
    label = image.label.of_changed()
    return ((label.path.rpartition("/")[2], label.tag),), label.path
