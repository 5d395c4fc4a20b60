"""What a SIF has of its own: scripts that behave as Docker does, and mount points only where an image has none."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from made_layers import Made, directory, symlink, write_sif

from lab import sif
from wavelet.errors import UpstreamBroken
from wavelet.kinds.sif.compose.runtime_files import environment_script, run_script, runtime_files

ODD = 'it\'s "$HOME" `id` \\ }\nnext'


def run(script: str, *arguments: str, environment: dict[str, str] | None = None) -> list[str]:
    """Run a script by a shell whose `exec` of `show` prints its arguments, and return them."""
    given = {"PATH": "/usr/bin:/bin"} | (environment or {})
    command = ["/bin/sh", "-c", script, "runscript", *arguments]
    shown = subprocess.run(command, env=given, check=True, capture_output=True, text=True, timeout=20)
    return shown.stdout.split("\0")[:-1]


SHOW = ["printf", "%s\\0"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("entrypoint", "command", "arguments", "seen"),
    [
        ([], [*SHOW, "a b", ODD], [], ["a b", ODD]),
        ([], ["false"], [*SHOW, "given"], ["given"]),
        (SHOW, [ODD], [], [ODD]),
        (SHOW, ["default"], ["x y", "*"], ["x y", "*"]),
        (SHOW, [], ["x"], ["x"]),
        ([], [], ["-c", "true"], []),
    ],
)
def test_arguments_take_the_place_of_the_command(
    entrypoint: list[str], command: list[str], arguments: list[str], seen: list[str]
) -> None:
    script = run_script(entrypoint, command)
    if not entrypoint and not command:
        arguments = ["/bin/sh", *arguments]
    assert run(script, *arguments) == seen


@pytest.mark.process
def test_without_both_a_shell_is_run() -> None:
    command = ["/bin/sh", "-c", run_script([], [])]
    shown = subprocess.run(command, input="echo in a shell", check=True, capture_output=True, text=True, timeout=20)
    assert shown.stdout == "in a shell\n"


def test_apptainer_may_interpret_the_script_itself() -> None:
    assert 'eval "set ${SINGULARITY_OCI_RUN}"' in run_script(["a"], []).splitlines()


@pytest.mark.process
def test_variables_are_as_in_the_image_unless_they_are_given() -> None:
    image = [f"ODD={ODD}", "GIVEN=image", "EMPTY=image", "PATH=/image", "BARE", "no-name=x", "N=\0"]
    script = environment_script(image)
    show = '\n/usr/bin/printf "%s\\0" "$ODD" "$GIVEN" "$EMPTY" "$PATH" "${BARE-unset}"; /usr/bin/env -0'
    seen = run(script + show, environment={"GIVEN": "user", "EMPTY": ""})
    assert seen[:5] == [ODD, "user", "image", "/image", ""]
    assert {f"ODD={ODD}", "GIVEN=user", "EMPTY=image", "BARE="} <= set(seen[5:])
    assert "no-name" not in script
    assert "\0" not in script


@pytest.mark.process
@pytest.mark.parametrize(("given", "seen"), [({}, ""), ({"LD_LIBRARY_PATH": "/opt/a:/b"}, "/opt/a:/b:")])
def test_libraries_of_the_host_are_found_last(given: dict[str, str], seen: str) -> None:
    """By the script behind which Apptainer looks for what `--env` gives: without one of its name it never does."""
    mode, script = runtime_files(b"{}")[b".singularity.d/env/99-base.sh"]
    show = '\n/usr/bin/printf "%s\\0" "$LD_LIBRARY_PATH"'
    assert run(script.decode() + show, environment=given) == [f"{seen}/.singularity.d/libs"]
    assert mode == 0o755


def test_labels_are_kept() -> None:
    files = runtime_files(b'{"config": {"Labels": {"org.x": "\\u00fc", "a": "b"}}}')
    assert json.loads(files[b".singularity.d/labels.json"][1]) == {"a": "b", "org.x": "ü"}
    assert json.loads(runtime_files(b'{"config": null}')[b".singularity.d/labels.json"][1]) == {}


def test_a_configuration_that_is_none_is_said() -> None:
    with pytest.raises(UpstreamBroken, match="configuration cannot be read"):
        runtime_files(b'{"config": {"Env": "PATH=x"}}')


@pytest.mark.squashfs
def test_an_image_with_nothing_gets_all_mount_points(tmp_path: Path) -> None:
    tree = sif.tree(write_sif(tmp_path / "made", []), sif.KERNEL, tmp_path)
    modes = {path: entry.mode for path, entry in tree.items() if entry.kind == "directory"}
    assert modes[b"tmp"] == modes[b"var/tmp"] == 0o1777
    assert {b"", b"proc", b"sys", b"dev", b"root", b"home", b"etc", b"var"} <= modes.keys()
    for name in (b"passwd", b"group", b"hosts", b"resolv.conf"):
        assert (tree[b"etc/" + name].kind, tree[b"etc/" + name].size) == ("file", 0)
    assert tree[b".singularity.d/libs"].kind == "directory"
    assert tree[b"singularity"].target == b".singularity.d/runscript"
    for script in (b"runscript", b"startscript", b"test"):
        assert tree[b".singularity.d/" + script].mode == 0o755


@pytest.mark.squashfs
def test_what_an_image_has_there_stays(tmp_path: Path) -> None:
    layers = [
        [
            directory(b"tmp", 0o700),
            symlink(b"var", b"data/var"),
            symlink(b"etc/resolv.conf", b"../run/resolv.conf"),
            Made(b"etc/passwd", content=b"root:x:0:0::/:/bin/sh\n"),
            Made(b"home", content=b"a file"),
            directory(b"singularity", 0o711),
            Made(b".singularity.d/runscript", content=b"an old one"),
            Made(b".singularity.d/env/90-environment.sh", content=b"kept"),
        ],
        [Made(b"etc/hosts", "whiteout")],
    ]
    tree = sif.tree(write_sif(tmp_path / "made", layers), sif.KERNEL, tmp_path)
    assert tree[b"tmp"].mode == 0o700
    assert (tree[b"var"].kind, b"var/tmp" in tree) == ("link", False)
    assert tree[b"etc/resolv.conf"].target == b"../run/resolv.conf"
    assert tree[b"etc/passwd"].size == 22
    assert tree[b"home"].kind == "file"
    assert tree[b"singularity"].mode == 0o711
    assert tree[b"etc/hosts"].size == 0
    assert tree[b".singularity.d/runscript"].size > 20
    assert tree[b".singularity.d/env/90-environment.sh"].size == 4


@pytest.mark.squashfs
def test_files_of_its_own_may_be_large(tmp_path: Path) -> None:
    config = json.dumps({"config": {"Labels": {str(each): "label" * 9 for each in range(9000)}}}).encode()
    file = write_sif(tmp_path / "made", [[Made(b"a", content=b"b")]], config=config)
    with sif.mounted(file, tmp_path / "mounted") as root:
        assert len(json.loads((root / ".singularity.d" / "labels.json").read_text())) == 9000
