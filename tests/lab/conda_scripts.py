"""Packages that want something run: activation scripts, and scripts after they are linked."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile

from lab.conda_packages import MEMBER_TIME, PLACEHOLDER, Entry, File, Package, Symlink, machine, script, text


def activated() -> list[Package]:
    """Packages that count on their environment being activated."""
    java_home = "lib/jvm"
    return [
        Package(
            "openjdk",
            "17.0.8",
            files={
                "etc/conda/activate.d/openjdk_activate.sh": text(
                    'export JAVA_HOME_CONDA_BACKUP="${JAVA_HOME:-}"\n'
                    f'export JAVA_HOME="$CONDA_PREFIX/{java_home}"\n'
                    'export JAVA_LD_LIBRARY_PATH="$JAVA_HOME/lib/server"\n'
                ),
                "etc/conda/deactivate.d/openjdk_deactivate.sh": text('export JAVA_HOME="$JAVA_HOME_CONDA_BACKUP"\n'),
                f"{java_home}/release": text('JAVA_VERSION="17.0.8"\n'),
                "bin/java": script('#!/bin/sh\nset -eu\ncat "$JAVA_HOME/release"\n'),
            },
            license="GPL-2.0-or-later WITH Classpath-exception-2.0",
        ),
        Package(
            "r-base",
            "4.3.1",
            files={
                "etc/conda/activate.d/activate-r-base.sh": text(
                    "# Fails under set -u, as real ones did.\n"
                    'if [ "$R_LAB_OLD" = "" ]; then\n  export R_LAB_HOME="${CONDA_PREFIX}/lib/R"\nfi\n'
                    'export RSTUDIO_WHICH_R="${CONDA_PREFIX}/bin/R"\n'
                ),
                "lib/R/etc/Renviron": text(f"R_HOME={PLACEHOLDER}/lib/R\n"),
                "lib/R/library/base/DESCRIPTION": text("Package: base\n"),
                "bin/R": script(_R),
                "libexec/r-base/busybox": File(machine("busybox").read_bytes(), 0o755),
                "bin/Rscript": script('#!/bin/sh\nset -eu\necho "R in $R_LAB_HOME"\n'),
            },
            license="GPL-2.0-or-later",
        ),
        Package(
            "gdal-lab",
            "3.8.0",
            files={
                "etc/conda/activate.d/gdal-activate.sh": text(
                    'if [ -n "${GDAL_DATA+x}" ]; then\n  export _CONDA_SET_GDAL_DATA="$GDAL_DATA"\nfi\n'
                    'export GDAL_DATA="${CONDA_PREFIX}/share/gdal"\n'
                ),
                "etc/conda/activate.d/gdal-activate.fish": text("set -x GDAL_DATA $CONDA_PREFIX/share/gdal\n"),
                "share/gdal/epsg.json": text("{}\n"),
            },
        ),
        Package(
            "lab-settings",
            files={
                "etc/conda/env_vars.d/lab-settings.json": text(
                    json.dumps(
                        {"LAB_COLOUR": "deep blue", "LAB_DB": f"{PLACEHOLDER}/share/db", "LAB_QUOTES": "a'b\"c$d"}
                    )
                ),
                "share/db/one": text("1\n"),
            },
        ),
    ]


_R = f"""#!/bin/sh
# R CMD INSTALL --library=DIRECTORY TARBALL, as far as data packages need it.
[ "$1 $2" = "CMD INSTALL" ] || {{ echo "R 4.3.1 in {PLACEHOLDER}"; exit 0; }}
shift 2
for argument; do
  case "$argument" in --library=*) library="${{argument#--library=}}";; *) tarball="$argument";; esac
done
mkdir -p "${{library:={PLACEHOLDER}/lib/R/library}}"
"{PLACEHOLDER}/libexec/r-base/busybox" tar -x -z -f "$tarball" -C "$library"
"""


def scripted() -> list[Package]:
    """Packages with post-link scripts."""
    link = '#!/bin/bash\nset -eu\necho "$PKG_NAME $PKG_VERSION $PKG_BUILDNUM" > "$PREFIX/share/post-linked"\n'
    return [
        Package(
            "post-link-tool",
            files={
                "bin/.post-link-tool-post-link.sh": script(link + 'echo "linked" >> "$PREFIX/.messages.txt"\n'),
                "share/post-link-tool": text("before\n"),
            },
        ),
        Package(
            "post-link-fails",
            files={"bin/.post-link-fails-post-link.sh": script("#!/bin/bash\necho no luck >&2\nexit 3\n")},
        ),
        Package(
            "pre-link-tool",
            files={"bin/.pre-link-tool-pre-link.sh": script("#!/bin/bash\nexit 1\n"), "share/pre-link-tool": text("")},
        ),
        Package(
            "pre-unlink-tool",
            files={"bin/.pre-unlink-tool-pre-unlink.sh": script("#!/bin/bash\nexit 1\n"), "share/pre-unlink": text("")},
        ),
        bioconductor_data("https://data.example/labdata_1.0.tar.gz", data_tarball("labdata")),
        *bioconductor_table("https://data.example/labtable_1.0.tar.gz", data_tarball("labtable")),
        _fetcher(),
    ]


def _fetcher() -> Package:
    """Return what the scripts of data packages call, made of one static program."""
    tools = ("md5sum", "rmdir", "wget")
    files: dict[str, Entry] = {f"bin/{name}": Symlink("../libexec/curl-lab/busybox") for name in tools}
    files |= {"bin/curl": script(_CURL), "libexec/curl-lab/busybox": File(machine("busybox").read_bytes(), 0o755)}
    return Package("curl-lab", "8.0", files=files, license="curl")


_CURL = """#!/bin/sh
# As far as scripts need it: curl [-o FILE] URL, the URL being file:// or http://.
out=/dev/stdout
while [ $# -gt 0 ]; do
  case "$1" in -o) out="$2"; shift;; -*) ;; *) url="$1";; esac
  shift
done
case "$url" in
  file://*) cat "${url#file://}" > "$out";;
  *) wget -q -O - "$url" > "$out";;
esac
"""


def data_tarball(name: str) -> bytes:
    """Return the source tarball of an R data package, for `R CMD INSTALL`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in {"DESCRIPTION": f"Package: {name}\n", "data/table.txt": "1\n"}.items():
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size, member.mtime = len(content), MEMBER_TIME
            tar.addfile(member, io.BytesIO(content.encode()))
    return gzip.compress(out.getvalue(), mtime=0)


def bioconductor_data(url: str, tarball: bytes) -> Package:
    """Return a data package whose post-link script has its URL and md5 in it."""
    digest = hashlib.md5(tarball).hexdigest()
    link = f"""#!/bin/bash
FN="labdata_1.0.tar.gz"
URLS=(
  "{url}"
  "https://elsewhere.example/labdata_1.0.tar.gz"
)
MD5="{digest}"
STAGING=$PREFIX/share/$PKG_NAME-$PKG_VERSION-$PKG_BUILDNUM
mkdir -p $STAGING
TARBALL=$STAGING/$FN
SUCCESS=0
for URL in ${{URLS[@]}}; do
  curl $URL > $TARBALL || continue
  if md5sum -c <<<"$MD5  $TARBALL"; then SUCCESS=1; break; fi
done
if [ $SUCCESS != 1 ]; then echo "none of the URLs gave the tarball" >&2; exit 1; fi
R CMD INSTALL --library=$PREFIX/lib/R/library $TARBALL
rm $TARBALL
rmdir $STAGING
"""
    files: dict[str, Entry] = {"bin/.bioconductor-labdata-post-link.sh": script(link), "share/labdata.txt": text("")}
    depends = ("r-base >=4.3", "curl-lab")
    name = "bioconductor-labdata"
    return Package(name, "1.0", "r43hdfd78af_0", "noarch", files, depends, noarch="generic")


def bioconductor_table(url: str, tarball: bytes) -> list[Package]:
    """Return a data package of the newer kind, whose script asks a table of another package, and that package."""
    table = {"labtable-1.0": {"fn": "labtable_1.0.tar.gz", "md5": hashlib.md5(tarball).hexdigest(), "urls": [url]}}
    helper = f"""#!/bin/bash
set -e
json="{PLACEHOLDER}/share/bioconductor-data-packages/dataURLs.json"
fn="$(grep -o '[^"]*[.]tar[.]gz' "$json" | head -n 1)"
curl -o "$PREFIX/share/$fn" "$(grep -o '[a-z]*://[^"]*' "$json" | head -n 1)"
md5sum -c <<<"$(grep -o '[0-9a-f]\\{{32\\}}' "$json" | head -n 1)  $PREFIX/share/$fn"
R CMD INSTALL --library="$PREFIX/lib/R/library" "$PREFIX/share/$fn"
rm "$PREFIX/share/$fn"
"""
    link = '#!/bin/bash\nset -o errexit -o pipefail\n\ninstallBiocDataPackage.sh "labtable-1.0"\n'
    return [
        Package(
            "bioconductor-data-packages",
            "20230706",
            "hdfd78af_0",
            "noarch",
            {
                "bin/installBiocDataPackage.sh": script(helper),
                "share/bioconductor-data-packages/dataURLs.json": text(json.dumps(table, indent=4)),
            },
            ("curl-lab",),
            noarch="generic",
        ),
        Package(
            "bioconductor-labtable",
            "1.0",
            "r43hdfd78af_0",
            "noarch",
            {"bin/.bioconductor-labtable-post-link.sh": script(link)},
            ("r-base >=4.3", "bioconductor-data-packages >=20230706", "curl-lab"),
            noarch="generic",
        ),
    ]
