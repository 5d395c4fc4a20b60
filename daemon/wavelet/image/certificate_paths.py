"""Where an image has the certificates that were added to it, and the variables that lead programs there. Pure."""

from __future__ import annotations

DIRECTORY = "usr/local/share/wavelet/ca"
"""The directory where a layer has the site's certificates, as PEM; beside them is what they are merged into."""

BUNDLE = f"{DIRECTORY}/bundle.pem"
"""The image's certificates, and then the site's."""

JAVA_STORE = f"{DIRECTORY}/truststore.jks"
"""The same for Java."""

ENVIRONMENT = tuple(
    f"{name}=/{BUNDLE}"
    for name in (
        "SSL_CERT_FILE",  # OpenSSL, Go, Rust's native certificates, Python's ssl
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "GIT_SSL_CAINFO",
        "AWS_CA_BUNDLE",
        "PIP_CERT",
    )
)
"""What leads programs to the bundle. Java's variable is not among them: an image may have options in it, so that it is
set when the bundle is made."""
