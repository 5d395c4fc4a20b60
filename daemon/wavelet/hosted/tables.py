"""The tables of hosted repositories: in a database of their own, for what was pushed exists nowhere else.

Rows are read in the loop's thread. What changes them is a list of statements, committed together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from wavelet.hosted.model import HostedManifest, HostedRepository, Pushed
from wavelet.hosted.policy import Kept
from wavelet.image.image import Descriptor
from wavelet.image.reference import Digest
from wavelet.plan.tokens import Principal
from wavelet.store.database import Database, Statement

FILE = "hosted.db"
CONTENT = "the images that were pushed to this node"
"""What is lost with the file."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (owner TEXT, path TEXT, digest TEXT, size INTEGER, at REAL,
    PRIMARY KEY (owner, path, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS manifests (owner TEXT, path TEXT, digest TEXT, size INTEGER, media_type TEXT, subject TEXT,
    artifact_type TEXT, annotations TEXT, used REAL, PRIMARY KEY (owner, path, digest)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS manifests_subject ON manifests (owner, path, subject);
CREATE TABLE IF NOT EXISTS members (owner TEXT, path TEXT, manifest TEXT, digest TEXT, size INTEGER,
    PRIMARY KEY (owner, path, manifest, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (owner TEXT, path TEXT, tag TEXT, digest TEXT, at REAL,
    PRIMARY KEY (owner, path, tag)) WITHOUT ROWID;
"""

_REFERRERS = (
    "SELECT digest, size, media_type, artifact_type, annotations FROM manifests"
    " WHERE owner = ? AND path = ? AND subject = ?"
)
_CONTENTS = "SELECT owner, path, digest, size FROM blobs UNION ALL SELECT owner, path, digest, size FROM manifests"


def _key(repository: HostedRepository) -> tuple[str, str]:
    return str(repository.owner), repository.path


class Tables:
    """Reads rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def repositories(self) -> list[HostedRepository]:
        """Return all repositories that have anything."""
        rows = self._database.read("SELECT owner, path FROM blobs UNION SELECT owner, path FROM manifests")
        return [HostedRepository(Principal.parse(owner), path) for owner, path in rows]

    def contents(self) -> Iterator[tuple[HostedRepository, Digest, int]]:
        """Yield every blob and manifest that a repository has, with its bytes."""
        for owner, path, digest, size in self._database.read(_CONTENTS):
            yield HostedRepository(Principal.parse(owner), path), Digest(digest), size

    def blob_size(self, repository: HostedRepository, digest: Digest) -> int | None:
        """Return the bytes of a blob of a repository; None if it has none."""
        rows = self._database.read(
            "SELECT size FROM blobs WHERE owner = ? AND path = ? AND digest = ?", *_key(repository), digest
        )
        return rows[0][0] if rows else None

    def holders(self, owner: Principal, digest: Digest) -> list[HostedRepository]:
        """Return an owner's repositories that have a blob."""
        rows = self._database.read("SELECT path FROM blobs WHERE owner = ? AND digest = ?", str(owner), digest)
        return [HostedRepository(owner, path) for (path,) in rows]

    def manifest(self, repository: HostedRepository, digest: Digest) -> HostedManifest | None:
        """Return a manifest of a repository."""
        sql = "SELECT media_type, size FROM manifests WHERE owner = ? AND path = ? AND digest = ?"
        rows = self._database.read(sql, *_key(repository), digest)
        return HostedManifest(repository, Descriptor(rows[0][0], digest, rows[0][1])) if rows else None

    def tagged(self, repository: HostedRepository, tag: str) -> Digest | None:
        """Return what a tag names."""
        rows = self._database.read(
            "SELECT digest FROM tags WHERE owner = ? AND path = ? AND tag = ?", *_key(repository), tag
        )
        return Digest(rows[0][0]) if rows else None

    def tags(self, repository: HostedRepository) -> dict[str, Digest]:
        """Return the tags of a repository, in their order."""
        rows = self._database.read(
            "SELECT tag, digest FROM tags WHERE owner = ? AND path = ? ORDER BY tag", *_key(repository)
        )
        return {tag: Digest(digest) for tag, digest in rows}

    def referrers(self, repository: HostedRepository, subject: Digest) -> list[dict[str, object]]:
        """Return descriptors of what refers to a manifest (distribution-spec, "Listing Referrers")."""
        found: list[dict[str, object]] = []
        for digest, size, media_type, artifact_type, texts in self._database.read(
            _REFERRERS, *_key(repository), subject
        ):
            shown: dict[str, object] = Descriptor(media_type, Digest(digest), size).as_json()
            if artifact_type:
                shown["artifactType"] = artifact_type
            if texts != "{}":
                shown["annotations"] = json.loads(texts)
            found.append(shown)
        return found

    def members(self, repository: HostedRepository, digest: Digest) -> dict[Digest, int]:
        """Return what a manifest names, with the bytes that it says."""
        sql = "SELECT digest, size FROM members WHERE owner = ? AND path = ? AND manifest = ?"
        return {Digest(member): size for member, size in self._database.read(sql, *_key(repository), digest)}

    def manifests(self, repository: HostedRepository) -> dict[Digest, Kept]:
        """Return all manifests of a repository."""
        named: dict[str, list[Digest]] = {}
        for manifest, digest in self._database.read(
            "SELECT manifest, digest FROM members WHERE owner = ? AND path = ?",
            *_key(repository),
        ):
            named.setdefault(manifest, []).append(Digest(digest))
        rows = self._database.read(
            "SELECT digest, subject, used FROM manifests WHERE owner = ? AND path = ?", *_key(repository)
        )
        return {
            Digest(digest): Kept(tuple(named.get(digest, ())), Digest(subject) if subject else None, used)
            for digest, subject, used in rows
        }

    def blobs(self, repository: HostedRepository) -> dict[Digest, float]:
        """Return the blobs of a repository, and when each came (unix seconds)."""
        rows = self._database.read("SELECT digest, at FROM blobs WHERE owner = ? AND path = ?", *_key(repository))
        return {Digest(digest): at for digest, at in rows}

    def use(self, repository: HostedRepository, digest: Digest, now: float, grain: float) -> None:
        """Note a use of a manifest, if the last one that is noted is more than `grain` seconds ago."""
        sql = "UPDATE manifests SET used = ? WHERE owner = ? AND path = ? AND digest = ? AND used NOT BETWEEN ? AND ?"
        self._database.write_later(sql, now, *_key(repository), digest, now - grain, now)


def put_blob(repository: HostedRepository, digest: Digest, size: int, now: float) -> list[Statement]:
    """Return what notes that a repository has a blob."""
    return [("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?)", (*_key(repository), digest, size, now))]


def put_manifest(
    repository: HostedRepository, digest: Digest, size: int, pushed: Pushed, tags: list[str], now: float
) -> list[Statement]:
    """Return what notes that a repository has a manifest, and that it has these tags."""
    key = _key(repository)
    row = (*key, digest, size, pushed.media_type, pushed.subject, pushed.artifact_type)
    statements: list[Statement] = [
        (
            "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*row, json.dumps(dict(pushed.annotations)), now),
        )
    ]
    for member, length in {each.digest: each.size for each in (*pushed.blobs, *pushed.manifests)}.items():
        statements.append(("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)", (*key, digest, member, length)))
    return statements + [
        ("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?)", (*key, tag, digest, now)) for tag in tags
    ]


def delete_tag(repository: HostedRepository, tag: str) -> list[Statement]:
    """Return what removes a tag."""
    return [("DELETE FROM tags WHERE owner = ? AND path = ? AND tag = ?", (*_key(repository), tag))]


def delete_manifest(repository: HostedRepository, digest: Digest) -> list[Statement]:
    """Return what removes a manifest and the tags that name it."""
    arguments = (*_key(repository), digest)
    return [
        ("DELETE FROM manifests WHERE owner = ? AND path = ? AND digest = ?", arguments),
        ("DELETE FROM members WHERE owner = ? AND path = ? AND manifest = ?", arguments),
        ("DELETE FROM tags WHERE owner = ? AND path = ? AND digest = ?", arguments),
    ]


def delete_blob(repository: HostedRepository, digest: Digest) -> list[Statement]:
    """Return what removes a blob."""
    return [("DELETE FROM blobs WHERE owner = ? AND path = ? AND digest = ?", (*_key(repository), digest))]
