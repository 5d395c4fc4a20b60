"""The Python client of wavelet's gRPC door, for workflow engines and the `wavelet` command.

`Client` blocks, `AsyncClient` is for asyncio; both have the methods of `wavelet.client.methods.Methods`, take what the
protos say and return the messages of `wavelet.v1`.

The room imports grpc, protobuf, `wavelet.v1`, `wavelet.paths` and the standard library, and nothing of the daemon: it
can be installed without what the daemon needs.
"""

from wavelet.client.asynchronous import AsyncClient
from wavelet.client.errors import Fault, NoDaemon, WaveletRpcError
from wavelet.client.synchronous import Client
from wavelet.client.target import Tls

__all__ = ["AsyncClient", "Client", "Fault", "NoDaemon", "Tls", "WaveletRpcError"]
