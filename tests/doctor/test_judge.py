"""What facts mean, where a test cannot make the machine: logind, hung servers, old Pythons."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trioet import __version__
from trioet.bootstrap.invitation import MAX_NOISE
from trioet.doctor import judge
from trioet.doctor.far_report import FarFacts, FarReport
from trioet.doctor.finding import Finding, Outcome
from trioet.doctor.judge import Place
from trioet.server.places import SYSTEM_ROUTER_SOCKET

FAR = Place("far", "ssh far")
WELL = FarFacts(
    version=__version__,
    protocol=6,
    user="me",
    runtime_path="/run/user/7/trioet",
    runtime_exists=True,
    runtime_mode="0700",
    keeper_state="none",
    logind=True,
    kills=False,
    lingers=False,
    router_state="none",
    router_socket=SYSTEM_ROUTER_SOCKET,
)


def router(server_fifo: str | None = None, **facts: object) -> Finding:
    return judge.router(replace(WELL, **facts), server_fifo, FAR)  # type: ignore[arg-type]


def test_logind_that_kills_what_a_login_leaves_needs_linger() -> None:
    found = judge.linger(replace(WELL, kills=True), FAR)
    assert found.outcome is Outcome.FAILED
    assert found.command == "ssh far 'loginctl enable-linger'"
    assert judge.linger(replace(WELL, kills=True, lingers=True), FAR).outcome is Outcome.WELL
    assert judge.linger(replace(WELL, logind=False), FAR).outcome is Outcome.WELL


def test_a_keeper_that_hangs_leads_to_its_log() -> None:
    found = judge.keeper(replace(WELL, keeper_state="silent"), FAR)
    assert found.outcome is Outcome.FAILED
    assert found.command == "ssh far 'tail /run/user/7/trioet/keeper.log'"


def test_a_keeper_of_another_version_is_all_right() -> None:
    running = replace(WELL, keeper_state="runs")
    assert judge.keeper(running, FAR).what == "runs, an older one"
    told = replace(running, keeper_sessions=1, keeper_version="0.0.9")
    assert judge.keeper(told, FAR).what == "runs, 1 session, still version 0.0.9"
    assert judge.keeper(told, FAR).outcome is Outcome.WELL


def test_a_router_that_hangs_may_be_restarted() -> None:
    found = router(router_state="silent")
    assert found.outcome is Outcome.FAILED
    assert found.command == "ssh far 'sudo systemctl restart trioet'"


def test_a_router_that_may_not_be_reached_is_one_only_if_it_was_asked_for() -> None:
    assert router(router_state="denied").outcome is Outcome.WORTH_KNOWING
    assert router("/its/socket", router_state="denied").outcome is Outcome.FAILED


def test_the_router_that_was_asked_for_must_be_there() -> None:
    assert router().outcome is Outcome.WELL
    assert router("/its/socket").outcome is Outcome.FAILED


def test_a_router_that_is_down_is_started_as_what_it_was() -> None:
    system = router(keeper_waits_for=SYSTEM_ROUTER_SOCKET)
    assert system.command == "ssh far 'sudo systemctl start trioet'"
    own = router(keeper_waits_for="/run/user/7/trioet/router.sock")
    assert own.command == "ssh far 'trioet serve'"
    assert {system.outcome, own.outcome} == {Outcome.WORTH_KNOWING}


def test_on_this_machine_commands_are_for_this_machine() -> None:
    found = judge.linger(replace(WELL, kills=True), Place())
    assert found.command == "loginctl enable-linger"


@pytest.mark.parametrize(
    ("problem", "command"),
    [
        ("/run/user/7/trioet belongs to uid 0; it must be yours", "sudo chown -R me"),
        ("/run/user/7/trioet is open to others; make it private", "chmod 700"),
        ("/run/user/7/trioet is not a directory; trioet", "mv /run/user/7/trioet"),
        ("/run/user may not be written", ""),
    ],
)
def test_each_trouble_with_the_runtime_directory_has_its_cure(problem: str, command: str) -> None:
    found = judge.runtime(replace(WELL, runtime_problem=problem), FAR)
    assert found.outcome is Outcome.FAILED
    assert found.what == problem.partition(";")[0]
    assert command in found.command
    assert found.command or "TRIOET_RUNTIME_DIR" in found.fix


def test_another_protocol_is_wrong_and_another_version_is_not() -> None:
    other = FarReport(facts=replace(WELL, version="9.9"))
    assert judge.version(other, 6, FAR).outcome is Outcome.WELL
    assert judge.version(other, 6, FAR).what == f"{__version__}, there 9.9"
    found = judge.version(other, 7, FAR)
    assert found.outcome is Outcome.FAILED
    assert found.command == "trioet install far"


@pytest.mark.parametrize(
    ("python", "installers", "asks_for_python"),
    [
        ("Python 3.9.2", (), True),
        ("sh: python3: not found", ("pip",), True),
        ("Python 3.9.2", ("uv",), False),
        ("Python 3.11.0", (), False),
        ("Python 4.0", (), False),
        ("", (), True),
    ],
)
def test_an_old_python_is_told_unless_uv_brings_a_new_one(
    python: str, installers: tuple[str, ...], asks_for_python: bool
) -> None:
    report = FarReport(said={"python": (python,), "installer": installers})
    found = judge.program(report, FAR)
    assert found.command == "trioet install far"
    assert ("needs Python 3.11" in found.fix) is asks_for_python


def test_more_noise_than_connect_takes_is_wrong() -> None:
    said = {"stdin": ("1",), "shell": ("/bin/bash",)}
    outcomes = [
        judge.shell(FarReport(noise=noise, said=said), FAR).outcome
        for noise in (0, 1, MAX_NOISE, MAX_NOISE + 1)
    ]
    assert outcomes == [
        *(Outcome.WELL, Outcome.WORTH_KNOWING, Outcome.WORTH_KNOWING, Outcome.FAILED)
    ]


def test_clocks_may_differ_and_are_told_from_when_it_shows() -> None:
    assert judge.clock(4.9, FAR).outcome is Outcome.WELL
    assert judge.clock(-600, FAR).what.startswith("600 s behind ours")
    assert judge.clock(600, FAR).what.startswith("600 s ahead of ours")
    assert judge.clock(600, FAR).outcome is Outcome.WORTH_KNOWING
    assert judge.clock(None, FAR).outcome is Outcome.SKIPPED


def test_a_terminal_that_we_know_can_be_taught() -> None:
    report = FarReport(facts=replace(WELL, term_known=False))
    taught = judge.terminfo(report, "foot", known_here=True, place=FAR)
    assert taught.command == "infocmp -x foot | ssh far 'tic -x -'"
    assert not judge.terminfo(report, "foot", known_here=False, place=FAR).command
