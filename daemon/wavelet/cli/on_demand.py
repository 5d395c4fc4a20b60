"""The modules that commands import only when they use them: `wavelet ensure` runs for every task, in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavelet.lazy_module import LazyModule

if TYPE_CHECKING:
    import difflib
    import traceback

    import shtab
    import yaml

    from wavelet import config
    from wavelet.cli import output, progress_bars
    from wavelet.cli.user_daemon import batch_system, exports, socket_status, start
    from wavelet.host import port_owner, tcp_table
    from wavelet.reload import trial as settings_trial
else:
    difflib = LazyModule("difflib")
    traceback = LazyModule("traceback")

    shtab = LazyModule("shtab")
    yaml = LazyModule("yaml")

    config = LazyModule("wavelet.config")
    output = LazyModule("wavelet.cli.output")
    progress_bars = LazyModule("wavelet.cli.progress_bars")
    batch_system = LazyModule("wavelet.cli.user_daemon.batch_system")
    exports = LazyModule("wavelet.cli.user_daemon.exports")
    socket_status = LazyModule("wavelet.cli.user_daemon.socket_status")
    start = LazyModule("wavelet.cli.user_daemon.start")
    port_owner = LazyModule("wavelet.host.port_owner")
    tcp_table = LazyModule("wavelet.host.tcp_table")
    settings_trial = LazyModule("wavelet.reload.trial")

__all__ = [
    "batch_system",
    "config",
    "difflib",
    "exports",
    "output",
    "port_owner",
    "progress_bars",
    "settings_trial",
    "shtab",
    "socket_status",
    "start",
    "tcp_table",
    "traceback",
    "yaml",
]
