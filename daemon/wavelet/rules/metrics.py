"""What is counted of rules, for Prometheus."""

from __future__ import annotations

from prometheus_client import Gauge

IN_FORCE = Gauge("wavelet_rules", "Rules of the site in force.")
PROBLEMS = Gauge("wavelet_rules_problems", "Faults that keep what is in rules.directory now from being in force.")
