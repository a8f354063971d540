"""Which keys are commands to the client."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.client.escapes import EscapeCommand, EscapeFilter, help_text

DISCONNECT, HELP, SUSPEND = EscapeCommand.DISCONNECT, EscapeCommand.HELP, EscapeCommand.SUSPEND


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (b"~.", [DISCONNECT]),
        (b"ls\r~.", [b"ls\r", DISCONNECT]),
        (b"ls\n~?", [b"ls\n", HELP]),
        (b"ls\r~\x1a", [b"ls\r", SUSPEND]),
        (b"ls\r~?more", [b"ls\r", HELP, b"more"]),
        (b"ls\r~?~.", [b"ls\r", HELP, DISCONNECT]),
        (b"~~", [b"~"]),
        (b"~~.", [b"~."]),
        (b"~~~.", [b"~~."]),
        (b"\r~~\r~.", [b"\r~\r", DISCONNECT]),
        (b"~x", [b"~x"]),
        (b"~x~.", [b"~x~."]),
        (b"~\r~.", [b"~\r", DISCONNECT]),
        (b"~/bin\r", [b"~/bin\r"]),
        (b"a~.", [b"a~."]),
        (b"\ra~.", [b"\ra~."]),
        (b"", []),
        (b"\r\r\r", [b"\r\r\r"]),
    ],
)
def test_commands_are_told_from_keys_as_ssh_does(
    typed: bytes, expected: list[bytes | EscapeCommand]
) -> None:
    assert EscapeFilter().feed(typed) == expected


def test_the_escape_character_waits_for_the_next_key() -> None:
    keys = EscapeFilter()

    assert keys.feed(b"\r~") == [b"\r"]
    assert keys.feed(b"") == []
    assert keys.feed(b"x") == [b"~x"]


@pytest.mark.parametrize("escape", [b"\x1d", b"^", b".", b"\\", b"]"])
def test_another_character_can_be_the_escape(escape: bytes) -> None:
    keys = EscapeFilter(escape)

    assert keys.feed(b"~?\r" + escape + b"?" + escape + escape) == [b"~?\r", HELP, escape]


def test_without_an_escape_everything_is_keys() -> None:
    assert EscapeFilter(None).feed(b"~.\r~.") == [b"~.\r~."]
    assert EscapeFilter(None).feed(b"") == []


def test_the_help_names_every_command_on_lines_for_a_raw_terminal() -> None:
    lines = help_text(b"~").split("\r\n")

    assert "\n" not in "".join(lines)
    assert [word in help_text(b"~") for word in ("~. ", "~^Z ", "~? ", "~~ ")] == [True] * 4
    assert "^]." in help_text(b"\x1d")


def ssh(typed: bytes, escape: bytes) -> list[bytes | EscapeCommand]:
    """The rules of ssh, one key at a time."""
    events: list[bytes | EscapeCommand] = []
    after_enter, pending = True, False
    for key in (bytes([byte]) for byte in typed):
        if pending:
            pending = False
            if key != escape:
                if key in (b".", b"?", b"\x1a"):
                    events.append(EscapeCommand(key))
                    continue
                events.append(escape)
        elif after_enter and key == escape:
            pending = True
            continue
        after_enter = key in (b"\r", b"\n")
        events.append(key)
    return joined(events)


def joined(events: list[bytes | EscapeCommand]) -> list[bytes | EscapeCommand]:
    result: list[bytes | EscapeCommand] = []
    for event in events:
        if isinstance(event, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += event
        else:
            result.append(event)
    return result


TYPING = st.lists(st.sampled_from(b"~~~\r\r\n.?\x1aab"), max_size=40).map(bytes)


@given(TYPING, st.lists(st.integers(1, 9)), st.sampled_from([b"~", b"a"]))
def test_slicing_never_changes_what_was_typed(typed: bytes, cuts: list[int], escape: bytes) -> None:
    keys, rest = EscapeFilter(escape), typed
    got: list[bytes | EscapeCommand] = []

    for size in cuts:
        got += keys.feed(rest[:size])
        rest = rest[size:]
    got += keys.feed(rest)

    assert joined(got) == ssh(typed, escape)
    assert EscapeFilter(escape).feed(typed) == ssh(typed, escape)


@given(st.binary(max_size=200))
def test_without_an_escape_character_nothing_is_changed(typed: bytes) -> None:
    typed = typed.replace(b"~", b"-")

    assert b"".join(part for part in EscapeFilter().feed(typed) if isinstance(part, bytes)) == typed
