"""What the kernel and the service manager say: uids of callers, descriptors, sockets handed over, readiness."""
