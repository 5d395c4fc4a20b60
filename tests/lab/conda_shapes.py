"""Packages of every shape: kinds of files, names, modes and prefixes, and packages that are in each other's way."""

from __future__ import annotations

from lab.conda_packages import PLACEHOLDER, Directory, Entry, File, HardLink, Package, Symlink, binary, script, text


def shapes() -> list[Package]:
    """Files, links, names and modes of every kind that rattler installs."""
    content = b"linked hard\n" * 50
    long = "share/" + "/".join(["directory-with-a-long-name-" + "x" * 40] * 4) + "/file"
    names = (
        "naïve café.txt",
        "日本語/ファイル",
        "with space/a b",
        "README",
        "Readme",
        "quo'te\"s",
        "back\\slash",
        "dash/-rf",
    )
    return [
        Package(
            "symlinks",
            files={
                "share/symlinks/target": text("target\n"),
                "share/symlinks/relative": Symlink("target"),
                "share/symlinks/up": Symlink("../../bin/symlinks-tool"),
                "share/symlinks/chain": Symlink("relative"),
                "share/symlinks/dangling": Symlink("nothing/here"),
                "share/symlinks/to-directory": Symlink("../symlinks"),
                "share/symlinks/absolute": Symlink("/usr/share/zoneinfo/UTC"),
                "share/symlinks/absolute-passwd": Symlink("/etc/passwd"),
                "bin/symlinks-tool": script("#!/bin/sh\necho tool\n"),
            },
        ),
        Package(
            "hardlinks",
            files={
                "bin/hard-a": File(content, 0o755),
                "bin/hard-b": HardLink("bin/hard-a"),
                "share/hardlinks/c": HardLink("bin/hard-a"),
                "share/hardlinks/patched": text(f"{PLACEHOLDER}\n"),
                "share/hardlinks/patched-too": HardLink("share/hardlinks/patched"),
            },
        ),
        Package("oddnames", files={f"share/oddnames/{name}": text(name) for name in names} | {long: text("deep\n")}),
        Package(
            "modes",
            files={
                f"share/modes/{mode:04o}": File(f"{mode:o}\n".encode(), mode)
                for mode in (0o600, 0o700, 0o444, 0o555, 0o664, 0o775, 0o4755, 0o2755, 0o711, 0o100)
            }
            | {
                "share/modes/empty": File(b""),
                "share/modes/old": File(b"old\n", mtime=1),
                "share/modes/future": File(b"future\n", mtime=4_000_000_000),
                "share/modes/unlinked": File(b"not linked as a hard link\n", no_link=True),
            },
        ),
        Package(
            "prefixes",
            files={
                "bin/prefixes-shebang": script(f"#!{PLACEHOLDER}/bin/python -sE\nprint('{PLACEHOLDER}')\n"),
                "bin/prefixes-env": script(f"#!/usr/bin/env bash\necho {PLACEHOLDER} {PLACEHOLDER}\n"),
                "bin/prefixes-long-shebang": script(f"#!{PLACEHOLDER}/bin/perl {'-w ' * 60}\nprint 1;\n"),
                "share/prefixes/latin1": File(b"caf\xe9 " + PLACEHOLDER.encode() + b"\n", 0o644, "text"),
                "share/prefixes/none": File(b"nothing to patch\n", 0o644, "text"),
                "share/prefixes/crlf": text(f"a={PLACEHOLDER}\r\nb\r\n"),
                "share/prefixes/cut.bin": binary(bytes(1000) + PLACEHOLDER.encode()[:-1] + b"\0"),
                "share/prefixes/end.bin": binary(bytes(1000) + PLACEHOLDER.encode()),
                "share/prefixes/many.bin": binary((b"x" * 4099 + PLACEHOLDER.encode() + b":y\0") * 600),
                "share/prefixes/text-in-binary": File(b"\0\1" + PLACEHOLDER.encode() + b"\0", 0o644, "text"),
            },
        ),
        Package(
            "unlisted",
            files={"share/unlisted/seen": text("1"), "share/unlisted/unseen": text("2")},
            unlisted=frozenset({"share/unlisted/unseen"}),
        ),
        Package(
            "oldstyle",
            "0.9",
            "0",
            files={"bin/oldstyle": script(f"#!{PLACEHOLDER}/bin/sh\n"), "share/oldstyle": text("")},
            extension=".tar.bz2",
        ),
        Package(
            "ancient",
            "0.1",
            "0",
            files={"bin/ancient": script(f"#!{PLACEHOLDER}/bin/sh\n"), "lib/ancient": Symlink("../bin/ancient")},
            extension=".tar.bz2",
            with_paths_json=False,
        ),
        *(
            Package("twin", files={"share/twin": text(f"{PLACEHOLDER}\n")}, extension=kind)
            for kind in (".conda", ".tar.bz2")
        ),
        Package("empty"),
        Package("meta", "3.0", "0", "noarch", noarch="generic", depends=("samtools", "bwa", "lab-report")),
    ]


def conflicts() -> list[Package]:
    """Packages that name the same path: `clobber-b` depends on `clobber-a`, so its files win."""

    def program(name: str) -> File:
        return script(f"#!/bin/sh\necho {name}\n")

    first: dict[str, Entry] = {
        "share/clobber/both": text("a\n"),
        "bin/clobber": program("a"),
        "share/clobber/link": Symlink("both"),
    }
    second: dict[str, Entry] = {
        "share/clobber/both": text("b\n"),
        "bin/clobber": program("b"),
        "share/clobber/link": text("file\n"),
    }
    return [
        Package("clobber-a", files=first),
        Package("clobber-b", files=second, depends=("clobber-a",)),
        Package("clobber-c", files={"share/clobber/both": text("c\n")}),
    ]


def collisions() -> list[Package]:
    """Packages that disagree whether a path is a directory: rattler's result depends on chance."""
    return [
        Package("path-is-file", files={"share/disputed": text("a file\n")}),
        Package("path-is-directory", files={"share/disputed/inside": text("a directory\n")}),
        Package(
            "path-is-link", files={"share/disputed-too": Symlink("elsewhere"), "share/elsewhere/own": text("own\n")}
        ),
        Package("path-is-under-link", files={"share/disputed-too/inside": text("through a link?\n")}),
    ]


def refused_by_rattler() -> list[Package]:
    """Packages that are well made but that rattler 0.28 cannot link: empty directories."""
    empty: dict[str, Entry] = {f"var/emptydirs/{name}": Directory() for name in ("cache", "log")}
    return [Package("emptydirs", files=empty | {"share/emptydirs": text("")})]
