"""`trioet terminal`, run as ssh runs it, with a real keeper."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from keepers import end_keepers
from trioet.bootstrap.credentials import PLACEHOLDER
from trioet.bootstrap.invitation import Invitation, parse_invitation

RUN = """
import sys
from trioet.cli.terminal import main
status = main(sys.argv[1:])
imported = {"argparse", "trio", "nacl", "google", "asyncssh"} & set(sys.modules)
assert not imported, "ssh waits for that"
sys.exit(status)
"""


def invited(*words: str) -> Invitation:
    """Run it with a stdin on which nothing comes, and which does not end."""
    silent, kept_open = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", RUN, *words],
            stdin=silent,
            capture_output=True,
            timeout=60,
            check=True,
        )
    finally:
        os.close(silent)
        os.close(kept_open)
    return parse_invitation(done.stdout)


def test_who_is_told_the_terminal_waits_for_nothing_on_stdin(runtime_dir: Path) -> None:
    try:
        first, second = invited("--term=screen"), invited("--term=screen")
        assert not first.client_id.startswith(PLACEHOLDER)
        assert first.passkey != second.passkey
        assert first.client_id != second.client_id
    finally:
        end_keepers(runtime_dir)
