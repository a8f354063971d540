"""`trioet install` and `trioet uninstall`: what is done, in which order, and what is told.

One login asks what is there and does it. What trioet needs is fetched there, by uv or pip,
if they can; else it is sent from here. The scripts in ``far/`` say how it is done.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from typing import Final, NamedTuple

from trioet import __version__
from trioet.bootstrap.spawn import SshTarget
from trioet.errors import StepFailed
from trioet.install import parcel
from trioet.install.far_side import FarSide, login
from trioet.install.tags import Machine
from trioet.install.words import Answer, Python, parse_version

ASK_DEADLINE_S: Final = 60.0
INSTALL_DEADLINE_S: Final = 900.0
"""For an index that is far away, and a disk that is slow; a minute is much already."""

REMOVE_DEADLINE_S: Final = 120.0
CHECK_DEADLINE_S: Final = 60.0

MIB: Final = 1024 * 1024

HOMES: Final = ("/root/", "/home/", "/Users/")
"""Where no other user, and no service of the system, can read."""

Show = Callable[[str], None]


class Wish(NamedTuple):
    """What the user wants of an installation."""

    system: bool = False
    """For all users, in /usr/local, with the service."""

    user_service: bool = False
    """The service of one user's own systemd."""

    offline: bool = False
    """Nothing is fetched there."""

    root: str = ""
    """What /usr/local and /etc are below; for tests."""

    def job(self, **settings: str) -> bytes:
        """What the scripts are told, as the shell reads it."""
        said = {"system": "yes" if self.system else "", "root": self.root, **settings}
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in said.items()]
        return "".join(lines).encode()


async def install(target: SshTarget, wish: Wish, show: Show, chat: Show) -> None:
    """Install trioet there, or upgrade it, and check it.

    Cancellation and errors leave what was there before, and it works as before.

    Raises:
      StepFailed: it could not be done; says why, and what to do.
    """
    own = parcel.own_files()
    digest = parcel.digest_of(own)
    async with login(target, show, chat) as far:
        answer = await _ask(far, wish)
        show(far.from_home(_description(answer, wish)))
        if taken := [path for path in answer.taken if not path.endswith("/etterminal")]:
            path = far.from_home(taken[0])
            what = f"{far.host} has a {path} that is not from `trioet install`"
            raise StepFailed("install", what, _who_made(path, far.host))
        facts = answer.facts
        is_there = facts.get("digest") == digest and facts.get("works") == f"trioet {__version__}"
        if is_there and not (wish.system or wish.user_service):
            show(f"trioet {__version__} is there already, the same as here")
        else:
            sudo = needs_sudo(far.host, answer, wish)
            await _install(far, wish, answer, own, sudo, show)
        await _check(far, wish, show)


async def uninstall(
    target: SshTarget, wish: Wish, show: Show, chat: Show, *, force: bool = False
) -> None:
    """Remove what ``install`` made there, and nothing else.

    Raises:
      StepFailed: nothing of ours is there, or sessions are open and it is not forced.
    """
    async with login(target, show, chat) as far:
        answer = await _ask(far, wish)
        if "installed" not in answer.facts:
            what = f"no trioet from `trioet install` is on {far.host}"
            hint = "one for all users goes with --system" if not wish.system else ""
            raise StepFailed("uninstall", what, hint)
        sessions = await far.run("sessions", {"job": wish.job()}, CHECK_DEADLINE_S)
        if keeper := sessions.facts.get("keeper"):
            what = f"a keeper of your sessions runs on {far.host} ({keeper})"
            if not force:
                hint = (
                    "it ends ten minutes after the last session; --force removes trioet at "
                    "once: open sessions go on, but none can be opened"
                )
                raise StepFailed("uninstall", what, hint)
            show(f"{what}: it goes on until its last session has ended")
        sudo = needs_sudo(far.host, answer, wish)
        files = {"job": wish.job()}
        answer = await _run(far, "uninstall", files, REMOVE_DEADLINE_S, sudo)
        if answer.problem:
            raise StepFailed("uninstall", f"{far.host}: {answer.problem}")


async def _ask(far: FarSide, wish: Wish) -> Answer:
    answer = await far.run("ask", {"job": wish.job()}, ASK_DEADLINE_S)
    if answer.problem:
        raise StepFailed("install", f"{far.host}: {answer.problem}")
    far.home = answer.facts.get("home", "")
    return answer


async def _install(
    far: FarSide, wish: Wish, there: Answer, own: parcel.Files, sudo: str, show: Show
) -> None:
    """Try the ways that there are, one after the other."""
    python = choose_python(there, wish)
    reasons = []
    for how in ways(there, python, wish):
        files = own
        if python is not None and how == "here":
            try:
                needed, came = await parcel.dependencies(machine(python, there.facts))
            except parcel.NotHere as reason:
                reasons.append(f"what trioet needs cannot be sent from here: {reason}")
                break
            files = {**own, **needed}
        packed = parcel.pack(files)
        if how == "here":
            show(f"sending what trioet needs, {came} ({len(packed) / MIB:.1f} MiB)")
        else:
            show(f"{how} there fetches what trioet needs")
        settings = {
            "version": __version__,
            "digest": parcel.digest_of(own),
            "python": python.path if python is not None else "",
            "uv": there.facts.get("uv", ""),
            "how": how,
            "parcel": hashlib.sha256(packed).hexdigest(),
            "service": "system" if wish.system else "user" if wish.user_service else "",
        }
        sent = {
            "job": wish.job(**settings),
            "parcel.zip": packed,
            "requirements.txt": "".join(f"{each}\n" for each in parcel.requirements()).encode(),
        }
        answer = await _run(far, "install", sent, INSTALL_DEADLINE_S, sudo)
        if not answer.problem:
            return
        reasons.append(far.from_home(answer.problem))
        if "installed" in answer.facts:
            raise StepFailed("install", f"{far.host}: {reasons[-1]}", "trioet itself is installed")
        if how != "here":
            show(f"not so: {reasons[-1]}")
    if python is None:
        raise no_python(far.host, there, reasons)
    hint = "what was there before is as it was; -v shows all that was said"
    raise StepFailed("install", f"{far.host}: {reasons[-1]}", hint)


def choose_python(there: Answer, wish: Wish) -> Python | None:
    """The first that can run trioet, and for all users that they can reach, too."""
    fine = [python for python in there.pythons if not python.problem]
    if wish.system:
        homes = (f"{there.facts.get('home', '/root')}/", *HOMES)
        fine = [python for python in fine if not python.path.startswith(homes)]
    return fine[0] if fine else None


def ways(there: Answer, python: Python | None, wish: Wish) -> list[str]:
    """How trioet's dependencies can get there, the best way first."""
    found = []
    if "uv" in there.facts and not wish.offline:
        found.append("uv")
    if python is not None:
        if python.has_pip and not wish.offline:
            found.append("pip")
        found.append("here")
    return found


def no_python(host: str, there: Answer, reasons: list[str]) -> StepFailed:
    """None of the Pythons there will do, and nobody there can bring one."""
    which = [python.problem or f"{python.path} is in a home" for python in there.pythons]
    said = "; ".join([*(which or ["no python3 is on the PATH"]), *reasons])
    hint = (
        "install Python 3.11 or later there, or uv (https://docs.astral.sh/uv), which brings "
        "its own; then run this again"
    )
    return StepFailed("python", f"{host} has no Python that can run trioet: {said}", hint)


def machine(python: Python, facts: dict[str, str]) -> Machine:
    """What has to be fitted, if it is to run there."""
    minor = python.version[1]
    system, _, rest = python.platform.partition("-")
    if system == "macosx":
        version, _, architecture = rest.partition("-")
        return Machine(minor, "macosx", parse_version(version), architecture)
    if "musl" in facts:
        return Machine(minor, "musllinux", parse_version(facts["musl"]), rest)
    return Machine(minor, "manylinux", python.glibc, rest)


def _description(answer: Answer, wish: Wish) -> str:
    facts = answer.facts
    parts = [f"{facts.get('system', '?')} {facts.get('machine', '?')}"]
    fine = choose_python(answer, wish)
    if fine is not None:
        parts.append(f"Python {'.'.join(map(str, fine.version))} ({fine.path})")
    else:
        parts += [python.problem for python in answer.pythons] or ["no Python"]
    if "uv" in facts:
        parts.append("uv")
    if "installed" in facts:
        state = "" if "works" in facts else ", which does not run"
        parts.append(f"trioet {facts['installed']} in {facts.get('base')}{state}")
    else:
        parts.append("no trioet yet")
    if facts.get("system") not in ("Linux", None):
        parts.append("untried: trioet is made for Linux")
    return ", ".join(parts)


def _who_made(path: str, host: str) -> str:
    return (
        f"remove it there, perhaps by what made it (`ssh {host} ls -l {path}` says where it "
        "leads: `pipx uninstall trioet`, `uv tool uninstall trioet`), or upgrade it the same way"
    )


def needs_sudo(host: str, there: Answer, wish: Wish) -> str:
    """How to become root there: not at all, ``free`` or ``asks``.

    Raises:
      StepFailed: that is needed, and there is no way.
    """
    if not wish.system or "root" in there.facts:
        return ""
    if "sudo" not in there.facts:
        what = f"you are not root on {host}, and there is no sudo"
        raise StepFailed("sudo", what, "log in as root, or install it for you alone: no --system")
    return there.facts["sudo"]


async def _run(
    far: FarSide, script: str, files: dict[str, bytes], deadline_s: float, sudo: str
) -> Answer:
    if sudo == "asks":
        return await far.run_at_terminal(script, files)
    return await far.run(script, files, deadline_s, sudo=sudo == "free")


async def _check(far: FarSide, wish: Wish, show: Show) -> None:
    """Is what a client will find what was installed?"""
    answer = await far.run("check", {"job": wish.job()}, CHECK_DEADLINE_S)
    if answer.problem:
        raise StepFailed("check", f"{far.host}: {answer.problem}")
    found, version = answer.facts.get("found", ""), answer.facts.get("version", "")
    if version != f"trioet {__version__}":
        what = f"{far.host}: trioet is installed, but {found} comes first on the PATH: {version}"
        mine = f"{answer.facts.get('bin', '~/.local/bin')}/trioet"
        hint = f"remove it, or `trioet connect --terminal-path {far.from_home(mine)} {far.host}`"
        raise StepFailed("check", what, hint)
    show(f"checked: a command run by ssh finds {far.from_home(found)}, {version}")
