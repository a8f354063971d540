"""What a backend is told first, and the hook that an application brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioet.errors import LocalError, UsageError
from trioet.scon.announcing import MAX_HOOKED, announcing, load_hook
from trioet.scon.session import HIDE_ADDRESS, Call

RECORDED = bytes.fromhex(
    "002e550308010241020ffc3132372e302eff00302e313a33373232e3340f313237ff002e302e302e313a320f31323439"
)
CALL = Call(b"t", 0, ("127.0.0.1", 37224), ("127.0.0.1", 21249))
HIDDEN = Call(b"t", HIDE_ADDRESS, ("127.0.0.1", 37224), ("127.0.0.1", 21249))


def test_nothing_is_announced_unless_asked_for() -> None:
    assert announcing()(CALL, 0) == b""


def test_sproto_is_what_the_real_goscon_sends_and_nothing_for_who_hides() -> None:
    assert announcing(3)(CALL, 0) == RECORDED
    assert announcing(3)(HIDDEN, 0) == b""


def test_proxy_comes_first_and_says_unknown_of_who_hides() -> None:
    assert announcing(3)(CALL, 1) == b"PROXY TCP4 127.0.0.1 127.0.0.1 37224 21249\r\n" + RECORDED
    assert announcing(3)(HIDDEN, 1) == b"PROXY UNKNOWN\r\n"
    assert announcing()(HIDDEN, 2).endswith(b"\x20\x00\x00\x00")


def test_a_hooks_bytes_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "our_hooks.py").write_text(
        "def announce(call):\n"
        "    return b'' if call.hides_address else b'HELLO %s\\n' % call.client[0].encode()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    announce = announcing(3, load_hook("our_hooks:announce"))

    assert announce(CALL, 0) == RECORDED + b"HELLO 127.0.0.1\n"
    assert announce(HIDDEN, 0) == b""


def test_a_hook_that_fails_costs_its_session_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def failing(call: Call) -> bytes:
        raise KeyError(call.target)

    for hook in (failing, lambda call: "text", lambda call: bytes(MAX_HOOKED + 1)):
        with pytest.raises(LocalError, match="hook"):
            announcing(hook=hook)(CALL, 0)  # type: ignore[arg-type]

    assert caplog.text.count("its session ends") == 3


@pytest.mark.parametrize("name", ["no_such_module:f", "os:no_such_function", "os:name"])
def test_a_hook_that_is_not_there_is_told_with_its_key(name: str) -> None:
    with pytest.raises(UsageError, match=r"upstream_option\.hook"):
        load_hook(name)
