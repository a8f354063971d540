"""The credentials of a session, and the line that brings them to the far side's stdin.

In: ``id/passkey_TERM`` (Eternal Terminal specification 2.3). What comes back is
``trioet.bootstrap.invitation``'s. Imports next to nothing: `trioet terminal` is on every
user's path to a prompt, and would spend a third of its time on ``re`` and ``typing``.
"""

from __future__ import annotations

from os import urandom

from trioet.errors import PeerError

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
ID_LENGTH = 16
PASSKEY_LENGTH = 32

PLACEHOLDER = "XXX"
"""How an id begins that the far side is to replace by one of its own (2.3)."""

DEFAULT_TERM = "xterm-256color"
TRIOET_IS_HERE = "trioet"
"""What a trioet says as its TERM at ET's jumphost, where no program wants it: who can read an
error on stdout. A real `et` takes whatever is there for an id and a key."""

MAX_TERM = 64
IN_TERM = frozenset(ALPHABET + "._+-")


class Credentials:
    """What client and server know of each other. The passkey never shows in a repr."""

    __slots__ = ("client_id", "passkey")

    def __init__(self, client_id: str, passkey: str) -> None:
        self.client_id = client_id
        self.passkey = passkey

    def __repr__(self) -> str:
        return f"Credentials(client_id={self.client_id!r})"


def new_credentials() -> Credentials:
    """Credentials for the bootstrap line; the far side replaces them by real ones."""
    real = new_real_credentials()
    return Credentials(PLACEHOLDER + real.client_id[len(PLACEHOLDER) :], real.passkey)


def new_real_credentials() -> Credentials:
    """Credentials for a session. The id never begins as a placeholder does."""
    client_id = PLACEHOLDER
    while client_id.startswith(PLACEHOLDER):
        client_id = _random_text(ID_LENGTH)
    return Credentials(client_id, _random_text(PASSKEY_LENGTH))


def _random_text(length: int) -> str:
    text = ""
    while len(text) < length:
        # 248 is the largest multiple of 62 that a byte can hold: beyond it, some would be likelier.
        text += "".join(ALPHABET[byte % 62] for byte in urandom(2 * length) if byte < 248)
    return text[:length]


def bootstrap_line(credentials: Credentials, term: str) -> bytes:
    """The line for the far side's stdin."""
    return f"{credentials.client_id}/{credentials.passkey}_{clean_term(term)}\n".encode()


def parse_bootstrap_line(line: bytes) -> tuple[Credentials, str]:
    """Take the line apart, on the far side; return the credentials and TERM.

    TERM may contain ``_``. What a placeholder id means is the caller's business.

    Raises:
      PeerError: it is not such a line.
    """
    client_id, _, rest = line.partition(b"\n")[0].partition(b"/")
    passkey, underscore, term = rest.partition(b"_")
    if not (underscore and is_client_id(client_id) and is_passkey(passkey)):
        raise PeerError(
            f"stdin must begin with a line id/passkey_TERM, as `trioet connect` and `et` send it; "
            f"{len(line)} bytes of something else came"
        )
    return (
        Credentials(client_id.decode(), passkey.decode()),
        clean_term(term.decode(errors="replace")),
    )


def is_client_id(text: bytes) -> bool:
    """True for what may name a session: 16 ASCII letters and digits."""
    return len(text) == ID_LENGTH and text.isalnum()


def is_passkey(text: bytes) -> bool:
    """True for what may be its key: 32 ASCII letters and digits."""
    return len(text) == PASSKEY_LENGTH and text.isalnum()


def clean_term(term: str) -> str:
    """A TERM with nothing in it that could mean something to a shell; never empty."""
    return "".join(char for char in term if char in IN_TERM)[:MAX_TERM] or DEFAULT_TERM
