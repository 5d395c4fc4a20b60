"""The names, types, labels and help of all metrics, of the one registry of a process."""

from __future__ import annotations

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from documented.wire import golden, import_everything


def test_metrics() -> None:
    import_everything()
    found = {
        family.name: {"type": family.type, "labels": list(metric._labelnames), "help": family.documentation}
        for metric in set(REGISTRY._names_to_collectors.values())
        if isinstance(metric, MetricWrapperBase)
        for family in metric.describe()
        if family.name.startswith("wavelet_")
    }
    assert found == golden("metrics")
