"""What servers' certificates have to be like: the same on every Python."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from lab.certificates import Authority
from wavelet.upstream.trust import trusting


def test_certificates_are_looked_at_as_engines_do(tmp_path: Path) -> None:
    """The lab's have none of the extensions that Python asks for from 3.13 on."""
    context = trusting(str(Authority(tmp_path, "authority").certificate))
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        trusting(str(tmp_path / "absent.pem"))
