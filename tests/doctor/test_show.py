from __future__ import annotations

import io
import json

import pytest

from trioet.doctor.finding import Finding, Outcome
from trioet.doctor.show import INDENT, Report, as_json, is_well, speaks_utf8

GOOD = Finding("name", Outcome.WELL, "192.0.2.1", took_s=0.0123, facts={"addresses": ["192.0.2.1"]})
ODD = Finding("clock", Outcome.WORTH_KNOWING, "9 s behind", "set it…")
BAD = Finding("port", Outcome.FAILED, "dropped", "open it", command="open 2022")


@pytest.fixture(autouse=True)
def utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")


class Terminal(io.TextIOWrapper):
    """What a terminal is to whoever prints."""

    def isatty(self) -> bool:
        return True


def shown(
    *findings: Finding, encoding: str = "utf-8", kind: type[io.TextIOWrapper] = io.TextIOWrapper
) -> str:
    raw = io.BytesIO()
    report = Report(kind(raw, encoding=encoding))
    for finding in findings:
        report.add(finding)
    report.end(findings)
    return raw.getvalue().decode(encoding)


def test_a_step_is_a_line_and_what_to_do_another_below_its_text() -> None:
    first, second, third, fourth, *_ = shown(GOOD, BAD).splitlines()

    assert first == "✓ name           12 ms  192.0.2.1"
    assert second == "✗ port            0 ms  dropped"
    assert third == " " * INDENT + "open it"
    assert fourth == " " * INDENT + "$ open 2022"
    assert first.index("192") == second.index("dropped") == INDENT


def test_what_was_skipped_for_one_reason_is_one_line() -> None:
    skipped = [Finding(step, Outcome.SKIPPED, "no login") for step in ("shell", "router")]
    other = Finding("mtu", Outcome.SKIPPED, "no connection")

    lines = shown(*skipped, other, GOOD).splitlines()

    assert [line.split(None, 2)[2] for line in lines[:2]] == [
        "no login: login shell, router",
        "no connection: path MTU",
    ]


def test_at_the_end_is_said_what_it_comes_to() -> None:
    assert shown(GOOD).endswith("\n\nAll is well.\n")
    assert shown(GOOD, ODD).endswith("\n\nAll is well. Worth knowing: clock.\n")
    assert shown(BAD, BAD, ODD).endswith("\n\nTo mend: port.\n")


def test_a_locale_without_utf_8_gets_ascii() -> None:
    text = shown(GOOD, ODD, BAD, encoding="ascii")
    assert [line[0] for line in text.splitlines() if line[:1].strip()][:3] == ["+", "!", "x"]
    assert "set it..." in text


@pytest.mark.parametrize(
    ("environment", "speaks"),
    [
        ({}, False),
        ({"LANG": "de_DE.UTF-8"}, True),
        ({"LANG": "de_DE.utf8"}, True),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "C", "LC_CTYPE": "de_DE.UTF-8"}, True),
        ({"LANG": "de_DE.UTF-8", "LC_CTYPE": "de_DE.ISO-8859-1"}, False),
    ],
)
def test_the_locale_is_the_user_s(environment: dict[str, str], speaks: bool) -> None:
    assert speaks_utf8(environment) is speaks


def test_a_terminal_gets_colours_unless_it_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m✗\x1b[0m" in shown(BAD, kind=Terminal)
    assert "\x1b" not in shown(BAD)
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b" in shown(BAD, kind=Terminal)  # no-color.org: empty is as if it were not set
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown(BAD, kind=Terminal)


def test_long_text_is_wrapped_below_itself_and_commands_are_not() -> None:
    long = "word " * 60
    text = shown(Finding("port", Outcome.FAILED, long, long, command=long))
    *wrapped, command, _, _ = text.splitlines()
    assert all(len(line) <= 110 for line in wrapped)
    assert all(line.startswith(" " * INDENT) for line in wrapped[1:])
    assert command == f"    $ {long}"


def test_programs_get_one_object_with_all_of_it() -> None:
    report = json.loads(as_json("far", [GOOD, BAD]))

    assert report["host"] == "far"
    assert report["well"] is False
    assert report["steps"][0] == {
        "step": "name",
        "hop": "",
        "outcome": "ok",
        "what": "192.0.2.1",
        "fix": "",
        "command": "",
        "took_s": 0.0123,
        "facts": {"addresses": ["192.0.2.1"]},
    }


def test_only_what_failed_is_wrong() -> None:
    assert is_well([GOOD, ODD, Finding("mtu", Outcome.SKIPPED, "")])
    assert not is_well([GOOD, BAD])
