"""What facts about a machine mean for sessions there: no I/O, a function for each step.

Here belongs what to do about it, too: the command to type, or the line to write.
"""

from __future__ import annotations

import shlex
from typing import Final, NamedTuple

from trioet import __version__
from trioet.bootstrap.invitation import INSTALL_HINT, MAX_NOISE
from trioet.doctor.far_report import FarFacts, FarReport
from trioet.doctor.finding import Finding, Outcome
from trioet.server.places import SYSTEM_ROUTER_SOCKET

WELL, WORTH_KNOWING, FAILED, SKIPPED = Outcome

CLOCK_TOLERANCE_S: Final = 5.0
"""Logs of both sides can still be laid side by side."""

LEAST_PYTHON: Final = (3, 11)

QUIET: Final = {
    "bash": "at the top of ~/.bashrc: case $- in *i*) ;; *) return ;; esac",
    "zsh": "move what prints from ~/.zshenv to ~/.zshrc",
    "fish": "in config.fish, put what prints into: if status is-interactive … end",
    "csh": "at the top of ~/.cshrc: if (! $?prompt) exit",
    "tcsh": "at the top of ~/.tcshrc or ~/.cshrc: if (! $?prompt) exit",
}
"""How to have start-up files do nothing for a command, by shell."""

QUIET_SOMEHOW: Final = "let its start-up files print, wait and exec only if it is interactive"


class Place(NamedTuple):
    """The machine that is spoken of. ``ssh`` logs in there; empty on this machine."""

    name: str = "this machine"
    ssh: str = ""

    def run(self, command: str) -> str:
        """What to type here to run a command there."""
        return f"{self.ssh} {shlex.quote(command)}" if self.ssh else command

    @property
    def install(self) -> str:
        """What to type to have trioet there."""
        there = self.ssh.removeprefix("ssh")
        return f"trioet install{there}" if there else "pipx install trioet"


def shell(report: FarReport, place: Place) -> Finding:
    """The login shell ran our command; did its start-up files leave us alone?"""
    name = report.one("shell").rpartition("/")[2] or "login shell"
    facts = {"shell": report.one("shell"), "noise_bytes": report.noise}
    quiet = QUIET.get(name, QUIET_SOMEHOW)
    if report.one("stdin") != "1":
        what = f"{name}: its start-up files read stdin, and swallow the session's key"
        return Finding("shell", FAILED, what, quiet, facts)
    if not report.noise:
        return Finding("shell", WELL, f"{name}, silent", facts=facts)
    what = f"{name}: start-up files print {report.noise:,} bytes before a command"
    if report.noise > MAX_NOISE:
        return Finding("shell", FAILED, f"{what}; {MAX_NOISE:,} is the limit", quiet, facts)
    return Finding("shell", WORTH_KNOWING, f"{what}; scp would mind", quiet, facts)


def no_shell(report: FarReport, status: int | None, last_words: str, place: Place) -> Finding:
    """The login shell did not run our command. ``status`` None: it did not end either."""
    facts = {"noise_bytes": report.noise, "exit_status": status}
    said = report.last_words or last_words
    words = f": {said[-80:]}" if said else ""
    if status is None:
        what = f"after the login nothing comes: a start-up file waits for something{words}"
    else:
        what = f"the login shell runs no commands (exit status {status}){words}"
    if "not available" in said:
        return Finding("shell", FAILED, what, "as root there: chsh -s /bin/bash USER", facts)
    return Finding(
        "shell", FAILED, what, f"{QUIET_SOMEHOW}; then try", facts, command=place.run("echo works")
    )


def program(report: FarReport, place: Place) -> Finding:
    """Is there a trioet, or at least an etterminal, and does it run?"""
    path, says = report.one("program"), report.one("version")
    facts = {"path": path, "says": says}
    if report.facts is not None:
        return Finding("program", WELL, path, facts=facts)
    if not path:
        return _no_program(report, place)
    if path.rpartition("/")[2] != "trioet":
        what = f"{path}: no trioet, so Eternal Terminal's; an etserver must run there"
        return Finding("program", WORTH_KNOWING, what, facts=facts, command=place.install)
    if says.startswith("trioet "):
        return Finding("program", WELL, path, facts=facts)
    what = f"{path} does not run{': ' if says else ''}{says}"
    return Finding("program", FAILED, what, facts=facts, command=place.install)


def _no_program(report: FarReport, place: Place) -> Finding:
    facts = {"path": "", "elsewhere": list(report.said.get("elsewhere", ()))}
    if elsewhere := report.one("elsewhere"):
        what = f"not on the PATH of a command; there is {elsewhere}"
        fix = f"say where it is: --terminal-path {shlex.quote(elsewhere)}"
        return Finding("program", FAILED, what, fix, facts)
    what = f"neither trioet nor etterminal on {place.name}"
    python = report.one("python").removeprefix("Python ")
    installers = report.said.get("installer", ())
    if "uv" not in installers and not _recent(python):
        what += f", and {f'Python {python}' if python[:1].isdigit() else 'no Python'}"
        fix = "it needs Python 3.11 or later there; uv brings one (docs.astral.sh/uv). Then"
    else:
        fix = INSTALL_HINT.format(host=place.name)
    return Finding("program", FAILED, what, fix, facts, command=place.install)


def _recent(python: str) -> bool:
    numbers = python.split(".")[:2]
    return all(map(str.isdecimal, numbers)) and tuple(map(int, numbers)) >= LEAST_PYTHON


def version(report: FarReport, protocol: int, place: Place) -> Finding:
    """Do both sides understand each other?"""
    there = report.facts
    says = there.version if there is not None else report.one("version")
    facts = {"here": __version__, "there": says.removeprefix("trioet ")}
    if there is not None and there.protocol not in (None, protocol):
        what = f"{says} there speaks protocol {there.protocol}, {__version__} here {protocol}"
        return Finding("version", FAILED, what, facts=facts, command=place.install)
    if there is not None:
        what = f"{__version__} on both" if says == __version__ else f"{__version__}, there {says}"
        return Finding("version", WELL, what, facts=facts)
    if report.one("program").rpartition("/")[2] == "trioet":
        what = f"{facts['there']} there is older than the doctor: what follows is guessed"
        return Finding("version", WORTH_KNOWING, what, facts=facts, command=place.install)
    return Finding("version", WELL, says or "it does not say", facts=facts)


def runtime(there: FarFacts, place: Place) -> Finding:
    """The directory for sockets must be the user's alone."""
    path = there.runtime_path
    facts = {
        "path": path,
        "exists": there.runtime_exists,
        "owner": there.runtime_owner,
        "mode": there.runtime_mode,
    }
    if not there.runtime_problem:
        what = f"{path}, {there.runtime_mode}" if there.runtime_exists else f"{path}, not made yet"
        return Finding("runtime", WELL, what, facts=facts)
    quoted = shlex.quote(path)
    fix, command = "", ""
    if "belongs to" in there.runtime_problem:
        command = place.run(f"sudo chown -R {shlex.quote(there.user)} {quoted}")
    elif "open to others" in there.runtime_problem:
        command = place.run(f"chmod 700 {quoted}")
    elif "not a directory" in there.runtime_problem:
        command = place.run(f"mv {quoted} {shlex.quote(path + '.old')}")
    else:
        fix = "make it writable, or have TRIOET_RUNTIME_DIR name another (sshd: SetEnv)"
    what = there.runtime_problem.partition(";")[0]
    return Finding("runtime", FAILED, what, fix, facts, command=command)


def linger(there: FarFacts, place: Place) -> Finding:
    """Does what a login starts outlive it?"""
    facts = {"kill_user_processes": there.kills, "lingers": there.lingers}
    if there.lingers:
        return Finding(
            "linger", WELL, f"{there.user} lingers: sessions outlive logins", facts=facts
        )
    if there.kills:
        what = "logind ends the keeper with the login (KillUserProcesses=yes)"
        command = place.run("loginctl enable-linger")
        return Finding("linger", FAILED, what, facts=facts, command=command)
    what = "logind lets a keeper outlive its login" if there.logind else "no logind"
    return Finding("linger", WELL, what, facts=facts)


def keeper(there: FarFacts, place: Place) -> Finding:
    """Does a keeper run, or can one start?"""
    facts = {
        "state": there.keeper_state,
        "version": there.keeper_version,
        "sessions": there.keeper_sessions,
        "ports": list(there.keeper_ports),
    }
    if there.runtime_problem:
        return Finding("keeper", SKIPPED, "its directory is not usable", facts=facts)
    if there.keeper_state == "silent":
        log = shlex.quote(f"{there.runtime_path}/keeper.log")
        what = "a keeper holds its socket and does not answer"
        command = place.run(f"tail {log}")
        return Finding("keeper", FAILED, what, "its log says why", facts, command=command)
    if there.keeper_trouble:
        what = f"cannot start: {there.keeper_trouble}"
        return Finding("keeper", FAILED, what, "install it anew", facts, command=place.install)
    if there.keeper_state != "runs":
        return Finding("keeper", WELL, "none runs; the first session starts it", facts=facts)
    if there.keeper_sessions is None:
        return Finding("keeper", WELL, "runs, an older one", facts=facts)
    plural = "" if there.keeper_sessions == 1 else "s"
    what = f"runs, {there.keeper_sessions} session{plural}"
    if there.keeper_version not in ("", there.version):
        what += f", still version {there.keeper_version}"
    return Finding("keeper", WELL, what, facts=facts)


def router(there: FarFacts, server_fifo: str | None, place: Place) -> Finding:
    """Does a router serve, or must the keeper listen by itself?"""
    facts = {
        "state": there.router_state,
        "socket": there.router_socket,
        "port": there.router_port,
        "own_ports": list(there.keeper_ports),
    }
    socket = there.router_socket
    if there.router_state == "serves":
        what = f"serves port {there.router_port}, {socket}"
        return Finding("router", WELL, what, facts=facts)
    if there.router_state == "silent":
        what = f"holds {socket} and does not answer"
        command = place.run("sudo systemctl restart trioet")
        fix = "restart it: no session will notice"
        return Finding("router", FAILED, what, fix, facts, command=command)
    if there.router_state == "denied":
        what = f"{socket} may not be reached by {there.user}"
        outcome = FAILED if server_fifo else WORTH_KNOWING
        command = place.run(f"sudo chmod 666 {shlex.quote(socket)}")
        return Finding("router", outcome, what, facts=facts, command=command)
    if server_fifo:
        what = f"no trioet server listens at {server_fifo}"
        return Finding("router", FAILED, what, "start it, or leave --serverfifo away", facts)
    if there.no_port_free:
        what = "none, and no port is free that the keeper could listen on by itself"
        command = place.run("trioet serve")
        return Finding("router", FAILED, what, "-p names another; or", facts, command=command)
    if awaited := there.keeper_waits_for:
        what = f"down, the keeper waits for it at {awaited}; new sessions go to its own port"
        system = awaited == SYSTEM_ROUTER_SOCKET
        start = "sudo systemctl start trioet" if system else "trioet serve"
        return Finding("router", WORTH_KNOWING, what, facts=facts, command=place.run(start))
    return Finding("router", WELL, "none; the keeper listens by itself", facts=facts)


def relay(report: FarReport, place: Place) -> Finding:
    """Does a jumphost pass sessions on?"""
    there = report.facts
    if there is None and report.one("program").rpartition("/")[2] != "trioet":
        what = "Eternal Terminal's kind of jumphost at most, which reads the session"
        return Finding("relay", WORTH_KNOWING, what, command=place.install)
    if there is None:
        what = "the trioet there is too old to relay"
        return Finding("relay", FAILED, what, command=place.install)
    facts = {"relaying": there.relaying}
    ask = "ask its administrator: trioet serve --relay-to PLACE"
    if there.relaying == "none":
        what = "relaying is switched off on this machine (trioet serve --no-relay)"
        return Finding("relay", FAILED, what, f"sessions go through ssh; or {ask}", facts)
    if there.relaying == "some":
        what = "its administrator lets relays lead to some places only (trioet serve --relay-to)"
        return Finding("relay", WORTH_KNOWING, what, f"if the next is none of them, {ask}", facts)
    by = "router" if there.router_state == "serves" else "user's own keeper"
    return Finding("relay", WELL, f"allowed, by the {by}", facts=facts)


def clock(offset_s: float | None, place: Place) -> Finding:
    """Clocks matter for nothing but logs. ``offset_s``: how far theirs is ahead."""
    if offset_s is None:
        return Finding("clock", SKIPPED, "not told")
    facts = {"ahead_s": round(offset_s, 3)}
    if abs(offset_s) <= CLOCK_TOLERANCE_S:
        return Finding("clock", WELL, "agrees", facts=facts)
    direction = "ahead of" if offset_s > 0 else "behind"
    what = f"{abs(offset_s):.0f} s {direction} ours: only logs will disagree"
    command = place.run("sudo timedatectl set-ntp true")
    return Finding("clock", WORTH_KNOWING, what, facts=facts, command=command)


def terminfo(report: FarReport, term: str, *, known_here: bool, place: Place) -> Finding:
    """Does the machine there know our terminal?"""
    there = report.facts
    known = there.term_known if there is not None else "terminfo" in report.said
    facts = {"term": term, "known": known, "known_here": known_here}
    if known:
        return Finding("terminfo", WELL, f"{term} is known there", facts=facts)
    what = f"TERM={term} is not known there; sessions get xterm-256color"
    if not known_here:
        fix = "nor here: install ncurses-term, or what brought your terminal, on both"
        return Finding("terminfo", WORTH_KNOWING, what, fix, facts)
    command = f"infocmp -x {shlex.quote(term)} | {place.run('tic -x -')}"
    return Finding("terminfo", WORTH_KNOWING, what, facts=facts, command=command)
