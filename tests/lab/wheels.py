"""Python wheels made by hand, and a package index of them on loopback (simple repository API, HTML and JSON)."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MOMENT = (2024, 1, 2, 3, 4, 6)
EXECUTABLE = 0o100755 << 16
PLAIN = 0o100644 << 16


@dataclass
class WheelFile:
    """A wheel: its members without those of dist-info, and what these say."""

    name: str
    version: str = "1.0"
    tag: str = "py3-none-any"
    files: Mapping[str, bytes] = field(default_factory=dict)
    executable: frozenset[str] = frozenset()
    requires: Sequence[str] = ()
    extra_metadata: str = ""
    entry_points: str = ""
    pure: bool = True
    build: str = ""
    record: bytes | None = None
    moment: tuple[int, int, int, int, int, int] = MOMENT

    @property
    def file_name(self) -> str:
        parts = [self.name, self.version, *([self.build] if self.build else []), self.tag]
        return "-".join(parts) + ".whl"

    @property
    def dist_info(self) -> str:
        return f"{self.name}-{self.version}.dist-info"

    def members(self) -> dict[str, bytes]:
        requires = "".join(f"Requires-Dist: {each}\n" for each in self.requires)
        members = dict(self.files or {f"{self.name}/__init__.py": b"x = 1\n"})
        metadata = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n{requires}{self.extra_metadata}"
        members[f"{self.dist_info}/METADATA"] = metadata.encode()
        pure = str(self.pure).lower()
        wheel = f"Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: {pure}\nTag: {self.tag}\n"
        members[f"{self.dist_info}/WHEEL"] = wheel.encode()
        if self.entry_points:
            members[f"{self.dist_info}/entry_points.txt"] = self.entry_points.encode()
        record = "".join(f"{path},sha256={urlsafe_sha256(data)},{len(data)}\n" for path, data in members.items())
        own = f"{self.dist_info}/RECORD"
        members[own] = f"{record}{own},,\n".encode() if self.record is None else self.record
        return members

    def write(self, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / self.file_name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in self.members().items():
                info = zipfile.ZipInfo(name, self.moment)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = EXECUTABLE if name in self.executable else PLAIN
                archive.writestr(info, data)
        return path


def urlsafe_sha256(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write_sdist(directory: Path, name: str, version: str = "1.0") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in (
            ("PKG-INFO", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
            ("setup.py", "raise SystemExit('built')\n"),
        ):
            info = tarfile.TarInfo(f"{name}-{version}/{member}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


@dataclass
class PackageIndex:
    """A running index over `<root>/<package>/<file>`; what is put there shows at once.

    `uploaded` gives times of upload by file name, and makes the answers JSON (which alone has them). `elsewhere` is
    where the files are said to be, if not here. Requests are noted with their `Authorization`.
    """

    root: Path
    url: str = ""
    login: tuple[str, str] | None = None
    status: int = 200
    elsewhere: str = ""
    hashed: bool = True
    uploaded: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def add(self, *wheels: WheelFile) -> None:
        for wheel in wheels:
            wheel.write(self.root / wheel.name.lower().replace("_", "-").replace(".", "-"))

    @property
    def simple(self) -> str:
        return f"{self.url}/simple"

    def with_login(self, user: str, password: str) -> str:
        return self.simple.replace("//", f"//{user}:{password}@")

    def page(self, package: str) -> tuple[str, bytes] | None:
        directory = self.root / package
        if not directory.is_dir():
            return None
        files = sorted(path for path in directory.iterdir() if path.is_file())
        if self.uploaded:
            return "application/vnd.pypi.simple.v1+json", json.dumps(self._json(package, files)).encode()
        links = "".join(f'<a href="{self._address(p)}{self._fragment(p)}">{p.name}</a><br>\n' for p in files)
        return "text/html", f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

    def _json(self, package: str, files: list[Path]) -> object:
        entries = [
            {
                "filename": path.name,
                "url": self._address(path),
                "hashes": {"sha256": sha256(path)},
                "size": path.stat().st_size,
                **({"upload-time": self.uploaded[path.name]} if path.name in self.uploaded else {}),
            }
            for path in files
        ]
        return {"meta": {"api-version": "1.1"}, "name": package, "files": entries, "versions": []}

    def _address(self, path: Path) -> str:
        return f"{self.elsewhere or self.url}/files/{path.parent.name}/{path.name.replace('+', '%2B')}"

    def _fragment(self, path: Path) -> str:
        return f"#sha256={sha256(path)}" if self.hashed else ""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def running_index(root: Path, **settings: object) -> Iterator[PackageIndex]:
    """Serve an index until the end."""
    root.mkdir(parents=True, exist_ok=True)
    index = PackageIndex(root, **settings)  # type: ignore[arg-type]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization")
            index.requests.append((self.path, authorization))
            if index.login is not None and authorization != _basic(*index.login):
                self._answer(401, "text/plain", b"", ("WWW-Authenticate", 'Basic realm="lab"'))
            elif index.status != 200:
                self._answer(index.status, "text/plain", b"")
            else:
                self._serve()

        def _serve(self) -> None:
            parts = self.path.strip("/").split("/")
            if parts[0] == "simple" and len(parts) == 2:
                page = index.page(parts[1])
                self._answer(404, "text/plain", b"") if page is None else self._answer(200, *page)
                return
            path = index.root / "/".join(parts[1:]).replace("%2B", "+")
            if parts[0] == "files" and path.is_file():
                self._answer(200, "application/octet-stream", path.read_bytes())
            else:
                self._answer(404, "text/plain", b"")

        def _answer(self, status: int, kind: str, body: bytes, *headers: tuple[str, str]) -> None:
            self.send_response(status)
            for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
