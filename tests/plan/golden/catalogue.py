"""Plans of every kind as the documents that records have of them, names as engines pull them, and requests' bodies.

No class of the code is named here: documents stay when classes go.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

Document = dict[str, Any]


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def package(name: str, subdir: str = "linux-64", **more: Any) -> Document:
    url = f"https://conda.anaconda.org/conda-forge/{subdir}/{name}.conda"
    return {"url": url, "sha256": hashlib.sha256(name.encode()).hexdigest()} | more


def wheel(name: str, **more: Any) -> Document:
    url = f"https://wheels.example/packages/{name}-py3-none-any.whl"
    return {"url": url, "sha256": hashlib.sha256(name.encode()).hexdigest()} | more


PACKAGES = [
    package("bzip2-1.0.8-hda65f42_8", size=260341, md5="51a19bba1b8ebfb60df25cde030b7ebc"),
    package("python-3.12.8-h9e4cc4f_1_cpython", size=31565686),
    package("six-1.17.0-pyhd8ed1ab_0", "noarch"),
]
WHEELS = [wheel("multiqc-1.25", size=5550000), wheel("rich-13.9.4")]
IMAGES: dict[str, Document] = {
    "a tag": {"from": "docker.io/library/busybox:1.36", "platform": "linux/amd64"},
    "a tag and a variant": {"from": "docker.io/library/busybox:1.36", "platform": "linux/arm/v7"},
    "a tag, whatever it names": {"from": "docker.io/library/busybox:latest"},
    "a digest": {"from": f"quay.io/biocontainers/bwa@{digest('bwa')}"},
    "a digest and a platform": {"from": f"quay.io/biocontainers/bwa@{digest('bwa')}", "platform": "linux/arm64"},
    "a sha512": {"from": f"registry.example/a@sha512:{'5' * 128}", "platform": "linux/amd64"},
    "a registry with a port": {"from": "localhost:5000/team/tool:1.0_rc.1", "platform": "linux/amd64"},
    "an IPv6 registry": {"from": "[::1]:5000/team/tool:1.0", "platform": "linux/amd64"},
}

BASE = {"from": "docker.io/library/debian:12", "platform": "linux/amd64"}
FIXED_BASE = {"from": f"docker.io/library/debian@{digest('debian')}", "platform": "linux/amd64"}
ASKED = {"specs": ["samtools=1.17"], "channels": ["conda-forge", "bioconda"], "platform": "linux/amd64", "base": BASE}
CONDA: dict[str, Document] = {
    "one spec": ASKED,
    "its version exactly": ASKED | {"specs": ["bioconda::samtools==1.17=hd87286a_2", "procps-ng"]},
    "five specs": ASKED | {"specs": ["bwa==0.7.18", "gatk4", "pigz", "python>=3.11,<3.13", "samtools=1.17"]},
    "only what everyone adds": ASKED | {"specs": ["procps-ng"]},
    "arm64": ASKED | {"platform": "linux/arm64", "base": BASE | {"platform": "linux/arm64"}},
    "a fixed base": ASKED | {"base": FIXED_BASE},
    "pip": ASKED | {"specs": ["pip", "python=3.12"], "pip": ["Multiqc>=1.25", "rich==13.9.4; python_version>'3.8'"]},
    "of a day": ASKED | {"asOf": "2026-01-31T00:00:00Z"},
    "packages of a lock": ASKED | {"locked": PACKAGES, "specs": ["procps-ng"]},
    "packages with one hash, or none": ASKED
    | {"locked": [{"url": package("a-1-0")["url"], "md5": "0" * 32}, {"url": package("b-1-0")["url"], "size": 7}]},
    "wheels of a lock": ASKED | {"specs": [], "locked": PACKAGES, "wheels": WHEELS},
    "leaves of a lock": ASKED | {"specs": [], "locked": PACKAGES, "leaves": ["six"]},
    "several leaves": ASKED | {"specs": [], "locked": PACKAGES, "wheels": WHEELS, "leaves": ["pip", "python", "six"]},
    "a lock at a URL": ASKED | {"specs": [], "lockLocation": "https://example.org/envs/qc/conda-lock.yml"},
    "a lock at a URL without a name": ASKED | {"specs": [], "lockLocation": "https://example.org/"},
    "renewed": ASKED | {"renewed": True},
    "few layers": ASKED | {"layers": "few"},
    "no channel": {name: value for name, value in ASKED.items() if name != "channels"},
    "everything": ASKED
    | {
        "specs": ["pip", "procps-ng", "samtools=1.17"],
        "pip": ["six"],
        "asOf": "2026-01-31T12:30:00Z",
        "locked": PACKAGES,
        "wheels": WHEELS,
        "lockLocation": "https://example.org/pixi.lock",
        "renewed": True,
        "layers": "few",
        "leaves": ["python", "six"],
    },
}

LOCKED = {"packages": PACKAGES, "platform": "linux/amd64", "base": FIXED_BASE}
LOCKS: dict[str, Document] = {
    "packages": LOCKED,
    "wheels": LOCKED | {"wheels": WHEELS},
    "without scripts": LOCKED | {"withoutScripts": True},
    "few layers": LOCKED | {"layers": "few", "wheels": WHEELS},
    "few layers without scripts": LOCKED | {"layers": "few", "withoutScripts": True},
    "arm64": LOCKED | {"platform": "linux/arm64", "base": FIXED_BASE | {"platform": "linux/arm64"}},
    "nothing": {"platform": "linux/amd64", "base": FIXED_BASE},
}

PYTHON = {"python": "3.12", "sitePackages": "lib/python3.12/site-packages"}
PARTS: dict[str, Document] = {
    "a package's layer": {"package": PACKAGES[0]},
    "a noarch package's layer": {"package": PACKAGES[2] | PYTHON},
    "a wheel's layer": {"wheel": WHEELS[0] | PYTHON},
    "what scripts change": {"scripts": PACKAGES[:2], "image": {"lock": LOCKS["without scripts"]}},
    "what scripts change in few layers": {
        "scripts": PACKAGES[:1],
        "image": {"lock": LOCKS["few layers without scripts"]},
    },
    "the C library of an image": {"libc": FIXED_BASE},
    "the C library of a tag": {"libc": BASE},
}


def layer(name: str, **more: Any) -> Document:
    """Return a layer with all members that records have of it."""
    location = f"https://example.org/{name}.tar.gz"
    members = {"gzipDigest": digest(f"{name}.gz"), "tarDigest": digest(name), "gzipSize": 1000, "location": location}
    return members | more


CONFIGS: dict[str, Document] = {
    "an entry point": {"config": {"entrypoint": ["/opt/entry.sh", "-c"]}},
    "a command": {"config": {"cmd": ["sleep", "5"]}},
    "an environment": {"config": {"env": ["A=1", "PATH=/opt/bin:/bin", "EMPTY=", "Ü=ö"]}},
    "a working directory": {"config": {"workingDir": "/work"}},
    "a layer": {"config": {"layers": [layer("one")]}},
    "a layer without a size": {"config": {"layers": [layer("one", gzipSize=None)]}},
    "a layer that came with the request": {"config": {"layers": [layer("bundle", location="inline:")]}},
    "layers of architectures": {
        "config": {"layers": [layer("fusion-amd64", architecture="amd64"), layer("fusion-arm64", architecture="arm64")]}
    },
    "includes": {"includes": [IMAGES["a tag"], IMAGES["a digest and a platform"]]},
    "everything": {
        "config": {
            "entrypoint": ["/opt/entry.sh"],
            "cmd": ["run"],
            "env": ["A=1", "B=2"],
            "workingDir": "/work",
            "layers": [layer("one"), layer("bundle", location="inline:"), layer("fusion", architecture="amd64")],
        },
        "includes": [IMAGES["a tag"]],
    },
}
EVERYTHING = CONFIGS["everything"]


def _augmented() -> dict[str, Document]:
    alone = {what: config for what, config in CONFIGS.items() if config is not EVERYTHING}
    found = {f"an image with {what}": {"base": IMAGES["a tag"]} | config for what, config in alone.items()}
    found |= {f"{what} with everything": {"base": image} | EVERYTHING for what, image in IMAGES.items()}
    found |= {f"packages ({what}) with everything": {"base": {"conda": CONDA[what]}} | EVERYTHING for what in CONDA}
    return found | {f"a lock ({what}) with everything": {"base": {"lock": LOCKS[what]}} | EVERYTHING for what in LOCKS}


def _of(document: Document, platform: str) -> Document:
    """Return an image's document for another platform."""
    found = {
        name: _of(value, platform) if name in ("base", "conda", "lock") else value for name, value in document.items()
    }
    if "includes" in document:
        found["includes"] = [_of(value, platform) for value in document["includes"]]
    return found | ({"platform": platform} if "platform" in document else {})


def _indexes() -> dict[str, Document]:
    members = {
        "images": IMAGES["a tag"],
        "augmented images": {"base": IMAGES["a tag"]} | EVERYTHING,
        "packages": {"conda": CONDA["pip"]},
        "packages, all said": {"conda": CONDA["everything"]},
        "augmented packages": {"base": {"conda": CONDA["one spec"]}} | EVERYTHING,
        "locks": {"lock": LOCKS["wheels"]},
        "augmented locks": {"base": {"lock": LOCKS["few layers"]}} | EVERYTHING,
    }
    both = ("linux/arm64", "linux/amd64")
    found = {
        f"{what} of two platforms": {"index": {each: _of(one, each) for each in both}} for what, one in members.items()
    }
    mixed = {
        "linux/amd64": {"conda": CONDA["one spec"]},
        "linux/arm/v7": _of(members["augmented images"], "linux/arm/v7"),
    }
    return found | {"one platform": {"index": {"linux/amd64": IMAGES["a tag"]}}, "a mixture": {"index": mixed}}


def _sifs() -> dict[str, Document]:
    gzip = {"platform": "linux/amd64", "codec": "gzip"}
    image, packages = IMAGES["a tag"], {"conda": CONDA["one spec"]}
    return {
        "a SIF of an image": {"sif": image} | gzip,
        "a SIF by zstd": {"sif": image, "platform": "linux/arm64", "codec": "zstd"},
        "a SIF of packages with everything": {"sif": {"base": packages} | EVERYTHING} | gzip,
        "a frozen SIF": {"frozen": {"sif": image} | gzip},
    }


PLANS: dict[str, Document] = (
    {f"an image by {what}": value for what, value in IMAGES.items()}
    | {f"packages: {what}": {"conda": value} for what, value in CONDA.items()}
    | {f"a lock: {what}": {"lock": value} for what, value in LOCKS.items()}
    | _augmented()
    | _indexes()
    | _sifs()
)
"""What names stand for."""


def pinned(document: Document) -> Document:
    """Return what a plan's document is when everything in it stands still: digests for tags, a lock for packages."""
    if "index" in document:
        return {"index": {platform: pinned(member) for platform, member in document["index"].items()}}
    for around in ("sif", "frozen"):
        if around in document:
            return document | {around: pinned(document[around])}
    if "base" in document and "platform" not in document:
        includes = {"includes": [pinned(value) for value in document["includes"]]} if "includes" in document else {}
        return document | {"base": pinned(document["base"])} | includes
    if "conda" in document:
        asked = document["conda"]
        said = {name: asked[name] for name in ("platform", "layers") if name in asked}
        return {"lock": {"packages": PACKAGES, "wheels": WHEELS, "base": pinned(asked["base"])} | said}
    if "lock" in document or "@" in document["from"]:
        return document
    repository, _, tag = document["from"].rpartition(":")
    return document | {"from": f"{repository}@{digest(repository + tag)}"}


CALLED_BEFORE = {
    "packages: wheels of a lock": "conda/environment",
    "packages: a lock at a URL": "conda/environment",
    "packages: leaves of a lock": "conda/environment",
    "packages: pip": "conda/python",
    "packages: packages of a lock": "conda/procps-ng",
}
"""Paths that names of these had before locks and requirements counted."""

NAMES: tuple[tuple[str, str | None, str | None], ...] = (
    ("busybox", None, None),
    ("busybox:1.36", None, "linux/amd64"),
    ("library/busybox:1.36", None, "linux/arm/v7"),
    (f"busybox:1.36@{digest('busybox')}", None, None),
    (f"quay.io/biocontainers/bwa@{digest('bwa')}", None, "linux/arm64"),
    ("index.docker.io/busybox:1", None, None),
    ("registry.example_5000/team/tool:1.0", None, None),
    ("registry.example:5000/team/tool:1.0", None, None),
    ("localhost/tool:1.0", None, None),
    ("localhost_5000/tool:1.0", None, None),
    ("library/busybox:1.36", "docker.io", None),
    ("conda/samtools:1.17", "quay.io", None),
    ("sif/tool:1", None, None),
    ("UPPER/case:1", None, None),
    ("busybox:-1", None, None),
    *(
        (f"conda/{name}", None, None)
        for name in (
            "samtools",
            "samtools:1.17",
            "samtools:1.17--hd87286a_2",
            "samtools:ge1.17",
            "samtools__1.17/bwa__0.7.18:latest",
            "bwa__0.7.18/samtools__1.17",
            "python__ge3.11__an__lt3.13/pip--multiqc",
            "pip--six/pip--rich__eq1.2",
            "samtools/date--2026-01-31:1.17",
            "samtools/date--2026-01-31t123000z:1.17",
            "samtools/channel--bioconda/channel--conda-forge/platform--arm64/base--debian__co12/add--none",
            "samtools/add--procps-ng/add--which",
            "samtools/platform--amd64",
            "bioconda__ccsamtools:1.17",
            "samtools/date--2026-02-31",
            "samtools/size--big",
            "samtools__e1",
            "samtools/bwa:1.17",
            "date--2026-01-31",
            "samtools/platform--s390x",
            f"samtools@{digest('samtools')}",
        )
    ),
)
"""Names as engines pull them (the first without an authority), a registry that is said beside them, and a platform."""


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_URL = "https://conda.anaconda.org/bioconda/linux-64/samtools-1.17-hd87286a_2.tar.bz2"
_EXPLICIT = f"# platform: linux-64\n@EXPLICIT\n{_URL}#{'a' * 32}\n{package('a-1-0')['url']}#sha256:{'b' * 64}\n"
_CONDA_LOCK = (
    "version: 1\nmetadata: {channels: [{url: conda-forge}]}\npackage:\n"
    f"- {{name: samtools, manager: conda, platform: linux-64, url: '{_URL}', hash: {{md5: '{'a' * 32}',"
    f" sha256: '{'b' * 64}'}}, dependencies: {{libc: '*'}}}}\n"
)
_PIXI_LOCK = (
    "version: 6\nenvironments: {default: {channels: [{url: 'https://conda.anaconda.org/conda-forge/'}],"
    f" packages: {{linux-64: [{{conda: '{_URL}'}}]}}}}}}\npackages:\n- {{conda: '{_URL}', sha256: '{'b' * 64}'}}\n"
)
_YAML = (
    "name: qc\nchannels: [bioconda, conda-forge]\ndependencies: [salmon=1.10.3, pip, {pip: [six]}]\nvariables: {A: b}\n"
)
_CLIENTS = {"mambaImage": "mambaorg/micromamba:1.5.10-noble", "basePackages": "conda-forge::procps-ng"}


def _packages(*, options: Document | None = None, **members: Any) -> Document:
    return {"packages": {"type": "CONDA", "condaOpts": _CLIENTS if options is None else options} | members}


BODIES: dict[str, Document] = {
    "specs": _packages(entries=["bioconda::salmon=1.10.3", "'Bwa = 0.7'", "pip:numpy"], channels=["bioconda"]),
    "specs of the site's channels": _packages(entries=["samtools=1.17"]),
    "specs of a day": _packages(entries=["samtools=1.17"], asOf="2026-01-31"),
    "specs of no day": _packages(entries=["samtools=1.17"], asOf="yesterday"),
    "specs of a template": _packages(entries=["samtools=1.17"]) | {"buildTemplate": "conda/pixi:v1"},
    "specs for two platforms": _packages(entries=["samtools"]) | {"containerPlatform": "linux/arm64,linux/amd64"},
    "specs on a base": _packages(entries=["samtools"], options={"baseImage": "debian:12", "basePackages": ""}),
    "specs with a configuration": _packages(entries=["samtools"]) | {"containerConfig": {"env": ["A=1"], "cmd": ["x"]}},
    "an environment": _packages(environment=_b64(_YAML), channels=["conda-forge"]),
    "an explicit list": _packages(environment=_b64(_EXPLICIT)),
    "a lock of conda-lock": _packages(environment=_b64(_CONDA_LOCK)),
    "a lock of pixi": _packages(environment=_b64(_PIXI_LOCK)),
    "a lock at a URL": _packages(entries=["https://example.org/envs/qc/conda-lock.yml"]),
    "a package at a URL": _packages(entries=[_URL, "bwa"]),
    "several specs in one": _packages(entries=["samtools 1.17 bwa pigz"]),
    "a platform without packages": _packages(entries=["samtools"]) | {"containerPlatform": "linux/s390x"},
    "an image": {"containerImage": "busybox:1.36"},
    "an image's digest": {"containerImage": f"busybox:1.36@{digest('busybox')}"},
    "an image for two platforms": {"containerImage": "busybox", "containerPlatform": "amd64,arm64"},
    "an image with everything": {
        "containerImage": "quay.io/a/b:1",
        "containerPlatform": "aarch64",
        "containerConfig": {
            "entrypoint": ["/e"],
            "cmd": ["c"],
            "env": ["A=1", "B=2", "A=3"],
            "workingDir": "/w",
            "layers": [{name: value for name, value in layer("one").items() if value}],
        },
        "containerIncludes": ["alpine", f"quay.io/a/c:2@{digest('c')}"],
    },
    "nothing": {},
    "two things": {"containerImage": "busybox"} | _packages(entries=["samtools"]),
    "freezing": {"containerImage": "busybox", "freeze": True, "buildRepository": "registry.example/a"},
    "a name of no image": {"containerImage": "https://docker.io/busybox"},
}
"""Requests besides those that are recorded."""
