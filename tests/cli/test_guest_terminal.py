"""`trioet terminal --guest`, run as ssh runs it, with a keeper that is real, or older."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from keepers import end_keepers, keepers_in
from trioet.bootstrap.credentials import new_real_credentials
from trioet.bootstrap.guest_line import MAX_GUEST_LINE, NUMBERS, guest_line
from trioet.server.request import REFUSED

WHO = new_real_credentials()
GRANTED = dict.fromkeys(NUMBERS, 1)
RUN = """
import sys
from trioet.cli.terminal import main
status = main(["--guest"])
assert not {"trio", "nacl", "google", "asyncssh"} & set(sys.modules), "ssh waits for that"
sys.exit(status)
"""


def ask(line: bytes) -> dict[str, str]:
    """Run it with that line; return what it says went wrong, or the offer."""
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=line, capture_output=True, timeout=60, check=False
    )
    kind, _, details = done.stdout.partition(b":")
    assert (kind, done.returncode, done.stderr) in [
        (b"TRIOET-GUEST", 0, b""),
        (b"TRIOET-ERROR", 1, b""),
    ]
    assert WHO.passkey.encode() not in done.stdout
    said: dict[str, str] = json.loads(details)
    return said


def line(*argv: str, **granted: int) -> bytes:
    return guest_line(WHO, "xterm", list(argv), GRANTED | granted, write=False)


def test_a_session_is_opened_and_its_key_not_said(runtime_dir: Path) -> None:
    try:
        offer = ask(line("sh", "-c", "x"))
        assert set(offer) == {"version", "socket", "ports"}
        assert len(keepers_in(runtime_dir)) == 1
    finally:
        end_keepers(runtime_dir)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (b"", "a line of JSON"),
        (f"{WHO.client_id}/{WHO.passkey}_xterm\n".encode(), "a line of JSON"),
        (b"{}\n", "a guest's command"),
        (b"x" * (2 * MAX_GUEST_LINE), "a line of JSON"),
        (line("no-such-command"), "no-such-command: there is no such command"),
    ],
    ids=["nothing", "a session's line", "an empty object", "too much", "no command"],
)
def test_what_makes_no_sense_starts_nothing(runtime_dir: Path, said: bytes, what: str) -> None:
    assert what in ask(said)["what"]
    assert keepers_in(runtime_dir) == []


def test_the_keeper_judges_what_is_granted(runtime_dir: Path) -> None:
    try:
        assert "close_signal is no number" in ask(line("sh", close_signal=99))["what"]
    finally:
        end_keepers(runtime_dir)


def test_an_older_keeper_is_told_of(runtime_dir: Path) -> None:
    what = "a request that this keeper does not know; is it an older trioet's?"
    refusal = REFUSED + json.dumps({"step": "keeper", "what": what, "hint": ""}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime_dir / "keeper.sock"))
        listener.listen()
        listener.settimeout(20)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(65536):
                    pass
                connection.sendall(refusal)

        thread = threading.Thread(target=answer)
        thread.start()
        said = ask(line("sh"))
        thread.join(20)
    assert said["step"] == "guest"
    assert "older trioet's, which knows no guests" in said["what"]
