"""What a service manager and the daemon tell each other: sockets handed over, ready, reloading, alive, stopping.

The protocols are systemd's and small (sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3)), and others speak them
too; they are spoken here without a library. Without a service manager all of it does nothing.
"""
