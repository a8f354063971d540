"""What probes of a port mean: no I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from trioet.doctor.far_report import FarFacts
from trioet.doctor.finding import Finding, Outcome
from trioet.doctor.probe import CONNECT_DEADLINE_S, Probe, Reached, read_answer
from trioet.link.srv import NOWHERE, SERVICE, Record

WELL, WORTH_KNOWING, FAILED, SKIPPED = Outcome

HEADERS: Final = {4: 20 + 20 + 12, 6: 40 + 20 + 12}
"""Bytes of IP, TCP and its timestamps (RFC 7323) in every packet."""

ETHERNET_MTU: Final = 1500

LEAST_MTU: Final = 1280
"""Any link of IPv6 carries this much (RFC 8200, 5); below it something is odd."""


class Goal(NamedTuple):
    """Which port, and who should be there."""

    port: int
    who: str
    """As people know it: a router, a keeper, the stand-in of one, an etserver."""

    seen: bool
    """Somebody listens there, as seen from the inside."""

    needed: bool
    """Somebody must listen there already; else the keeper will, for a session."""

    start: str
    """How to start the one who should."""


def is_ipv4(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).version == 4


def judge_port(address: str, probe: Probe, goal: Goal, *, another: str = "") -> Finding:
    """One address and port. ``another`` is what is all right, an address or a port, so that this
    one may fail."""
    facts = {
        "address": address,
        "port": goal.port,
        "family": "IPv4" if is_ipv4(address) else "IPv6",
        "reached": probe.reached.value,
        "words": probe.words,
    }
    where = f"{address} port {goal.port}"
    if probe.reached is Reached.SPEAKS:
        return Finding("port", WELL, f"{where} reached, {goal.who}", facts=facts)
    if probe.reached is Reached.REFUSED and not (goal.seen or goal.needed):
        what = f"{where} reached, nobody listens before there is a session"
        return Finding("port", WELL, what, facts=facts)
    if probe.reached is Reached.PARKED:
        what = f"{where} reached, {goal.who} has just started and answers no stranger yet"
        return Finding("port", WORTH_KNOWING, what, "look again in 20 s", facts)
    what, fix = _trouble(probe, where, goal)
    command = goal.start if probe.reached is Reached.REFUSED and not goal.seen else ""
    if goal.seen and not probe.connected:
        fix = f"until it can be reached, sessions go through ssh: {fix}"
    if another:
        return Finding("port", WORTH_KNOWING, what, f"none needed: another {another} works", facts)
    return Finding("port", FAILED, what, fix, facts, command=command)


def probe_of_hop(there: FarFacts | None) -> Probe | None:
    """The probe that was made on a jumphost; None if it made none."""
    if there is None:
        return None
    match there.reach_state:
        case "connected":
            with suppress(ValueError):
                answered = read_answer(bytes.fromhex(there.reach_answer))
                return Probe(*(answered or (Reached.SILENT, "")))
        case "refused":
            return Probe(Reached.REFUSED)
        case "dropped":
            return Probe(Reached.DROPPED)
        case "unreachable":
            return Probe(Reached.UNREACHABLE, there.reach_words)
    return None


def judge_next(host: str, probe: Probe | None, goal: Goal) -> Finding:
    """Does a jumphost reach what is next on the way? ``probe`` was made there, if it could be."""
    where = f"{host} port {goal.port}"
    if probe is None:
        what = f"whether {where} is reached: the trioet there is older, and does not look"
        return Finding("next", SKIPPED, what)
    facts = {"host": host, "port": goal.port, "reached": probe.reached.value, "words": probe.words}
    if probe.reached is Reached.SPEAKS:
        return Finding("next", WELL, f"reaches {where}, {goal.who}", facts=facts)
    if probe.reached in (Reached.SILENT, Reached.CLOSED, Reached.PARKED):
        return Finding("next", WELL, f"reaches {where}", facts=facts)
    if probe.reached is Reached.REFUSED and not (goal.seen or goal.needed):
        what = f"reaches {where}; nobody listens before there is a session"
        return Finding("next", WELL, what, facts=facts)
    what, fix = _trouble(probe, where, goal)
    command = goal.start if probe.reached is Reached.REFUSED and not goal.seen else ""
    fix = f"until it is reached, sessions go through ssh: {fix}"
    return Finding("next", FAILED, f"cannot reach {what}", fix, facts, command=command)


def judge_srv(host: str, records: Sequence[Record]) -> Finding:
    """Which servers the records of a host name."""
    servers = [f"{record.target}:{record.port}" for record in records]
    facts = {"servers": servers}
    if not records:
        what = f"{host} has no {SERVICE}: the same as without --srv"
        return Finding("srv", WORTH_KNOWING, what, facts=facts)
    if all(record.target == NOWHERE for record in records):
        what = f"{host} says by its record that no server is there"
        return Finding("srv", FAILED, what, "leave --srv away; its ports are tried then", facts)
    return Finding("srv", WELL, ", ".join(servers), facts=facts)


def judge_srv_failure(host: str, why: str) -> Finding:
    """The records could not be looked up."""
    what = f"{SERVICE} of {host} could not be looked up: {why}"
    return Finding("srv", WORTH_KNOWING, what, "the host's own ports are tried instead")


def _trouble(probe: Probe, where: str, goal: Goal) -> tuple[str, str]:
    port = goal.port
    match probe.reached:
        case Reached.DROPPED:
            return (
                f"{where}: no answer within {CONNECT_DEADLINE_S:g} s, a firewall drops it",
                f"open TCP port {port} there (e.g. sudo ufw allow {port}/tcp, and the cloud's "
                "security group), or -p names another",
            )
        case Reached.REFUSED if goal.seen:
            return (
                f"{where}: refused; {goal.who} listens, so a firewall rejects it",
                f"open TCP port {port} there (e.g. sudo ufw allow {port}/tcp), or -p names another",
            )
        case Reached.REFUSED:
            return f"{where}: refused, no server listens", "start it, or -p names another port"
        case Reached.UNREACHABLE:
            return f"{where}: {probe.words}", "is there a route there? A VPN may be needed"
        case Reached.STRANGER:
            said = f": {probe.words}" if probe.words else ""
            return (
                f"{where}: something else answers{said}",
                "-p names the port of the trioet or ET server; it is never sshd's",
            )
        case Reached.MISMATCHED:
            return f"{where}: speaks another version of the protocol", "update the older side"
        case Reached.CLOSED:
            return (
                f"{where}: hangs up on us",
                "something else listens there, or a proxy with nobody behind it; -p names "
                "another port",
            )
        case _:
            return (
                f"{where}: accepts, and says nothing",
                "something else listens there, or a proxy with nobody behind it; -p names "
                "another port",
            )


def judge_mtu(address: str, small: Probe, full: Probe) -> Finding:
    """Do full packets get through? ``small`` is what came of few bytes, ``full`` of many."""
    facts = {"address": address, "mtu": full.mtu, "mss": full.mss}
    if full.reached not in (small.reached, Reached.SILENT, Reached.DROPPED):
        return Finding("mtu", SKIPPED, "the server takes no long request", facts=facts)
    if full.reached is not small.reached:
        what = f"small packets reach {address}, full ones vanish: a black hole for MTU {small.mtu}"
        fix = f"mend the tunnel in between, or (`ip route get {address}` names DEV)"
        command = f"sudo ip link set mtu {LEAST_MTU} dev DEV"
        return Finding("mtu", FAILED, what, fix, facts, command=command)
    mtu = full.mtu
    if mtu is None:
        return Finding("mtu", SKIPPED, "the kernel does not tell")
    agreed = (full.mss or ETHERNET_MTU) + HEADERS[4 if is_ipv4(address) else 6]
    if agreed < ETHERNET_MTU:
        mtu = min(mtu, agreed)  # the path might take more, but the ends do not
        facts["mtu"] = mtu
    if mtu < LEAST_MTU:
        what = f"{mtu}, small: works, but bulk data is slower"
        return Finding("mtu", WORTH_KNOWING, what, "is there a tunnel inside a tunnel?", facts)
    return Finding("mtu", WELL, f"{mtu}, full packets get through", facts=facts)


def order(addresses: Sequence[str]) -> list[str]:
    """Without repetitions, in the resolver's order."""
    return list(dict.fromkeys(addresses))
