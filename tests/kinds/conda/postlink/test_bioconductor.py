"""What Bioconductor's data packages download, read from their scripts as the channel has them."""

from __future__ import annotations

import json

import pytest

from wavelet.errors import UpstreamBroken
from wavelet.kinds.conda.postlink.bioconductor import Tarball, tarball_of

MD5 = "0123456789abcdef0123456789abcdef"
URLS = ("https://one.example/3.14/src/contrib/Some.Data_1.2.7.tar.gz", "https://two.example/Some.Data_1.2.7.tar.gz")
ALONE = f"""#!/bin/bash
FN="Some.Data_1.2.7.tar.gz"
URLS=(
  "{URLS[0]}"
  "{URLS[1]}"
  "{URLS[1]}"
)
MD5="{MD5}"
STAGING=$PREFIX/share/$PKG_NAME-$PKG_VERSION-$PKG_BUILDNUM
"""
BY_TABLE = '#!/bin/bash\ninstallBiocDataPackage.sh "some.data-1.2.7"\n'


def table(**changes: object) -> bytes:
    row = {"urls": list(URLS), "md5": MD5, "fn": "Some.Data_1.2.7.tar.gz", **changes}
    return json.dumps({"other-1.0": {"not": "read"}, "some.data-1.2.7": row}).encode()


@pytest.mark.parametrize(("script", "data"), [(ALONE, b""), (BY_TABLE, table()), (BY_TABLE.replace('"', ""), table())])
def test_what_is_downloaded(script: str, data: bytes) -> None:
    tarball = tarball_of("bioconductor-some.data", script, data)
    assert tarball == Tarball(URLS, MD5, "Some.Data_1.2.7.tar.gz")
    assert tarball.proof == "lib/R/library/Some.Data/DESCRIPTION"


def test_other_scripts_download_nothing_known() -> None:
    assert tarball_of("tool", "#!/bin/bash\n# installBiocDataPackage.sh is not called\necho hello\n", b"") is None
    assert tarball_of("tool", '#!/bin/bash\nMD5="x"\ncurl https://some.example/x\n', b"") is None


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[", b"\xff", table(md5="x"), table(urls=[]), table(urls=["file:///etc/passwd"]), table(fn="../x")],
)
def test_what_is_not_said(data: bytes) -> None:
    with pytest.raises(UpstreamBroken, match="bioconductor-some"):
        tarball_of("bioconductor-some.data", BY_TABLE, data)
