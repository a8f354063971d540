"""The walk through jumphosts: each of them, the destination, and then every leg between two.

Each host is visited by ssh through those before it, one login for each; the visits stay until the
end, because while they last, somebody listens there in the place of a keeper that does not yet.
A leg is looked at from the host where it begins.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from trioet.bootstrap.hops import hop_targets
from trioet.bootstrap.jump import Jump, ssh_jumps
from trioet.bootstrap.relay_offer import MISSING_HINT
from trioet.bootstrap.spawn import SshTarget
from trioet.bootstrap.ssh_config import SshConfig
from trioet.bootstrap.ssh_sharing import shared_logins
from trioet.doctor import here, judge, ports
from trioet.doctor.far_report import FarReport
from trioet.doctor.finding import Finding, Outcome
from trioet.doctor.judge import Place
from trioet.doctor.ports import Goal
from trioet.doctor.remote_check import check_command
from trioet.doctor.visit import Visit, visit
from trioet.doctor.walk import (
    AFTER_LOGIN,
    Destination,
    Tell,
    Walk,
    goal_of,
    note_login,
    note_ports,
    note_shell,
    pay_visit,
    place_of,
    resolve_config,
    resolve_name,
)
from trioet.errors import StepFailed
from trioet.wire.messages import PROTOCOL_VERSION


@dataclass(frozen=True)
class _Hop:
    """A jumphost that was visited. ``target`` is for ssh, by connections that are there."""

    jump: Jump
    target: SshTarget
    config: SshConfig
    addresses: list[str]
    """From here; of the first only."""

    report: FarReport
    seen: Goal
    """Where sessions come to, when it was visited."""

    has_program: bool
    visit: Visit

    @property
    def name(self) -> str:
        """As the user calls it."""
        return self.jump.host

    @property
    def goal(self) -> Goal:
        """The same now: who stood in for a keeper has gone if the visit took long, as logins
        may that ask the user."""
        facts = self.report.facts
        if (
            self.visit.process.returncode is not None
            and facts is not None
            and facts.stand_in is not None
        ):
            return self.seen._replace(seen=False)
        return self.seen


async def examine_through(
    destination: Destination, jumps: Sequence[Jump], tell: Tell
) -> list[Finding]:
    """Look at everything between here and a session behind jumphosts.

    Cancellation ends ssh and closes what is open.

    Raises:
      UsageError: a path cannot be passed to every remote shell.
    """
    walk = Walk(tell)
    given = destination.target.config_file
    with shared_logins(given, [jump.host for jump in jumps], tempfile.gettempdir()) as shared:
        async with AsyncExitStack() as visits:
            hops: list[_Hop] = []
            for jump, shown in zip(jumps, hop_targets(jumps, given), strict=True):
                walk.hop = jump.host
                hop = await _visit_hop(walk, jump, shown, shared, not hops, visits)
                walk.hop = ""
                if hop is None:
                    walk.skip(f"{jump.host} is not passed", "login", *AFTER_LOGIN)
                    break
                hops.append(hop)
            config = None
            if len(hops) == len(jumps):
                config = await _visit_destination(walk, destination, jumps, shared, hops)
    walk.note(await here.agent(config, there=walk.agent_there))
    return walk.findings


async def _visit_hop(
    walk: Walk,
    jump: Jump,
    shown: SshTarget,
    shared: str | None,
    is_first: bool,
    visits: AsyncExitStack,
) -> _Hop | None:
    """What is to be said of one jumphost by itself; None if ssh does not pass it."""
    place = _place_of(shown)
    config = await resolve_config(walk, shown, place)
    if config is None:
        return None
    addresses = await resolve_name(walk, config) if is_first else []
    if is_first and not (addresses or config.proxy_jump or config.proxy_command):
        return None
    command = check_command(term=walk.term, server_fifo=jump.server_fifo, port=jump.port)
    target = shown._replace(config_file=shared)
    try:
        there = await visits.enter_async_context(visit(target, command, config.hostname))
    except StepFailed as error:
        walk.note(Finding("login", Outcome.FAILED, error.what, error.hint))
        return None
    if not await note_login(walk, there, place):
        return None
    report = await there.finished_report()
    if not await note_shell(walk, there, report, place):
        return None
    has_program = _note_relay(walk, jump, report, place)
    goal = goal_of(report, jump.port, place)
    return _Hop(jump, target, config, addresses, report, goal, has_program, there)


def _note_relay(walk: Walk, jump: Jump, report: FarReport, place: Place) -> bool:
    """Is there a program, and may it relay?"""
    program = judge.program(report, place)
    if elsewhere := report.one("elsewhere"):
        command = place.run(f"ln -s {shlex.quote(elsewhere)} .local/bin/trioet")
        fix = "--terminal-path is about the destination; a jumphost finds it in ~/.local/bin"
        program = replace(program, fix=fix, command=command)
    elif not report.one("program"):
        program = replace(program, fix=MISSING_HINT.format(jump.host))
    walk.note(program)
    if program.outcome is Outcome.FAILED:
        walk.skip("no program; sessions go through ssh", "relay")
        return False
    if there := report.facts:
        walk.note_unless_well(judge.version(report, PROTOCOL_VERSION, place))
        for finding in (
            judge.runtime(there, place),
            judge.linger(there, place),
            judge.keeper(there, place),
            judge.router(there, jump.server_fifo, place),
        ):
            walk.note_unless_well(finding)
    walk.note(judge.relay(report, place))
    return True


async def _visit_destination(
    walk: Walk,
    destination: Destination,
    jumps: Sequence[Jump],
    shared: str | None,
    hops: Sequence[_Hop],
) -> SshConfig | None:
    shown = destination.target._replace(jumps=ssh_jumps(jumps))
    place = _place_of(shown)
    command = check_command(
        term=walk.term,
        terminal_path=destination.terminal_path,
        server_fifo=destination.server_fifo,
        port=destination.port,
    )
    config = await resolve_config(walk, shown, place)
    if config is None:
        walk.skip("no ssh configuration", "login", *AFTER_LOGIN)
        return None
    hostname = config.hostname

    async def reach(goals: Sequence[Goal]) -> None:
        await _note_legs(walk, hops, hostname, goals[0])

    there = destination._replace(target=shown._replace(config_file=shared))
    await pay_visit(walk, there, config, command, place, reach)
    return config


def _place_of(target: SshTarget) -> Place:
    """By options that `trioet install` has too."""
    options = (*target.options, f"ProxyJump={target.jumps}") if target.jumps else target.options
    return place_of(target._replace(jumps=None, options=options))


async def _note_legs(walk: Walk, hops: Sequence[_Hop], hostname: str, goal: Goal) -> None:
    """From here to the first, and from each to the next."""
    first = hops[0]
    walk.hop = first.name
    if not first.has_program:
        walk.skip("no program", "port", "mtu")
    elif first.addresses:
        await note_ports(walk, first.addresses, first.goal)
    else:
        walk.skip("ssh gets there by a proxy", "port", "mtu")
    for hop, after in zip(hops, [*hops[1:], None], strict=True):
        walk.hop = hop.name
        host, there = (hostname, goal) if after is None else (after.config.hostname, after.goal)
        if hop.report.facts is None:
            walk.skip("no program that could look", "next")
        elif after is not None and not after.has_program:
            walk.skip(f"no program on {after.name}", "next")
        else:
            walk.note(await _look_from(walk, hop, host, there))
    walk.hop = ""


async def _look_from(walk: Walk, hop: _Hop, host: str, goal: Goal) -> Finding:
    command = check_command(term=walk.term, reach=(host, goal.port))
    async with visit(hop.target, command, hop.config.hostname) as there:
        report = await there.finished_report()
    return ports.judge_next(host, ports.probe_of_hop(report.facts), goal)
