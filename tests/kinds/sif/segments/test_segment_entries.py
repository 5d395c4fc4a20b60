"""What a layer says and hides, one rule after the other."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from segment_lab import BLOCK_DEVICE, CHARACTER, FIFO, directory, link, made_of, member, segment, shown, symlink, text

from wavelet.archive.layer_names import NAME_LIMIT, PATH_LIMIT
from wavelet.errors import UpstreamBroken

CAPABILITY = b"\1\0\0\2\0\x20" + bytes(14)
"""The right to ping, as the attribute of a file."""


def test_attributes_are_those_of_the_tar(tmp_path: Path) -> None:
    also = {"uid": 2**32 - 1, "gid": 70_000, "mode": 0o104755, "mtime": 1_700_000_001}
    made = made_of(tmp_path, directory("./", mode=0o700, uid=5), member("file", data=b"abc", **also), member("empty"))
    assert (made.entries[b""].mode, made.entries[b""].uid, made.entries[b""].implied) == (0o700, 5, False)
    file = made.entries[b"file"]
    assert (file.mode, file.uid, file.gid, file.mtime) == (0o4755, 2**32 - 1, 70_000, 1_700_000_001)
    assert made.content(b"file") == b"abc"
    assert made.content(b"empty") == b""


@pytest.mark.parametrize(("said", "kept"), [(-1, 0), (-(10**10), 0), (2**32, 2**32 - 1), (2**40, 2**32 - 1)])
def test_times_out_of_range_are_the_nearest_ones(said: int, kept: int, tmp_path: Path) -> None:
    assert made_of(tmp_path, member("file", mtime=said)).entries[b"file"].mtime == kept


def test_nanoseconds_just_before_a_second_belong_to_the_one_before(tmp_path: Path) -> None:
    exact = member("file", pax_headers={"mtime": "1700000000.999999999"})
    assert made_of(tmp_path, exact).entries[b"file"].mtime == 1_700_000_000


@pytest.mark.parametrize("owner", [{"uid": 2**32}, {"gid": 2**32}, {"uid": -1}])
def test_owners_that_no_image_can_have_are_refused(owner: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UpstreamBroken, match=r"the layer sha256:of-the-layer cannot be read: 'file': its owner is "):
        made_of(tmp_path, member("file", **owner))


def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    name, target = b"caf\xe9/\xff\xfe \n", b"\x80/x"
    made = made_of(tmp_path, member(name, data=b"1"), symlink("link", target), link(b"hard\xe9", name))
    assert made.content(name) == b"1"
    assert made.entries[b"link"].target == target
    assert made.entries[b"hard\xe9"].inode == made.entries[name].inode > 0


def test_extended_attributes_are_kept_where_they_mean_something(tmp_path: Path) -> None:
    names = ["user.b", "user.a", "security.capability", "security.selinux", "trusted.overlay.opaque", "system.acl"]
    records = {f"SCHILY.xattr.{name}": f"value of {name}" for name in names}
    records["SCHILY.xattr.security.capability"] = text(CAPABILITY)
    made = made_of(tmp_path, member("file", pax_headers=records), directory("directory", pax_headers=records))
    for path in (b"file", b"directory"):
        kept = [(b"security.capability", CAPABILITY), (b"user.a", b"value of user.a")]
        assert made.entries[path].xattrs == (*kept, (b"user.b", b"value of user.b"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user." + "n" * 251, b"1"),
        ("user.", b"1"),
        ("user.large", bytes(65537)),
        ("security.capability", CAPABILITY[:-1]),
        ("security.capability", b"\0\0\0\3" + CAPABILITY[4:]),
    ],
    ids=["a long name", "no name", "a long value", "a short capability", "another version"],
)
def test_attributes_that_linux_would_not_take_are_left_out(tmp_path: Path, name: str, value: bytes) -> None:
    made = made_of(
        tmp_path, member("file", pax_headers={f"SCHILY.xattr.{name}": text(value), "SCHILY.xattr.user.a": "1"})
    )
    assert made.entries[b"file"].xattrs == ((b"user.a", b"1"),)


def test_only_files_and_directories_have_attributes_of_users(tmp_path: Path) -> None:
    records = {"SCHILY.xattr.user.a": "1", "SCHILY.xattr.security.capability": text(CAPABILITY)}
    link, pipe = symlink("link", "x"), member("pipe", FIFO)
    for info, _ in (link, pipe):
        info.pax_headers = records
    made = made_of(tmp_path, link, pipe)
    assert {made.entries[path].xattrs for path in (b"link", b"pipe")} == {((b"security.capability", CAPABILITY),)}


def test_pipes_stay_and_devices_hide_what_is_below_them(tmp_path: Path) -> None:
    made = made_of(tmp_path, member("pipe", FIFO), member("null", CHARACTER), member("disk", BLOCK_DEVICE))
    found = {b"": "directory implied", b"pipe": "fifo", b"null": "whiteout", b"disk": "whiteout"}
    assert shown(made.entries) == found


def test_the_later_entry_of_a_path_stands(tmp_path: Path) -> None:
    made = made_of(
        tmp_path,
        directory("a", mode=0o700),
        member("a/x", data=b"1"),
        directory("a", mode=0o711),
        member("a/x", data=b"2"),
        directory("gone"),
        member("gone/y"),
        member("gone/.wh.z"),
        member("gone", data=b"now a file"),
        symlink("s", "a"),
        member("s", data=b"now another"),
        member("d"),
        directory("d"),
    )
    found = {b"": "directory implied", b"a": "directory", b"a/x": "file", b"gone": "file", b"s": "file"}
    assert shown(made.entries) == {**found, b"d": "directory"}
    assert made.entries[b"a"].mode == 0o711
    assert made.content(b"a/x") == b"2"


def test_what_is_below_a_link_goes_where_that_leads(tmp_path: Path) -> None:
    made = made_of(
        tmp_path,
        directory("usr/lib"),
        symlink("lib", "usr/lib"),
        symlink("usr/up", "../../../usr/./lib"),
        symlink("missing", "/opt//made/here"),
        symlink("twice", "lib"),
        member("lib/1"),
        member("usr/up/2"),
        member("missing/3"),
        member("twice/4"),
    )
    files = {entry.path for entry in made.entries.values() if entry.kind == "file"}
    assert files == {b"usr/lib/1", b"usr/lib/2", b"opt/made/here/3", b"usr/lib/4"}
    assert made.entries[b"opt/made"].implied
    assert made.entries[b"opt/made/here"].mode == 0o755
    assert not made.entries[b"usr/lib"].implied
    assert made.entries[b"lib"].kind == "symlink"


def test_where_a_link_led_is_forgotten_with_it(tmp_path: Path) -> None:
    made = made_of(tmp_path, symlink("l", "a"), member("l/1"), symlink("l", "b"), member("l/2"))
    assert {b"a/1", b"b/2"} <= made.entries.keys()


def test_a_link_that_goes_with_its_own_tree_leads_nowhere_any_more(tmp_path: Path) -> None:
    """What replaces the tree is named by a way through it."""
    made = made_of(tmp_path, symlink("a/up", ".."), member("a/up/a", data=b"1"), member("a/up/b"))
    found = {b"": "directory implied", b"a": "directory implied", b"a/up": "directory implied", b"a/up/b": "file"}
    assert shown(made.entries) == found


def test_what_a_directory_hid_goes_with_it(tmp_path: Path) -> None:
    hides = directory("d"), member("d/.wh..wh..opq"), member("d/.wh.x")
    made = made_of(tmp_path, *hides, member("d"), directory("d"))
    assert shown(made.entries) == {b"": "directory implied", b"d": "directory"}


def test_nothing_leads_out_of_the_root(tmp_path: Path) -> None:
    made = made_of(tmp_path, symlink("up", "../../.."), member("up/1"), member("../../2"), member("/x/../../../3/4"))
    found = {entry.path for entry in made.entries.values() if entry.kind == "file"}
    assert found == {b"1", b"2", b"3/4"}


def test_what_lower_layers_have_is_hidden(tmp_path: Path) -> None:
    made = made_of(
        tmp_path,
        member("etc/.wh.passwd"),
        directory("var"),
        member("var/.wh..wh..opq"),
        member("implied/.wh..wh..opq"),
        member(".wh.file"),
        member("file"),
        directory("both"),
        member(".wh.both"),
        member(".wh.tree"),
        member("tree/x"),
        member(".wh..wh.aufs"),
        member(".wh..wh.plnk/12"),
        member(".wh."),
        member(".wh..."),
    )
    assert shown(made.entries) == {
        b"": "directory implied",
        b"etc": "directory implied",
        b"etc/passwd": "whiteout",
        b"var": "directory opaque",
        b"implied": "directory opaque implied",
        b"file": "file",
        b"both": "directory opaque",
        b"tree": "directory opaque implied",
        b"tree/x": "file",
    }


def test_the_root_may_be_opaque(tmp_path: Path) -> None:
    assert shown(made_of(tmp_path, member(".wh..wh..opq")).entries) == {b"": "directory opaque implied"}


def test_hard_links_have_a_number_in_common(tmp_path: Path) -> None:
    made = made_of(
        tmp_path,
        member("a", data=b"first", mode=0o600),
        link("b", "./a"),
        link("early", "late"),
        link("earlier", "early"),
        member("late", data=b"second"),
        symlink("s", "a"),
        link("t", "s"),
        member("only"),
    )
    entries = made.entries
    assert made.header.links
    assert made.header.targets == ()
    assert entries[b"a"].inode == entries[b"b"].inode > 0
    assert (made.content(b"b"), entries[b"b"].mode) == (b"first", 0o600)
    assert entries[b"late"].inode == entries[b"early"].inode == entries[b"earlier"].inode > 0
    assert made.content(b"earlier") == b"second"
    assert (entries[b"t"].kind, entries[b"t"].target, entries[b"t"].inode) == ("symlink", b"a", entries[b"s"].inode)
    assert len({entries[path].inode for path in (b"a", b"late", b"s", b"only")}) == 4
    assert entries[b"only"].inode == 0


def test_a_link_keeps_what_its_other_name_no_longer_has(tmp_path: Path) -> None:
    made = made_of(tmp_path, member("a", data=b"old"), link("b", "a"), member("a", data=b"new"))
    assert (made.content(b"a"), made.content(b"b")) == (b"new", b"old")
    assert made.entries[b"a"].inode != made.entries[b"b"].inode


def test_links_to_lower_layers_are_left_open(tmp_path: Path) -> None:
    made = made_of(tmp_path, symlink("lib", "usr/lib"), link("b", "lib/x"), link("c", "b"), link("d", "/y"))
    found = {path: words for path, words in shown(made.entries).items() if words.startswith("link")}
    assert found == {b"b": "link to usr/lib/x", b"c": "link to usr/lib/x", b"d": "link to y"}
    assert made.header.targets == (b"usr/lib/x", b"y")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (
            [symlink("a", "b"), symlink("b", "a"), member("a/x")],
            "'a/x': symbolic links on the way to b'a' lead in a circle",
        ),
        ([link("a", "b"), link("b", "a")], "the hard link b'a' leads to others in a circle"),
        ([directory("a"), link("b", "a")], "'b': a hard link leads to a directory"),
        ([link("b", "a"), directory("a")], "a hard link leads to a directory"),
        ([symlink(".", "a")], "the root is a directory"),
        ([symlink("a", "")], "'a': a symbolic link leads to between 1 and 4095 bytes"),
        ([symlink("a", "x" * (PATH_LIMIT + 1))], "a symbolic link leads to between"),
        ([member("x" * (NAME_LIMIT + 1))], "a part of more than 255 bytes"),
        ([member("x/" * 2048 + "x")], "more than 4095 bytes"),
        ([member("a", pax_headers={"path": "a\0b"})], "a PAX record is wrong"),
    ],
)
def test_what_no_engine_could_unpack_is_refused(
    members: list[tuple[tarfile.TarInfo, bytes]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UpstreamBroken) as raised:
        made_of(tmp_path, *members)
    assert raised.value.message.startswith("the layer sha256:of-the-layer cannot be read: ")
    assert said in raised.value.message


@pytest.mark.parametrize("layer", [b"<html>" * 200, b"short", b"\x1f\x8bno gzip", b"\x28\xb5\x2f\xfdno zstd"])
def test_what_is_no_tar_is_refused(layer: bytes, tmp_path: Path) -> None:
    with pytest.raises(UpstreamBroken, match="the layer sha256:of-the-layer cannot be read: the archive is"):
        segment(layer, tmp_path / "segment")


def test_an_empty_layer_has_a_root(tmp_path: Path) -> None:
    made = made_of(tmp_path)
    assert shown(made.entries) == {b"": "directory implied"}
    assert made.data == b""
