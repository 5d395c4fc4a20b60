"""The gRPC door, `protos/wavelet/v1`. It translates and does nothing else.

    clients -> two unix sockets (`sockets`, `forward`) -> a private one -> grpc's server (`server`) <- TLS clients
    each call -> `calls` (who calls, deadlines, errors) -> a servicer -> the resolver's side

grpc cannot tell who is at the other end of a unix socket. So the public ones are accept loops of this daemon: they ask
the kernel, and forward the bytes over a connection whose own address says the answer. Nobody else can connect to the
private socket, so that address cannot be forged.

The room takes long to import; `app` does so when it is needed.
"""

import os

# grpc's core writes lines of its own on standard error, about every client that breaks off.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
