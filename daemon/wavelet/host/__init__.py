"""The word of the kernel and of the service manager: uids of callers, descriptors, sockets handed over, readiness.

And whose files are, and that they change.
"""
