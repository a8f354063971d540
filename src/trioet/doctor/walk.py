"""The walk along the whole path to a session, step by step.

No step raises, and each has a deadline of its own, named where it waits. What one has found
out the next ones use; what can no longer be looked at is said to be skipped, and why.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import trio

from trioet.bootstrap.credentials import DEFAULT_TERM, clean_term
from trioet.bootstrap.openssh import fetch_ssh_config
from trioet.bootstrap.spawn import SshTarget, ssh_choices
from trioet.bootstrap.ssh_config import SshConfig, check_usable
from trioet.doctor import here, judge, ports
from trioet.doctor.facts import gather, terminfo_facts
from trioet.doctor.far_report import FarFacts, FarReport, read_facts
from trioet.doctor.finding import Finding, Outcome
from trioet.doctor.judge import Place
from trioet.doctor.ports import Goal
from trioet.doctor.probe import Probe, Reached, probe
from trioet.doctor.remote_check import check_command
from trioet.doctor.visit import LOGIN_DEADLINE_S, REPORT_DEADLINE_S, Visit, visit
from trioet.errors import StepFailed
from trioet.link.srv import MOST_TARGETS, NOWHERE, LookupFailed, in_order, look_up
from trioet.wire.messages import PROTOCOL_VERSION

CONFIG_DEADLINE_S: Final = 10.0
"""For `ssh -G`; a `Match exec` may take its time."""

RESOLVE_DEADLINE_S: Final = 15.0
"""The resolver's own patience is 10 s by default (resolv.conf(5))."""

DEFAULT_PORT: Final = 2022

MAX_ADDRESSES: Final = 8
"""Of a host, that are tried, all at once."""

FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}

AFTER_LOGIN: Final = (
    *("shell", "program", "version", "runtime", "linger", "keeper", "router", "port", "mtu"),
    *("clock", "terminfo"),
)


class Destination(NamedTuple):
    """Whom to look at, in the words of `trioet connect`."""

    target: SshTarget
    port: int | None = None
    more_ports: tuple[int, ...] = ()
    """Those that a session tries too; whichever answers will do."""
    terminal_path: str | None = None
    server_fifo: str | None = None
    srv: bool = False


Tell = Callable[[Finding], None]

Reach = Callable[[Sequence[Goal]], Awaitable[None]]
"""Looks whether a session gets where it is to go: to one of these, the first if it can be."""


class Walk:
    """One walk; ``tell`` hears of each finding as its step ends."""

    def __init__(self, tell: Tell) -> None:
        self.findings: list[Finding] = []
        self.hop = ""
        """The jumphost that is looked at."""
        self.agent_there: bool | None = None
        self.term = clean_term(os.environ.get("TERM") or DEFAULT_TERM)
        self._tell = tell
        self._began = time.monotonic()

    def note(self, finding: Finding, took_s: float | None = None) -> None:
        """The step that has gone on since the last one is over."""
        now = time.monotonic()
        took_s = now - self._began if took_s is None else took_s
        told = replace(finding, took_s=took_s, hop=self.hop)
        self._began = now
        self.findings.append(told)
        self._tell(told)

    def skip(self, reason: str, *steps: str) -> None:
        for step in steps:
            self.note(Finding(step, Outcome.SKIPPED, reason), 0.0)

    def note_unless_well(self, finding: Finding) -> None:
        """Nobody need read of it otherwise."""
        if finding.outcome is not Outcome.WELL:
            self.note(finding)

    def note_machine(self, facts: FarFacts, server_fifo: str | None, place: Place) -> None:
        """What `trioet check` says of a machine, there or here."""
        for finding in (
            judge.runtime(facts, place),
            judge.linger(facts, place),
            judge.keeper(facts, place),
            judge.router(facts, server_fifo, place),
        ):
            self.note(finding, facts.took.get(finding.step, 0.0))


async def examine_here(tell: Tell) -> list[Finding]:
    """Look at this machine alone: as one to connect from, and as one to connect to."""
    walk = Walk(tell)
    place = Place()
    walk.note(await here.ssh_program())
    facts = read_facts(gather(walk.term))
    walk.note_machine(facts, None, place)
    if facts.router_port is not None:
        goal = Goal(facts.router_port, "the router", True, True, "trioet serve")
        await note_ports(walk, ["127.0.0.1"], goal)
    else:
        walk.skip("no router", "port")
    report = FarReport(facts=facts)
    known = facts.term_known is True
    walk.note(judge.terminfo(report, walk.term, known_here=known, place=place))
    walk.note(await here.agent(None))
    return walk.findings


async def examine(destination: Destination, tell: Tell) -> list[Finding]:
    """Look at everything between here and a session there.

    Cancellation ends ssh and closes what is open.

    Raises:
      UsageError: a path cannot be passed to every remote shell.
    """
    walk = Walk(tell)
    target = destination.target
    place = place_of(target)
    command = check_command(
        term=walk.term,
        terminal_path=destination.terminal_path,
        server_fifo=destination.server_fifo,
        port=destination.port,
    )
    config = await resolve_config(walk, target, place)
    if config is None:
        walk.skip("no ssh configuration", "name", "login", *AFTER_LOGIN)
    else:
        addresses = await resolve_name(walk, config)

        async def reach(goals: Sequence[Goal]) -> None:
            if destination.srv and await note_servers(walk, config.hostname, goals[0]):
                return
            if not addresses:
                walk.skip("the name does not resolve here", "port", "mtu")
                return
            await note_ports(walk, addresses, *goals)

        if addresses or config.proxy_jump or config.proxy_command:
            await pay_visit(walk, destination, config, command, place, reach)
        else:
            walk.skip("the name does not resolve", "login", *AFTER_LOGIN)
    walk.note(await here.agent(config, there=walk.agent_there))
    return walk.findings


def place_of(target: SshTarget) -> Place:
    """How to speak of a machine that ssh reaches."""
    name = f"{target.user}@{target.host}" if target.user else target.host
    return Place(name, shlex.join(["ssh", *ssh_choices(target), target.host]))


async def resolve_config(walk: Walk, target: SshTarget, place: Place) -> SshConfig | None:
    """What ssh makes of a host; None if it makes nothing of it."""
    if shutil.which("ssh") is None:
        what = "no ssh program here; trioet connect can do without, the doctor cannot"
        fix = "install OpenSSH's client, as"
        command = "sudo apt-get install openssh-client"
        walk.note(Finding("config", Outcome.FAILED, what, fix, command=command))
        return None
    config = None
    says = f"ssh -G{place.ssh.removeprefix('ssh')}"
    try:
        with trio.move_on_after(CONFIG_DEADLINE_S):
            config = await fetch_ssh_config(target)
            check_usable(config, target.host)
    except StepFailed as error:
        # A hint that names `ssh -G` names it without the user's own options.
        fix, command = ("", says) if "ssh -G" in error.hint else (error.hint, "")
        walk.note(Finding("config", Outcome.FAILED, error.what, fix, command=command))
        return None
    if config is None:
        what = f"`ssh -G` has not answered within {CONFIG_DEADLINE_S:g} s"
        walk.note(
            Finding("config", Outcome.FAILED, what, "does a `Match exec` hang?", command=says)
        )
        return None
    jump = config.proxy_jump or (config.proxy_command and "a ProxyCommand")
    name = target.host if target.host == config.hostname else f"{target.host} is {config.hostname}"
    what = f"{name} port {config.port}, user {config.user}{f', by {jump}' if jump else ''}"
    facts = {
        "hostname": config.hostname,
        "port": config.port,
        "user": config.user,
        "proxy_jump": config.proxy_jump,
        "proxy_command": config.proxy_command,
    }
    walk.note(Finding("config", Outcome.WELL, what, facts=facts))
    return config


async def resolve_name(walk: Walk, config: SshConfig) -> list[str]:
    """Every address of the host, as `trioet connect` would try them."""
    name = config.hostname
    family = FAMILIES.get(config.address_family, socket.AF_UNSPEC)
    addresses: list[str] | None = None
    try:
        with trio.move_on_after(RESOLVE_DEADLINE_S):
            found = await trio.socket.getaddrinfo(name, 0, family, socket.SOCK_STREAM)
            addresses = ports.order([str(item[4][0]) for item in found])
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        _note_no_name(walk, config, f"{name}: {why}")
        return []
    if addresses is None:
        _note_no_name(walk, config, f"{name}: no answer within {RESOLVE_DEADLINE_S:g} s")
        return []
    what = "an address already" if addresses == [name] else ", ".join(addresses)
    walk.note(Finding("name", Outcome.WELL, what, facts={"addresses": addresses}))
    return addresses[:MAX_ADDRESSES]


def _note_no_name(walk: Walk, config: SshConfig, what: str) -> None:
    facts: dict[str, object] = {"addresses": []}
    if config.proxy_jump or config.proxy_command:
        fix = "sessions go through ssh, which gets there by a proxy; an address would be faster"
        walk.note(Finding("name", Outcome.WORTH_KNOWING, what, fix, facts))
        return
    fix = "check the spelling; is a VPN needed? Or give ssh_config a HostName"
    walk.note(Finding("name", Outcome.FAILED, what, fix, facts))


async def pay_visit(
    walk: Walk,
    destination: Destination,
    config: SshConfig,
    command: str,
    place: Place,
    reach: Reach,
) -> None:
    """All that there is to see at the destination; ``reach`` is called while it is visited."""
    try:
        async with visit(destination.target, command, config.hostname) as there:
            if not await note_login(walk, there, place):
                walk.skip("no login", *AFTER_LOGIN)
                return
            report = await there.finished_report()
            told_at = time.time()
            walk.agent_there = report.facts.agent if report.facts is not None else None
            if not await note_shell(walk, there, report, place):
                walk.skip("no command runs there", *AFTER_LOGIN[1:])
                return
            await _note_far_side(walk, report, destination, place, reach)
            _note_rest(walk, report, told_at, place)
    except StepFailed as error:
        walk.note(Finding("login", Outcome.FAILED, error.what, error.hint))
        walk.skip("no login", *AFTER_LOGIN)


async def note_login(walk: Walk, there: Visit, place: Place) -> bool:
    """Is ssh let in?"""
    if await there.login():
        login = there.words.login
        method, address = login or ("", "")
        what = f"by {method}" if method else "let in"
        if address not in ("", there.hostname):
            what += f", at {address}"
        facts = {"method": method, "address": address}
        walk.note(Finding("login", Outcome.WELL, what, facts=facts))
        return True
    if there.ended:
        what, fix, command = there.words.cause(place.name, place.ssh)
    else:
        what = f"not let in within {LOGIN_DEADLINE_S:g} s"
        fix, command = "see where it waits", f"{place.ssh} -v true"
    walk.note(Finding("login", Outcome.FAILED, what, fix, command=command))
    return False


async def note_shell(walk: Walk, there: Visit, report: FarReport, place: Place) -> bool:
    """Does the login shell run commands?"""
    if report.began:
        shell = judge.shell(report, place)
        (walk.note_unless_well if walk.hop else walk.note)(shell)
        return True
    status = there.process.returncode
    walk.note(judge.no_shell(report, status, there.words.last_words(), place))
    return False


async def _note_far_side(
    walk: Walk, report: FarReport, destination: Destination, place: Place, reach: Reach
) -> None:
    if not report.complete:
        what = f"looked for trioet for {REPORT_DEADLINE_S:g} s in vain: is a disk there away?"
        command = place.run("trioet --version")
        walk.note(Finding("program", Outcome.FAILED, what, command=command))
        walk.skip("unknown", "version", "runtime", "linger", "keeper", "router", "port", "mtu")
        return
    program = judge.program(report, place)
    walk.note(program)
    if program.outcome is Outcome.FAILED:
        reason = "no program"
        walk.skip(reason, "version", "runtime", "linger", "keeper", "router", "port", "mtu")
        return
    walk.note(judge.version(report, PROTOCOL_VERSION, place), 0.0)
    if report.facts is None:
        walk.skip("it does not tell", "runtime", "linger", "keeper", "router")
    else:
        walk.note_machine(report.facts, destination.server_fifo, place)
        if (failed := _nobody_listens(walk, report.facts)) is not None:
            walk.skip(failed, "port", "mtu")
            return
    asked = (destination.port, *destination.more_ports)
    goals = [goal_of(report, port, place) for port in asked]
    await reach(list({goal.port: goal for goal in goals}.values()))


def _nobody_listens(walk: Walk, there: FarFacts) -> str | None:
    """Why no port can be reached, if that is certain."""
    failed = [item.step for item in walk.findings if item.outcome is Outcome.FAILED]
    if "runtime" in failed:
        return "the runtime dir is not usable"
    if "keeper" in failed:
        return "no keeper"
    if "router" in failed and not there.no_port_free:
        return "no router"
    return None


def goal_of(report: FarReport, port: int | None, place: Place) -> Goal:
    """Where a session would connect to, as `trioet terminal` would say it."""
    there = report.facts
    serve = place.run("trioet serve")
    if there is None:
        is_et = report.one("program").rpartition("/")[2] != "trioet"
        start = place.run("sudo systemctl start et") if is_et else serve
        return Goal(port or DEFAULT_PORT, "the server", False, is_et, start)
    if there.router_state == "serves":
        own = there.router_port or DEFAULT_PORT
        return Goal(port or own, "the router", port in (None, own), True, serve)
    if there.stand_in is not None:
        return Goal(there.stand_in, "where the keeper will listen", True, False, serve)
    if there.keeper_ports:
        own = port if port in there.keeper_ports else there.keeper_ports[0]
        return Goal(own, "the keeper", True, False, serve)
    return Goal(port or DEFAULT_PORT, "whoever has taken it", True, False, serve)


async def note_servers(walk: Walk, host: str, goal: Goal) -> bool:
    """The servers that SRV records name, and whether they are reached; False if none is named."""
    try:
        records = in_order((await look_up(host)).records, random.Random())
    except LookupFailed as error:
        walk.note(ports.judge_srv_failure(host, str(error)))
        return False
    walk.note(ports.judge_srv(host, records))
    found = dict.fromkeys((record.target, record.port) for record in records)
    places = [place for place in found if place[0] != NOWHERE][:MOST_TARGETS]
    for target, port in places:
        if addresses := await _addresses_of(walk, target):
            theirs = (
                goal if port == goal.port else Goal(port, "the server", False, True, goal.start)
            )
            await note_ports(walk, addresses, theirs)
    return bool(records)


async def _addresses_of(walk: Walk, target: str) -> list[str]:
    """Of a server that a record names; notes if it has none."""
    why = f"no answer within {RESOLVE_DEADLINE_S:g} s"
    try:
        with trio.move_on_after(RESOLVE_DEADLINE_S):
            found = await trio.socket.getaddrinfo(target, 0, type=socket.SOCK_STREAM)
            return ports.order([str(item[4][0]) for item in found])[:MAX_ADDRESSES]
    except (OSError, UnicodeError) as error:
        why = str(error.strerror if isinstance(error, OSError) else error)
    what = f"{target}, named by an SRV record: {why}"
    walk.note(Finding("name", Outcome.FAILED, what, "mend the record, or leave --srv away"))
    return []


def _family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET if ports.is_ipv4(address) else socket.AF_INET6


async def note_ports(walk: Walk, addresses: list[str], *goals: Goal) -> None:
    """Probe every address and port at once, then the best with full packets."""
    places = [(address, goal) for goal in goals for address in addresses]
    probes: dict[tuple[str, Goal], tuple[Probe, float]] = {}

    async def try_one(address: str, goal: Goal) -> None:
        began = time.monotonic()
        result = await probe(_family_of(address), (address, goal.port))
        probes[address, goal] = result, time.monotonic() - began

    async with trio.open_nursery() as nursery:
        for where in places:
            nursery.start_soon(try_one, *where)

    def first(reached: Reached) -> tuple[str, Goal] | None:
        return next((where for where in places if probes[where][0].reached is reached), None)

    best = first(Reached.SPEAKS)
    good = best or first(Reached.PARKED)
    for where in places:
        result, took_s = probes[where]
        address, goal = where
        another = ""
        if good is not None and good != where:
            another = "address" if good[1] == goal else "port"
        walk.note(ports.judge_port(address, result, goal, another=another), took_s)
    if best is None:
        walk.skip("no connection", "mtu")
        return
    address, goal = best
    full = await probe(_family_of(address), (address, goal.port), full=True)
    walk.note(ports.judge_mtu(address, probes[best][0], full))


def _note_rest(walk: Walk, report: FarReport, told_at: float, place: Place) -> None:
    theirs = report.facts.time if report.facts is not None else None
    if theirs is None and report.one("time").isdecimal():
        theirs = float(report.one("time")[:15])
    walk.note(judge.clock(None if theirs is None else theirs - told_at, place), 0.0)
    known_here = bool(terminfo_facts(walk.term)["known"])
    walk.note(judge.terminfo(report, walk.term, known_here=known_here, place=place), 0.0)
