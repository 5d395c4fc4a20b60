"""An image with something added, as a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from wavelet.image.image import IndexEntry, merge_env
from wavelet.image.reference import Digest, Platform
from wavelet.plan.node import ContainerConfig, Description, Label, Layer, Node, View, title, written


@dataclass(frozen=True, slots=True)
class AugmentedImage(Node):
    """`base` with layers, environment, labels and entry point added, and with the layers of `includes` on top.

    Attributes:
        rules: names of the site's rules by which this is added; they stand in the image's annotations.
    """

    tag = "base"
    is_composite = True

    base: Node
    config: ContainerConfig
    includes: tuple[Node, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def children(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.base, *self.includes)

    def with_children(self, children: Sequence[Node]) -> AugmentedImage:
        """See `Node`."""
        base, *includes = children
        return replace(self, base=base, includes=tuple(includes))

    @property
    def inputs(self) -> tuple[Layer, ...]:
        """See `Node`."""
        return self.config.layers

    def with_inputs(self, inputs: Sequence[Layer]) -> Node:
        """See `Node`."""
        config = replace(self.config, layers=tuple(inputs))
        return replace(self, config=config) if config or self.includes else self.base

    @property
    def configuration(self) -> ContainerConfig:
        """See `Node`."""
        return self.config

    def reconfigured(self, configuration: ContainerConfig, rules: tuple[str, ...]) -> AugmentedImage:
        """See `Node`."""
        return replace(self, config=configuration, rules=(*self.rules, *rules))

    def for_platform(self, platform: Platform | None) -> AugmentedImage:
        """See `Node`."""
        return self.with_children([child.for_platform(platform) for child in self.children])

    def entry(self, entry: IndexEntry) -> Node:
        """See `Node`. The entry is of the augmented index, which has other digests than the one below."""
        return self.for_platform(entry.platform)

    def of_member(self, entry: IndexEntry) -> AugmentedImage:
        """Return the same on one member of the index that `base` is: `entry` of that."""
        return self.with_children(
            [self.base.entry(entry), *(each.for_platform(entry.platform) for each in self.includes)]
        )

    @property
    def label(self) -> Label:
        """See `Node`."""
        return self.base.label.of_changed()

    @property
    def description(self) -> Description:
        """See `Node`."""
        base = self.base.description
        return replace(
            base,
            config=self.config or None,
            includes=tuple(title(include) for include in self.includes),
            is_built=base.is_built or any(include.description.is_built for include in self.includes),
        )

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`."""
        value: dict[str, Any] = {"base": written(self.base, view)}
        value |= {"config": _config(self.config, view)} if self.config else {}
        value |= {"rules": list(self.rules)} if self.rules else {}
        return value | ({"includes": [written(each, view) for each in self.includes]} if self.includes else {})

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        includes = tuple(map(read, value.get("includes", ())))
        return cls(read(value["base"]), _read_config(value.get("config", {})), includes, tuple(value.get("rules", ())))


def _config(config: ContainerConfig, view: View) -> dict[str, Any]:
    members: dict[str, Any] = {
        "entrypoint": list(config.entrypoint),
        "cmd": list(config.cmd),
        "env": merge_env(config.env),
        "workingDir": config.working_dir,
        "layers": [_layer(layer, view) for layer in config.layers],
        "labels": dict(sorted(config.labels)),
    }
    return {name: value for name, value in members.items() if value}


def _layer(layer: Layer, view: View) -> dict[str, Any]:
    members: dict[str, Any] = {"gzipDigest": layer.digest, "tarDigest": layer.diff_id}
    if layer.architecture is not None:
        members["architecture"] = layer.architecture
    if view is not View.NAME:
        members |= {"gzipSize": layer.size, "location": layer.location}
    return members


def _read_config(value: Mapping[str, Any]) -> ContainerConfig:
    return ContainerConfig(
        tuple(value.get("entrypoint", ())),
        tuple(value.get("cmd", ())),
        tuple(value.get("env", ())),
        value.get("workingDir", ""),
        tuple(map(_read_layer, value.get("layers", ()))),
        tuple(value.get("labels", {}).items()),
    )


def _read_layer(value: Mapping[str, Any]) -> Layer:
    return Layer(
        Digest.parse(value["gzipDigest"]),
        value["gzipSize"],
        Digest.parse(value["tarDigest"]),
        value["location"],
        value.get("architecture"),
    )
