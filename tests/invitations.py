"""What `trioet terminal` prints on the far side, copied to where a test can read it."""

from __future__ import annotations

import re
from pathlib import Path

from farside import FarSide


def tell_on(far_side: FarSide, copy: Path) -> None:
    """Have it copied, from now on."""
    script = (far_side.sshd.bin / "trioet").read_text()
    far_side.sshd.put_program("trioet-real", script.partition("\n")[2])
    far_side.sshd.put_program("trioet", f'trioet-real "$@" | tee {copy}')


def told_in(copy: Path) -> tuple[bytes, bytes]:
    """The client id and the passkey of the one session that was asked for."""
    (pair,) = re.findall(rb"IDPASSKEY:(\w{16})/(\w{32})", copy.read_bytes())
    client_id, passkey = pair
    return client_id, passkey
