"""`trioet install`: real ssh, real environments, and no network."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest
import trio

from farside import SOURCE
from keepers import end_keepers
from ptys import at_terminal
from trioet import __version__
from trioet.install import parcel
from untouched import NEWER, PATIENCE_S, Host
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.proof]


def children_of(pid: int) -> list[int]:
    """Of all its threads."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


def test_what_is_installed_serves_and_what_is_uninstalled_leaves_no_trace(host: Host) -> None:
    host.need_all()
    (host.bin).mkdir(parents=True)
    (host.bin / "other").write_text("not ours")
    before = host.tree()

    said = host.install()

    assert f"installed trioet {__version__} in ~/.local/share/trioet/{__version__}\n" in said
    assert "as they are installed here" in said
    assert "checked: a command run by ssh finds ~/.local/bin/trioet" in said
    done = host.run("connect", "--", "echo served; exit 3")
    assert (done.returncode, done.stdout) == (3, "served\n")
    assert [
        path
        for path in host.base.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o022
    ] == []

    before_again = host.tree()
    assert f"trioet {__version__} is there already, the same as here" in host.install()
    assert host.tree() == before_again

    refused = host.run("uninstall")
    assert refused.returncode == 1, "its keeper waits for more sessions"
    assert "--force" in refused.stderr
    assert host.tree() == before_again
    end_keepers(host.runtime_dir)
    done = host.run("uninstall")
    assert (done.returncode, done.stderr) == (0, "")
    assert "removed ~/.local/share/trioet\n" in done.stdout
    assert host.tree() == before

    done = host.run("uninstall")
    assert done.returncode == 1
    assert "no trioet from `trioet install` is on farside" in done.stderr


def test_what_is_installed_can_install_itself_elsewhere(host: Host, tmp_path: Path) -> None:
    host.install()
    elsewhere = tmp_path / "elsewhere"
    host.log_in_by(f"export HOME={elsewhere}; mkdir -p $HOME")
    first = [str(host.bin / "trioet"), *host.command("install", "--offline")[3:]]

    done = subprocess.run(
        first,
        env={**host.environment, "PYTHONPATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "as they are installed here" in done.stdout
    assert (elsewhere / ".local/bin/trioet").exists()


async def test_an_upgrade_disturbs_no_session_and_leaves_nothing_of_the_old(host: Host) -> None:
    await trio.to_thread.run_sync(host.install)
    assert host.versions() == [__version__]

    async with at_terminal(host.command("connect"), host.environment) as person:
        await person.run(b"mine=still")
        host.become_newer()
        said = await trio.to_thread.run_sync(host.install)
        assert f"installed trioet {NEWER}" in said
        assert host.versions() == [NEWER]
        done = await trio.to_thread.run_sync(host.run, "connect", "--", "echo new")
        assert (done.returncode, done.stdout) == (0, "new\n")
        assert await person.run(b"echo $mine") == b"still\r\n"

        done = await trio.to_thread.run_sync(host.run, "uninstall", "--force")
        assert done.returncode == 0
        assert "goes on until its last session has ended" in done.stdout
        assert await person.run(b"echo $mine") == b"still\r\n"
        await person.type(b"exit\n")
        assert await person.end() == 0
    assert host.tree() == {}


def test_an_installation_whose_python_has_gone_is_made_anew(host: Host) -> None:
    host.install()
    for link in (host.base / __version__ / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/usr/bin/python2")

    said = host.install()

    assert "which does not run" in said
    assert host.versions() == [f"{__version__}-2"]


def test_the_home_may_have_blanks_and_quotes_and_be_far_down(host: Host) -> None:
    name = "it's a home/" + "x" * 120
    host.log_in_by(f'export HOME={shlex.quote(str(host.home / name))}\nmkdir -p "$HOME"')

    assert "checked: a command run by ssh finds ~/.local/bin/trioet" in host.install()

    done = host.run("connect", "--", "echo served")
    assert (done.returncode, done.stdout) == (0, "served\n")


def test_where_no_index_is_reached_it_is_sent_from_here(host: Host) -> None:
    host.put_python(
        """case "$2 $3" in
        "pip --version") exit 0 ;;
        "pip --python") echo "ERROR: No matching distribution found for trio"; exit 1 ;;
        esac"""
    )

    done = host.run("install")

    assert (done.returncode, done.stderr) == (0, "")
    assert "not so: pip could not fetch what trioet needs (ERROR: No matching" in done.stdout
    assert "sending what trioet needs, as they are installed here" in done.stdout
    assert host.versions() == [__version__]


def test_pip_there_fetches_from_the_index_that_it_is_told_of(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory of wheels, made of what is installed here."""
    if not any(map(importlib.util.find_spec, ("pip", "ensurepip"))):
        pytest.skip("this Python has neither pip nor ensurepip")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.syspath_prepend(host.description)
    for distribution in parcel.needed_distributions():
        put_wheel(wheels, distribution)
    config = host.home / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
    before = host.tree()

    done = host.run("install")

    assert (done.returncode, done.stderr) == (0, "")
    assert "pip there fetches what trioet needs" in done.stdout
    assert "not so" not in done.stdout, done.stdout
    done = host.run("connect", "--", "echo served")
    assert (done.returncode, done.stdout) == (0, "served\n")
    assert host.run("uninstall", "--force").returncode == 0
    assert host.tree() == before


def put_wheel(place: Path, distribution: Distribution) -> None:
    """Make an installed package a wheel again."""
    (*_, tag) = re.findall(r"^Tag: *(\S+)", distribution.read_text("WHEEL") or "", re.MULTILINE)
    name = distribution.name.replace("-", "_")
    with zipfile.ZipFile(place / f"{name}-{distribution.version}-{tag}.whl", "w") as wheel:
        for path in distribution.files or ():
            if path.parts[0] != ".." and path.suffix != ".pyc":
                wheel.write(str(path.locate()), str(path))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"version": [3, 9, 2]}, r"Python 3.9.2 (/opt/p) is older than 3.11"),
        ({"version": [3, 12, 1], "missing": ["venv", "_ssl"]}, "is without venv, _ssl"),
        ({}, "/opt/p does not run"),
    ],
)
def test_a_python_that_will_not_do_is_told_with_what_to_do(
    host: Host, answer: dict[str, object], problem: str
) -> None:
    said = json.dumps({"path": "/opt/p", **answer})
    host.sshd.put_program("python3", f"echo {shlex.quote(said)}")

    done = host.run("install")

    assert done.returncode == 1
    assert problem in done.stderr
    assert "install Python 3.11 or later there, or uv" in done.stderr
    assert host.tree() == {}


def test_a_python_that_cannot_make_an_environment_leaves_nothing(host: Host) -> None:
    host.put_python('[ "$2" != venv ] || { mkdir -p "$4/lib"; echo Error: no space >&2; exit 1; }')

    done = host.run("install", "--offline")

    assert done.returncode == 1
    assert "cannot make a Python environment" in done.stderr
    assert "Error: no space" in done.stderr
    assert host.tree() == {}


def test_uv_brings_a_python_where_there_is_none(host: Host) -> None:
    """A uv without its index: it makes an environment of the tests' own Python and fetches by
    copying what is installed beside it."""
    host.sshd.put_program("python3", "exit 1")
    needed = [path for path in sys.path if path.endswith("site-packages")]
    host.sshd.put_program(
        "uv",
        f"""
        for last; do :; done
        case $1 in
        venv) exec {shlex.quote(sys.executable)} -m venv --without-pip "$last" ;;
        pip) cp -R {shlex.join(needed)}/. "$(dirname "$4")"/../lib/python3*/site-packages ;;
        esac""",
    )

    done = host.run("install")

    assert (done.returncode, done.stderr) == (0, "")
    assert "uv there fetches what trioet needs" in done.stdout
    assert host.versions() == [__version__]


@pytest.mark.parametrize("who", ["trioet", "ssh"])
async def test_interrupted_in_the_middle_it_is_as_it_was(host: Host, who: str) -> None:
    await trio.to_thread.run_sync(host.install)
    before = host.tree()
    host.become_newer()
    stuck = host.home.parent / "stuck"
    # The environment is half made, and then nothing goes on.
    host.put_python(
        f'[ "$2" != venv ] || {{ mkdir "$4/lib" -p; echo "$stage $PPID" >{stuck}; '
        "exec sleep 1000; }"
    )

    process = host.start("install", "--offline")
    await until(lambda: stuck.exists() and stuck.read_text().endswith("\n"), PATIENCE_S)
    assert (host.base / NEWER / "lib").is_dir()
    if who == "trioet":
        process.send_signal(signal.SIGINT)
    else:
        os.kill(children_of(process.pid)[0], signal.SIGKILL)
    _, errors = await trio.to_thread.run_sync(process.communicate)

    assert process.returncode == (130 if who == "trioet" else 255)
    assert ("interrupted" if who == "trioet" else "was lost") in errors
    stage = Path(stuck.read_text().split()[0])
    await until(lambda: not stage.exists(), PATIENCE_S)
    assert host.tree() == before
    host.put_python("")
    assert (await trio.to_thread.run_sync(host.run, "connect", "--", "echo old")).stdout == "old\n"


def test_two_at_once_do_not_disturb_each_other(host: Host) -> None:
    host.base.mkdir(parents=True)
    (host.base / "manifest").write_text("made by trioet install\n")
    (host.base / "lock").mkdir()
    (host.base / "lock" / "pid").write_text(str(os.getpid()))
    done = host.run("install", "--offline")
    assert done.returncode == 1
    assert f"another trioet install works in ~/.local/share/trioet (process {os.getpid()})" in (
        done.stderr
    )

    gone = subprocess.Popen(["true"])
    gone.wait()
    (host.base / "lock" / "pid").write_text(str(gone.pid))
    host.install()
    assert not (host.base / "lock").exists()


def test_what_others_installed_is_left_alone(host: Host) -> None:
    host.bin.mkdir(parents=True)
    (host.bin / "trioet").write_text("pipx's")
    before = host.tree()

    done = host.run("install", "--offline")

    assert done.returncode == 1
    assert "has a ~/.local/bin/trioet that is not from `trioet install`" in done.stderr
    assert host.tree() == before

    (host.bin / "trioet").rename(host.bin / "etterminal")
    assert "left ~/.local/bin/etterminal as it is" in host.install()
    assert (host.bin / "etterminal").read_text() == "pipx's"
    assert host.run("uninstall").returncode == 0
    assert list(host.tree()) == [".local", ".local/bin", ".local/bin/etterminal"]


def test_another_trioet_that_comes_first_on_the_path_is_told(host: Host) -> None:
    other = host.sshd.put_program("trioet", "echo trioet 0.0.1")

    done = host.run("install", "--offline")

    assert done.returncode == 1
    assert f"trioet is installed, but {other} comes first on the PATH: trioet 0.0.1" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "dash", "busybox"])
def test_every_posix_shell_can_run_the_scripts(host: Host, shell: str) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    applet = "sh" if shell == "busybox" else ""
    host.sshd.put_program("sh", f'exec {path} {applet} "$@"')
    if shell == "busybox":
        for name in ("tar", "head", "sed", "awk", "readlink", "mktemp", "grep", "tr"):
            host.sshd.put_program(name, f'exec {path} {name} "$@"')

    host.install()

    assert host.run("uninstall").returncode == 0
    assert host.tree() == {}


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "tcsh", "csh"])
def test_every_login_shell_will_do(host: Host, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    host.sshd.use_login_shell(f'exec {shell} -c "$SSH_ORIGINAL_COMMAND"')

    done = host.run("uninstall")

    assert "no trioet from `trioet install` is on farside" in done.stderr


@pytest.mark.parametrize(
    "noise",
    [
        "echo welcome",
        "head -c 102400 /dev/zero | tr '\\0' 'x'",
        "head -c 102400 /dev/urandom",
        "echo complaint >&2",
    ],
    ids=["motd", "no newline", "binary", "stderr"],
)
def test_noise_of_start_up_files_is_tolerated(host: Host, noise: str) -> None:
    host.log_in_by(noise)

    done = host.run("uninstall")

    assert "no trioet from `trioet install` is on farside" in done.stderr


def test_a_login_that_runs_no_commands_is_told_by_what_it_printed(host: Host) -> None:
    host.sshd.use_login_shell("echo This account is not available; exit 1")

    done = host.run("install")

    assert done.returncode == 255
    assert "its last words: This account is not available" in done.stderr


def test_a_disk_that_is_full_there_is_told(host: Host) -> None:
    marker = host.home.parent / "once"
    host.sshd.put_program(
        "tar",
        f'[ -e {marker} ] && {{ echo No space left; exit 2; }}; >{marker}; exec /bin/tar "$@"',
    )

    done = host.run("install", "--offline")

    assert done.returncode == 1
    assert "did not arrive whole" in done.stderr
    assert host.tree() == {}


def test_a_trioet_that_runs_from_its_source_tree_says_so(host: Host, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(Path(SOURCE) / "trioet", copy / "trioet")
    code = (
        "import sys; from importlib import metadata\n"
        "def none(name): raise metadata.PackageNotFoundError(name)\n"
        "metadata.distribution = none\n"
        "from trioet.cli.main import main; sys.exit(main(['install', 'farside']))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**host.environment, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert done.returncode == 1
    assert f"this trioet is not installed: it runs from {copy}" in done.stderr
