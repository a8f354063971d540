"""Who may in: passwords and tokens, the cookie that remembers it, and those who guess.

What is compared is compared in constant time. Somebody who fails often waits: by address, each
time twice as long. Nothing secret is logged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from hmac import compare_digest
from typing import Final

import trio

from trioet.errors import UsageError
from trioet.web.options import WebOptions
from trioet.wire.web_http import Request

log = logging.getLogger(__name__)

LASTS_S: Final = 7 * 24 * 3600
"""How long a login is remembered."""

FREE_FAILURES: Final = 5
"""From one address, before it has to wait."""

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 300.0
FORGET_AFTER_S: Final = 3600.0
"""Failures that are older count no more."""

MAX_SOURCES: Final = 4096
"""Addresses whose failures are remembered; the oldest is forgotten first."""

MAX_SECRET: Final = 1024
"""Characters of a user's name, a password or a token."""

MAX_NAME: Final = 64
"""Characters of a user's name by which failures are told apart."""

MAX_PROVEN: Final = 64
"""Authorization fields that are known to be right, so that argon2 runs once for each."""

ARGON2: Final = "$argon2"
"""How a stored password begins that is no password but its hash."""

HASHED_AT_ONCE: Final = 2
"""argon2 takes 64 MiB and a tenth of a second; threads that may do it."""


def token_for(options: WebOptions, key: bytes) -> str:
    """The token of one `trioet web`; empty if it wants none.

    Another for everything else that is served, and the same after a restart: a page that
    comes back is let in, and so is who has kept the link.
    """
    if not options.wants_token:
        return ""
    where = [options.address, options.port, options.unix_socket, options.path]
    where += [options.far.target.user, options.far.target.host] if options.far else []
    what = json.dumps([*where, options.permit_write, options.command])
    digest = hmac.digest(key, b"token\0" + what.encode(errors="surrogateescape"), "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class LockedOut(Exception):
    """Too many failures: ``seconds`` have to pass first."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = math.ceil(seconds)


PASS: Final = "pass-"
"""How the cookie of somebody begins who may connect to a session of which it has the key, and do
nothing else."""


class Lockout:
    """The failures of addresses."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, float, str | None]] = {}
        """How many, the last of them when, and for whom; None if for several."""

    def begin(self, source: str, user: str = "") -> None:
        """Somebody tries. Counts as a failure until :meth:`succeeded`: who asks often at once
        gets no more tries by that.

        Raises:
          LockedOut: it is too early for that.
        """
        now = trio.current_time()
        user = user[:MAX_NAME]
        count, at, who = self._failures.pop(source, (0, now, user))
        if now - at > FORGET_AFTER_S:
            count = 0
        wait = 0.0
        if count >= FREE_FAILURES:
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (count - FREE_FAILURES))
        if now < at + wait:
            self._failures[source] = count, at, who
            raise LockedOut(at + wait - now)
        while len(self._failures) >= MAX_SOURCES:
            del self._failures[next(iter(self._failures))]
        self._failures[source] = count + 1, now, user if user == who or not count else None

    def succeeded(self, source: str, user: str = "") -> None:
        """It was right: that is forgotten, and what was wrong before if all was for this user. Who
        has a password of his own gets no more guesses at another's by saying it in between.
        """
        count, at, who = self._failures.pop(source, (0, 0.0, user))
        if who != user[:MAX_NAME] and count > 1:
            self._failures[source] = count - 1, at, who


class Login:
    """The operator's passwords and token, and who has said one."""

    def __init__(
        self,
        credentials: Mapping[str, str],
        token: str,
        key: bytes,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``key`` seals cookies, and outlives this process, so that they do.

        Raises:
          UsageError: a stored hash needs argon2, which is not installed.
        """
        if any(stored.startswith(ARGON2) for stored in credentials.values()):
            _argon2_is_there()
        self._credentials = credentials
        self._token = token
        # Another password, and nobody is logged in any more.
        secrets = "\0".join([*(f"{user}\0{word}" for user, word in credentials.items()), token])
        self._key = hmac.digest(key, secrets.encode(), "sha256")
        self._clock = clock
        self._lockout = Lockout()
        self._threads = trio.CapacityLimiter(HASHED_AT_ONCE)
        self._proven: dict[bytes, None] = {}

    def __repr__(self) -> str:
        return f"<Login users={len(self._credentials)} token={bool(self._token)}>"

    @property
    def is_needed(self) -> bool:
        return bool(self._credentials or self._token)

    @property
    def ways(self) -> list[str]:
        """What a visitor may say: ``password``, ``token``, or nothing of it."""
        offered = {"password": self._credentials, "token": self._token}
        return [way for way, there in offered.items() if there]

    # Secrets

    async def password_is_right(self, source: str, user: str, password: str) -> bool:
        """Look at what somebody at ``source`` says.

        Raises:
          LockedOut: too many were wrong.
        """
        self._lockout.begin(source, user)
        if not self._credentials or max(len(user), len(password)) > MAX_SECRET:
            return self._judge(source, user, False)
        # An unknown user costs as much time as a known one.
        stored = self._credentials.get(user) or next(iter(self._credentials.values()))
        if stored.startswith(ARGON2):
            matches = await trio.to_thread.run_sync(
                _hash_matches, stored, password, limiter=self._threads
            )
        else:
            matches = _same(stored, password)
        return self._judge(source, user, matches and user in self._credentials)

    def token_is_right(self, source: str, token: str) -> bool:
        """Look at what somebody at ``source`` says.

        Raises:
          LockedOut: too many were wrong.
        """
        self._lockout.begin(source)
        return self._judge(source, "", bool(self._token) and _same(self._token, token))

    async def word_is_right(self, source: str, word: str) -> bool:
        """``user:password``, as GoTTY's and ttyd's clients say it.

        Raises:
          LockedOut: too many were wrong.
        """
        user, _, password = word.partition(":")
        return await self.password_is_right(source, user, password)

    def _judge(self, source: str, user: str, right: bool) -> bool:
        if right:
            self._lockout.succeeded(source, user)
        else:
            log.warning("a wrong password or token from %s", source)
        return right

    # Those who have said it

    async def knows(self, request: Request, source: str, cookie_name: str) -> bool:
        """True if a request may do what needs a login: it has the cookie, or says a password.

        Raises:
          LockedOut: it says one, and too many were wrong.
        """
        if not self.is_needed or self.cookie_is_right(request.cookie(cookie_name)):
            return True
        scheme, _, text = request.fields.get("authorization", "").partition(" ")
        if scheme.lower() != "basic" or not self._credentials:
            return False
        try:
            word = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return False
        proof = hmac.digest(self._key, word.encode(), "sha256")
        if proof in self._proven:
            return True
        if not await self.word_is_right(source, word):
            return False
        while len(self._proven) >= MAX_PROVEN:
            del self._proven[next(iter(self._proven))]
        self._proven[proof] = None
        return True

    def new_cookie(self) -> str:
        """What a browser is to say from now on, for LASTS_S."""
        return self._seal(int(self._clock()) + LASTS_S)

    def new_pass(self, lasts_s: int) -> str:
        """What the browser of a viewer is to say, who may connect and no more."""
        return f"{PASS}{self._seal(int(self._clock()) + lasts_s, PASS)}"

    def pass_is_right(self, cookie: str) -> bool:
        """True if a browser may connect."""
        return cookie.startswith(PASS) and self._is_right(cookie.removeprefix(PASS), PASS)

    def cookie_is_right(self, cookie: str) -> bool:
        """True if we have made it, and not too long ago."""
        return self._is_right(cookie)

    def _is_right(self, cookie: str, what: str = "cookie") -> bool:
        until, _, _ = cookie.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) <= 12):
            return False
        return _same(self._seal(int(until), what), cookie) and self._clock() < int(until)

    def _seal(self, until: int, what: str = "cookie") -> str:
        sealed = hmac.digest(self._key, f"{what} {until}".encode(), "sha256")
        return f"{until}.{sealed.hex()}"


def _same(one: str, other: str) -> bool:
    """Compare in a time that tells nothing, not even a length."""
    digests = [
        hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in (one, other)
    ]
    return compare_digest(*digests)


def _hash_matches(stored: str, password: str) -> bool:
    """Runs in a thread."""
    import argon2

    try:
        return argon2.PasswordHasher().verify(stored, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def _argon2_is_there() -> None:
    try:
        import argon2  # noqa: F401
    except ImportError:
        raise UsageError(
            "a password is stored as an argon2 hash, and argon2 is not installed; "
            "pip install 'trioet[argon2]'"
        ) from None
