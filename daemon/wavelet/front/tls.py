"""The certificate of the TLS listener, which may change while it listens."""

from __future__ import annotations

import ssl

from wavelet.config import ConfigError, Tls

_PROTOCOL = "http/1.1"


class Certificate:
    """The certificate that new connections are shown. A server keeps its context, and that hands over to this one.

    Attributes:
        context: the certificate's; may be set at any time.
        door: the server's.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.door = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.door.set_alpn_protocols([_PROTOCOL])
        # Asked at each handshake, also where the client names no server.
        self.door.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str, _door: ssl.SSLContext) -> None:
        connection.context = self.context


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Read a listener's certificate and key. Blocking.

    Raises:
        ConfigError: they cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols([_PROTOCOL])
    try:
        # Without a password given, OpenSSL would ask the terminal for that of a key that has one.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        message = (
            f"tls: {tls.certificate} with {tls.key} cannot be used: {reason}; both are PEM files, the key unencrypted"
        )
        raise ConfigError(message, field="tls") from None
    return context
