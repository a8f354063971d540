"""What probes of a port mean: no I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final, NamedTuple

from trioet.doctor.finding import Finding, Outcome
from trioet.doctor.probe import CONNECT_DEADLINE_S, Probe, Reached

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


def judge_port(address: str, probe: Probe, goal: Goal, *, another: bool) -> Finding:
    """One address. ``another``: some other address is all right, so that this one may fail."""
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
        return Finding("port", WORTH_KNOWING, what, "none needed: another address works", facts)
    return Finding("port", FAILED, what, fix, facts, command=command)


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
