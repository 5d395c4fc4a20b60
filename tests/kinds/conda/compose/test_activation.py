"""Activation, in real shells: what scripts export arrives, and nothing that they do besides."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from wavelet.kinds.conda.compose import environment_files
from wavelet.kinds.conda.model.packages import PREFIX

pytestmark = pytest.mark.process

SHELLS = [shell for shell in ("bash", "dash", "busybox") if shutil.which(shell)]
GOOD = 'export JAVA_HOME="$CONDA_PREFIX/lib/jvm"\nNOT_EXPORTED=1\n'
QUOTED = "export ODD='a \"b\" $c `d` \\ é\nsecond line'\n"
UNSET = 'export R_LAB="${R_LAB_NOT_THERE}home"\n'
EXITS = "export BEFORE=1\nexit 3\nexport AFTER=1\n"
BROKEN = "if then fi (((\n"
FAILS = "false\nset -e\nfalse\nexport AFTER_FALSE=1\n"
NOISY = "echo noise\necho noise >&2\nread -r line\ncd /\nset -x -f -o noclobber\ntrap 'echo trapped' EXIT\numask 777\n"
COUNTS = 'export COUNT="${COUNT-}x"\n'


class Prefix:
    """An environment with scripts, at another place than in images."""

    def __init__(self, root: Path, scripts: Mapping[str, str], mark: str = "abc") -> None:
        self.root = root
        self.paths = environment_files.scripts_among(environment_files.SCRIPTS + name for name in scripts)
        for name, text in scripts.items():
            self._write(environment_files.SCRIPTS + name, text.encode())
        for path, data in environment_files.files(self.paths, mark).items():
            self._write(path, data.replace(PREFIX.encode(), str(root).encode()))
        settings = environment_files.environment(["PATH=/usr/bin:/bin"], {}, self.paths)
        self.env = dict(entry.replace(PREFIX, str(root)).split("=", 1) for entry in settings)

    def _write(self, path: str, data: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755)

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in this environment alone, as `env -i`."""
        return subprocess.run(
            command, env=self.env | env, input="given\n", capture_output=True, text=True, timeout=20, check=False
        )

    def enter(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command by the entry point."""
        return self.run(str(self.root / environment_files.ENTRYPOINT), *command, **env)


BASHISM = "function f() { export X=1; }; f\nY=(a b)\nexport Z=${Y[1]}\n"


def path_without(tmp_path: Path, *names: str) -> str:
    """Return a PATH with all programs but these."""
    place = tmp_path / "programs"
    place.mkdir()
    for directory in ("/usr/bin", "/bin"):
        for program in Path(directory).iterdir():
            if program.name not in names and not (place / program.name).exists():
                (place / program.name).symlink_to(program)
    return str(place)


@pytest.mark.parametrize("command", [["bash", "-c"], ["bash", "-uec"], ["dash", "-c"], ["dash", "-uec"]], ids=" ".join)
def test_scripts_that_are_written_for_bash_are_run_by_bash(tmp_path: Path, command: list[str]) -> None:
    """Fault E1: by an entry point whose sh is another shell, and the bash below it has nothing left to do."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    prefix = Prefix(tmp_path, {"a.sh": BASHISM, "b.sh": COUNTS})
    done = prefix.enter(*command, 'echo "$X $Z $COUNT"')
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "1 b x\n")
    done = prefix.run(
        "dash", "-c", f'. "{prefix.root / environment_files.ACTIVATE}"; exec bash -uec \'echo "$X $Z $COUNT"\''
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "1 b x\n")


def test_what_failed_without_bash_is_not_marked_as_done(tmp_path: Path) -> None:
    """Fault E1: nothing is marked as done that failed."""
    sh = shutil.which("dash") or pytest.skip("no dash here")
    place = path_without(tmp_path, "bash")
    prefix = Prefix(tmp_path / "prefix", {"a.sh": BASHISM, "z.sh": GOOD})
    activate = prefix.root / environment_files.ACTIVATE
    done = prefix.run(sh, "-uec", f'. "{activate}"; echo "$JAVA_HOME"; echo "${{WAVELET_ACTIVATED-}}"', PATH=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{prefix.root}/lib/jvm\n\n", "the others have run"
    done = prefix.run(sh, "-uec", f'. "{activate}"; PATH=/usr/bin:/bin; exec bash -uec \'echo "$X"\'', PATH=place)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "1\n")


@pytest.mark.parametrize("end", ["sleep 30 &\n", "trap 'echo bye' EXIT\n", "exec 3>&- 4>&-\n"])
def test_what_a_script_starts_traps_or_closes_loses_nothing(tmp_path: Path, end: str) -> None:
    """Fault E1: a program in the background held the start of the task; a trap or a closed descriptor lost exports."""
    prefix = Prefix(tmp_path, {"a.sh": "export X=1\n" + end})
    done = prefix.enter("bash", "-uec", 'echo "$X"')
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "1\n")


def test_without_bash_what_went_well_is_marked_as_done(tmp_path: Path) -> None:
    sh = shutil.which("dash") or pytest.skip("no dash here")
    prefix = Prefix(tmp_path / "prefix", {"a.sh": COUNTS, "b.sh": QUOTED})
    program = (
        f'. "{prefix.root / environment_files.ACTIVATE}"; . "{prefix.root / environment_files.ACTIVATE}"; echo "$COUNT"'
    )
    done = prefix.run(sh, "-uec", program, PATH=path_without(tmp_path, "bash"))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "x\n")


@pytest.mark.parametrize("scripts", [{}, {"a.sh": 'export PATH="$CONDA_PREFIX/own:$PATH" COUNT="${COUNT-}x"\n'}])
def test_a_login_shell_finds_the_programs(tmp_path: Path, scripts: Mapping[str, str]) -> None:
    prefix = Prefix(tmp_path, scripts)
    profile = environment_files.profile(prefix.paths).decode().replace(PREFIX, str(tmp_path))
    assert environment_files.PROFILE == "/etc/profile.d/wavelet.sh"
    for shell in SHELLS:
        command = [shell, "sh"] if shell == "busybox" else [shell]
        program = f"PATH=/usr/bin:/bin\n{profile}\necho $PATH; echo ${{COUNT-}}"
        ways = [prefix.run] if not scripts else [prefix.run, prefix.enter]
        for way in ways:
            done = way(*command, "-uec", program)
            assert (done.returncode, done.stderr) == (0, "")
            path, count = done.stdout.splitlines()
            assert f"{tmp_path}/bin" in path.split(":") and path.endswith("/usr/bin:/bin")
            assert (f"{tmp_path}/own" in path.split(":"), count) == (bool(scripts), "x" * bool(scripts))


def test_without_scripts_there_is_nothing_of_it() -> None:
    assert environment_files.files((), "abc") == {}
    assert environment_files.environment(["A=1"], {}, ()) == [
        "A=1",
        f"PATH={PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"CONDA_PREFIX={PREFIX}",
        f"MAMBA_ROOT_PREFIX={PREFIX}",
    ]
    assert environment_files.entrypoint(["/tini", "--"], ()) == ["/tini", "--"]


def test_the_environment_of_the_image() -> None:
    settings = environment_files.environment(["PATH=/x", "B=0"], {"B": "1", "A": "x=y"}, ("etc/conda/activate.d/a.sh",))
    assert settings[:3] == [f"PATH={PREFIX}/bin:/x", "B=1", "A=x=y"]
    assert settings[-1] == f"BASH_ENV={PREFIX}/{environment_files.ACTIVATE}"
    assert environment_files.entrypoint(["/tini", "--"], ("a",)) == [
        f"{PREFIX}/{environment_files.ENTRYPOINT}",
        "/tini",
        "--",
    ]


def test_scripts_of_other_shells_are_left_out() -> None:
    names = ["etc/conda/activate.d/" + name for name in ("b.sh", "a.fish", "a.sh", "c.csh")]
    assert environment_files.scripts_among([*names, "bin/a.sh"]) == (names[2], names[0])


def test_bash_as_workflow_engines_start_it(tmp_path: Path) -> None:
    prefix = Prefix(tmp_path, {"a.sh": GOOD, "b.sh": UNSET, "c.sh": QUOTED})
    task = tmp_path / "task.sh"
    task.write_text('echo "$JAVA_HOME"; echo "$R_LAB"; printf "%s" "$ODD"; echo "${NOT_EXPORTED-none}"; echo $-\n')
    done = prefix.run("bash", "-ue", str(task))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:3] == [f"{tmp_path}/lib/jvm", "home", 'a "b" $c `d` \\ é']
    assert lines[3] == "second linenone"
    assert {"e", "u"} <= set(lines[4])


@pytest.mark.parametrize(
    "bad", [EXITS, BROKEN, FAILS, NOISY, UNSET], ids=["exits", "broken", "fails", "noisy", "unset"]
)
@pytest.mark.parametrize("how", ["bash", "entry point"])
def test_no_script_makes_a_task_fail(tmp_path: Path, bad: str, how: str) -> None:
    prefix = Prefix(tmp_path, {"a.sh": bad, "z.sh": GOOD})
    task = tmp_path / "task.sh"
    task.write_text('read -r line; echo "$line $JAVA_HOME"; umask; pwd\n')
    done = prefix.run("bash", "-ue", str(task)) if how == "bash" else prefix.enter("sh", str(task), BASH_ENV="")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"given {prefix.root}/lib/jvm", "0022", str(Path.cwd())]


def test_what_was_exported_before_a_script_broke_off_is_there(tmp_path: Path) -> None:
    done = Prefix(tmp_path, {"a.sh": EXITS}).run("bash", "-c", 'echo "${BEFORE-}${AFTER-}"')
    assert done.stdout == "1\n"


def test_nested_shells_do_not_activate_again(tmp_path: Path) -> None:
    prefix = Prefix(tmp_path, {"a.sh": COUNTS})
    done = prefix.enter("bash", "-uec", "bash -c 'bash -c \"echo $COUNT\"'")
    assert done.stdout == "x\n"


def test_another_image_activates_for_itself(tmp_path: Path) -> None:
    prefix = Prefix(tmp_path, {"a.sh": COUNTS}, mark="abc")
    assert prefix.run("bash", "-c", "echo $COUNT", WAVELET_ACTIVATED="another").stdout == "x\n"


def test_scripts_run_in_their_order(tmp_path: Path) -> None:
    scripts = {f"{n}.sh": f'export ORDER="${{ORDER-}}{n}"\n' for n in ("b", "a", "C")}
    assert Prefix(tmp_path, scripts).run("bash", "-c", "echo $ORDER").stdout == "Cab\n"


def test_the_entry_point_hands_over_to_the_tool(tmp_path: Path) -> None:
    prefix = Prefix(tmp_path, {"a.sh": GOOD})
    assert prefix.enter("printenv", "JAVA_HOME").stdout == f"{tmp_path}/lib/jvm\n"
    assert prefix.enter("sh", "-c", 'exit "$1"', "x", "7").returncode == 7
    assert prefix.enter("no-such-tool").returncode == 127


@pytest.mark.parametrize("shell", SHELLS)
def test_any_shell_of_the_base(tmp_path: Path, shell: str) -> None:
    prefix = Prefix(tmp_path, {"a.sh": BROKEN, "b.sh": EXITS, "c.sh": GOOD, "d.sh": QUOTED})
    command = [shell, "sh"] if shell == "busybox" else [shell]
    program = f'. "{prefix.root / environment_files.ACTIVATE}"; echo "$JAVA_HOME"; printf "%s" "$ODD"'
    done = prefix.run(*command, "-uec", program, BASH_ENV="")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/lib/jvm\n" + 'a "b" $c `d` \\ é\nsecond line'
