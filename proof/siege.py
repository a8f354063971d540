"""A siege: strangers by the ten thousand, and one user who must not notice.

    python -m proof.siege                 # six minutes, as root or not
    python -m proof.siege --peer et       # the same against a real etserver on PATH
    python -m proof.siege --scale 0.01    # a minute: does it all work?

What happens to a server of its own, on loopback, in this order:

* **quiet**: a real user (a client program on a pty, through a real sshd) types, another
  connects again and again. These are the figures to compare with.
* **siege**: 10,000 connections of garbage and 10,000 idle ones, dribblers, attempts to take
  the user's sessions over with their ids, replayed recordings, hostile local processes (as
  nobody, if root runs this), all from SOURCES addresses. The users go on as before.
* **neighbours**: a tenth of it, all from the user's own address, as behind a NAT.
* **scarcity**: the server has SCARCE descriptors, and idle strangers hold them all.
* **return**: the user's connection, of RETURN_DELAY_S each way, is cut while strangers try
  from RETURN_SOURCES addresses try to take the session over; how long until it is back?

* **alone**, if the siege did harm: a twentieth of each attack by itself, on a fresh server.

A session that was open throughout is *disturbed* if its client ended, connected again, or
showed anything but the very bytes that were typed. Attackers run in processes of their own, at
NICENESS 10 and at the rates of :data:`proof.attacks.RATES`: they and the user share one
machine, and what is to be measured is the server, not the scheduler. Exit status 1: a
goal was missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import random
import resource
import select
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import processes
from bench.peers import PEERS, Peer, missing_programs
from bench.place import PROJECT, make_privilege_separation, private_place
from bench.sshd import make_keys
from bench.terminal import BenchError

from proof.attacks import DRIBBLERS, RATES, Plan, as_json
from proof.host import Host, descriptors
from proof.users import Person, Phase, Users, connect

STRANGERS: Final = 10_000
"""Connections of garbage, and as many idle ones."""

SOURCES: Final = 200
"""Addresses of 127/8 that attackers come from; the user's is another."""

USER_ADDRESS: Final = "127.0.0.1"
QUIET_S: Final = 60.0
SHORTEST_S: Final = 2.0
SCARCE: Final = 128
RETURN_DELAY_S: Final = 0.05
RETURN_SOURCES: Final = 20_000
"""So many that hardly one comes twice: a botnet's, or the /64s of one IPv6 network."""

RETURNS: Final = 5
RETURN_PATIENCE_S: Final = 60.0
SETTLE_S: Final = 30.0

CANNOT: Final = 77
"""Exit status: it cannot be run here."""

PHASES: Final = ("neighbours", "scarcity", "return", "alone")

CONNECT_GOAL_S: Final = 1.0
ECHO_GOAL: Final = 2.0
"""Times the quiet figure."""

RSS_GOAL: Final = 20 * 1024 * 1024


@contextmanager
def opened(kind: type[Peer]) -> Iterator[Host]:
    """A host whose server runs, and has seen one session.

    Raises:
      BenchError: it does not come to that.
    """
    with private_place() as place:
        make_keys(place)
        peer = kind(place)
        host = Host(peer)
        try:
            peer.start()
            connect(peer)  # starts the keeper, warms the caches
            yield host
        finally:
            left = set(host.servers().values())
            peer.stop()
            processes.end(left)


# The attack


def besiege(
    host: Host, users: Users, phase: Phase, counts: dict[str, int], seed: int, nat: bool
) -> None:
    """Have a server attacked; return when all attacks were begun and the attackers are gone."""
    router_socket, keeper_socket = host.local_sockets()
    plan = Plan(
        port=host.peer.server_port,
        seed=seed,
        sources=[USER_ADDRESS] if nat else addresses(SOURCES),
        counts={kind: count for kind, count in counts.items() if kind != "local"},
        client_ids=[person.wiretap.client_id() for person in users.persons],
        recordings=[said.hex() for p in users.persons for said in p.wiretap.recordings()],
    )
    plans = [plan]
    if "local" in counts and router_socket:
        local = dataclasses.replace(
            plan,
            counts={"local": counts["local"]},
            router_socket=router_socket,
            keeper_socket=keeper_socket,
            as_nobody=os.geteuid() == 0,
        )
        plans.append(local)
        if local.as_nobody:  # and from the user's own programs, where another's cannot get
            plans.append(dataclasses.replace(local, router_socket="", as_nobody=False))
    outcomes: Counter[str] = Counter()
    with ExitStack() as stack:
        for gang in [stack.enter_context(attacking(plan)) for plan in plans]:
            outcomes.update(wait_outcomes(gang))
    phase.outcomes = dict(sorted(outcomes.items()))


def addresses(count: int) -> list[str]:
    """So many of 127/8, none of them the user's."""
    return [f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(count)]


@contextmanager
def attacking(plan: Plan) -> Iterator[subprocess.Popen[bytes]]:
    """The attackers' process, from its plan to its end."""
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}"}
    command = [sys.executable, "-P", "-m", "proof.attacks"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as gang:
        assert gang.stdin is not None
        try:
            gang.stdin.write(as_json(plan))
            gang.stdin.flush()
            yield gang
            gang.stdin.close()
            gang.wait(SETTLE_S)
        finally:
            gang.kill()


def wait_outcomes(gang: subprocess.Popen[bytes]) -> dict[str, int]:
    """Wait until all attacks were begun; return how they were received.

    Raises:
      BenchError: the attackers have failed.
    """
    assert gang.stdout is not None
    select.select([gang.stdout], [], [])
    line = gang.stdout.readline()
    if not line:
        raise BenchError("the attackers ended before they had done")
    outcomes: dict[str, int] = json.loads(line)
    return outcomes


def all_kinds(scale: float) -> dict[str, int]:
    """How many of each: all last as long as the longest."""
    strangers = max(1, round(STRANGERS * scale))
    lasts = max(strangers / RATES["garbage"], strangers / RATES["idle"])
    counts = {kind: max(1, round(rate * lasts)) for kind, rate in RATES.items()}
    return {**counts, "garbage": strangers, "idle": strangers, "dribble": DRIBBLERS}


# The phases


def quiet_and_siege(kind: type[Peer], scale: float, seed: int) -> tuple[Phase, Phase]:
    """What users have in quiet, and under siege."""
    quiet, siege = Phase("quiet"), Phase("siege")
    with opened(kind) as host, ExitStack() as stack:
        users = Users(host, stack)
        with users.busy(quiet):
            time.sleep(min(QUIET_S, max(SHORTEST_S, QUIET_S * scale)))
        attacked(host, users, siege, all_kinds(scale), seed)
    return quiet, siege


def attacked(
    host: Host,
    users: Users,
    phase: Phase,
    counts: dict[str, int],
    seed: int,
    *,
    nat: bool = False,
) -> None:
    """Let users work while the server is attacked, then look what is left of it."""
    before = host.settled()
    with users.busy(phase):
        besiege(host, users, phase, counts, seed, nat)
    deadline = time.monotonic() + SETTLE_S
    while True:
        after = host.settled()
        if descriptors(after) == descriptors(before) or time.monotonic() > deadline:
            break
    for part in before.keys() & after.keys():
        phase.growth[part] = after[part].rss - before[part].rss
        phase.leaked[part] = after[part].descriptors - before[part].descriptors


def neighbours(kind: type[Peer], scale: float, seed: int) -> Phase:
    """The same from the user's own address."""
    phase = Phase("neighbours")
    with opened(kind) as host, ExitStack() as stack:
        users = Users(host, stack)
        attacked(host, users, phase, all_kinds(scale / 10), seed, nat=True)
    return phase


def scarcity(kind: type[Peer], seed: int) -> Phase:
    """A server without descriptors, which strangers hold."""
    phase = Phase("scarcity")
    with opened(kind) as host, ExitStack() as stack:
        users = Users(host, stack)
        for part, pid in host.servers().items():
            if part != "keeper":
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (SCARCE, SCARCE))
        attacked(host, users, phase, {"idle": 3 * SCARCE, "dribble": DRIBBLERS}, seed)
    return phase


def coming_back(kind: type[Peer], name: str, seed: int, attempts: int = 0) -> Phase:
    """Cut a distant user's connection, again and again, and see how long it is away."""
    phase = Phase(name)
    with opened(kind) as host, ExitStack() as stack:
        person = Person(host.peer, "traveller", stack, RETURN_DELAY_S)
        if attempts:
            plan = Plan(
                port=host.peer.server_port,
                seed=seed,
                sources=addresses(RETURN_SOURCES),
                counts={"takeover": attempts},
                client_ids=[person.wiretap.client_id()],
            )
            stack.enter_context(attacking(plan))
        try:
            for _ in range(RETURNS):
                person.press()
                time.sleep(1.0)
                person.wiretap.cut()
                phase.returns.append(person.press(RETURN_PATIENCE_S))
        except BenchError as error:
            person.troubles.append(str(error))
        phase.disturbed = person.troubles + person.losses()
    return phase


def one_by_one(kind: type[Peer], scale: float, seed: int) -> Iterator[Phase]:
    """Each kind of attack by itself on a fresh server: which of them does the harm?"""
    for name, count in all_kinds(scale).items():
        if name == "local" and kind.name != "trioet":
            continue
        phase = Phase(f"{name} alone")
        with opened(kind) as host, ExitStack() as stack:
            attacked(host, Users(host, stack), phase, {name: count}, seed)
        yield phase


# The table


@dataclass(frozen=True)
class Goal:
    """A figure, what it should be, and whether it is. ``met`` is None where nothing was asked."""

    phase: str
    name: str
    figure: str
    limit: str = ""
    met: bool | None = None
    timing: bool = False


def quantile(times: Sequence[float], share: float) -> float:
    """The smallest of ``times`` that ``share`` of them do not exceed; infinite without any."""
    if not times:
        return math.inf
    return sorted(times)[max(0, math.ceil(share * len(times)) - 1)]


def goals(phases: Sequence[Phase]) -> Iterator[Goal]:
    """Everything to be told."""
    for phase in phases:
        own = phase.name
        strict = own == "siege"
        if phase.connects or phase.refused:
            p99 = quantile(phase.connects, 0.99)
            yield Goal(
                own,
                f"connect p50 / p99, s, of {len(phase.connects)}",
                f"{quantile(phase.connects, 0.5):.2f} / {p99:.2f}",
                f"p99 < {CONNECT_GOAL_S:g}" if strict else "",
                p99 < CONNECT_GOAL_S if strict else None,
                timing=True,
            )
            yield Goal(own, "connects refused", str(len(phase.refused)), "0", not phase.refused)
        if phase.echoes:
            p99, limit = quantile(phase.echoes, 0.99), ECHO_GOAL * quantile(phases[0].echoes, 0.99)
            yield Goal(
                own,
                f"echo p50 / p99, ms, of {len(phase.echoes)}",
                f"{1000 * statistics.median(phase.echoes):.1f} / {1000 * p99:.1f}",
                f"p99 < {1000 * limit:.1f}" if strict else "",
                p99 < limit if strict else None,
                timing=True,
            )
        if phase.returns:
            yield Goal(
                own,
                f"back after, s, p50 / most of {len(phase.returns)}",
                f"{quantile(phase.returns, 0.5):.2f} / {max(phase.returns):.2f}",
                timing=True,
            )
        yield Goal(own, "sessions disturbed", str(len(phase.disturbed)), "0", not phase.disturbed)
        if phase.deaths:
            yield Goal(own, "servers ended", ", ".join(phase.deaths), "none", False)
        for part, most in sorted(phase.peaks.items()):
            if part not in phase.growth:
                continue
            yield Goal(
                own,
                f"RSS of the {part}: most / left over, MiB",
                f"{most / 2**20:+.1f} / {phase.growth[part] / 2**20:+.1f}",
                f"< {RSS_GOAL / 2**20:g}",
                max(most, phase.growth[part]) < RSS_GOAL,
            )
            left = phase.leaked[part]
            yield Goal(own, f"descriptors of the {part}", f"{left:+d}", "+0", left == 0)


def table(found: Sequence[Goal]) -> str:
    """For people."""
    verdicts = {True: "met", False: "MISSED", None: ""}
    rows = [("phase", "", "figure", "goal", "verdict")]
    rows += [(g.phase, g.name, g.figure, g.limit, verdicts[g.met]) for g in found]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]
        ).rstrip()
        for row in rows
    )


def run(kind: type[Peer], wanted: Sequence[str], scale: float, seed: int) -> Iterator[Phase]:
    """The wanted phases; each attack alone, too, if together they did harm.

    Raises:
      BenchError: a server cannot be started.
    """
    quiet, siege = quiet_and_siege(kind, scale, seed)
    yield from (quiet, siege)
    if "neighbours" in wanted:
        yield neighbours(kind, scale, seed + 1)
    if "scarcity" in wanted:
        yield scarcity(kind, seed + 2)
    if "return" in wanted:
        yield coming_back(kind, "return, quiet", seed)
        yield coming_back(kind, "return", seed + 3, round(600 * RATES["takeover"]))
    if "alone" in wanted and (siege.disturbed or siege.deaths):
        yield from one_by_one(kind, scale / 20, seed)


def main() -> int:
    """Hold the siege; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m proof.siege", description="A user under siege: figures and verdicts."
    )
    parser.add_argument("--scale", type=float, default=1.0, help="how many strangers (1: 20,000)")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--peer", choices=("trioet", "et"), default="trioet")
    parser.add_argument(
        "--phases",
        nargs="*",
        choices=PHASES,
        default=PHASES,
        help="what to do besides quiet and siege (all)",
    )
    parser.add_argument("--json", metavar="FILE", help="all figures")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    (kind,) = [peer for peer in PEERS if peer.name == options.peer]
    if missing := missing_programs(kind):
        sys.stderr.write(f"no siege of {kind.title}: {', '.join(missing)} not on PATH\n")
        return CANNOT
    processes.adopt_orphans()
    make_privilege_separation()
    print(f"{kind.title}, seed {seed}, scale {options.scale:g}", flush=True)
    phases: list[Phase] = []
    trouble = ""
    try:
        for phase in run(kind, options.phases, options.scale, seed):
            phases.append(phase)
            sys.stderr.write(f"{phase.name}: done\n")
    except (BenchError, KeyboardInterrupt) as error:
        trouble = f"not finished: {error or 'interrupted'}"
    finally:
        processes.end_all_descendants()
    found = list(goals(phases))
    print(table(found))
    if trouble:
        print(trouble)
    for phase in phases:
        for what in [*phase.disturbed[:5], *phase.refused[:3]]:
            print(f"{phase.name}: {what}")
    if options.json:
        told = {
            "seed": seed,
            "goals": [dataclasses.asdict(goal) for goal in found],
            "phases": [dataclasses.asdict(phase) for phase in phases],
        }
        Path(options.json).write_text(json.dumps(told, indent=1) + "\n")
    return int(bool(trouble) or any(goal.met is False for goal in found))


if __name__ == "__main__":
    sys.exit(main())
