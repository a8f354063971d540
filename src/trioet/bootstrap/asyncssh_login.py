"""What asyncssh asks while it logs in: which key, which password.

Part of the asyncssh bridge.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import asyncssh

from trioet.bootstrap.asyncio_prompt import ask
from trioet.bootstrap.asyncssh_host_keys import Hop, HostKeys
from trioet.bootstrap.plain import plain
from trioet.bootstrap.ssh_config import expand

ATTEMPTS: Final = 3
"""How often a passphrase or a password is asked for, as ssh does."""


class Login(asyncssh.SSHClient):
    """Answers asyncssh's questions: from files and agent, and what is left from the user.

    ``patience`` runs out unless the host is reached before.
    """

    def __init__(self, hop: Hop, host_keys: HostKeys, patience: asyncio.Timeout) -> None:
        self._hop = hop
        self._patience = patience
        self._host_keys = host_keys
        self._locked: list[str] | None = None
        self._agent: asyncssh.SSHAgentClient | None = None
        self._attempts = {"password": ATTEMPTS, "kbdint": ATTEMPTS}

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._patience.reschedule(None)  # from now on the user may need time to answer

    def connection_lost(self, exc: Exception | None) -> None:
        if self._agent is not None:
            self._agent.close()

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        accepted = self._host_keys.accepts(addr, key)
        if accepted:
            self._host_keys.remember()
        return accepted

    def auth_banner_received(self, msg: str, lang: str) -> None:
        for line in msg.splitlines() if self._hop.asks else ():
            print(plain(line), file=sys.stderr)

    async def public_key_auth_requested(self) -> list[asyncssh.SSHKeyPair] | None:
        """First all keys that need no question, then the locked ones, one by one."""
        if self._locked is None:
            self._locked = []
            if keys := [*await self._agent_keys(), *self._unlocked_keys()]:
                return keys
        while self._locked and self._hop.asks:
            path = self._locked.pop(0)
            if keys := await self._unlock(path):
                return keys
        return None

    async def password_auth_requested(self) -> str | None:
        if not self._may_try("password"):
            return None
        return await ask(f"{self._login}'s password: ")

    async def kbdint_auth_requested(self) -> str | None:
        return "" if self._may_try("kbdint") else None

    async def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        for text in (name, instructions):
            if prompts and text.strip():
                print(plain(text), file=sys.stderr)
        answers = []
        for text, echo in prompts:
            answer = await ask(f"({self._login}) {plain(text)} ", echo=echo)
            if answer is None:
                return None
            answers.append(answer)
        return answers

    @property
    def _login(self) -> str:
        return f"{self._hop.config.user}@{self._hop}"

    def _may_try(self, method: str) -> bool:
        self._attempts[method] -= 1
        return self._attempts[method] >= 0 and self._hop.asks

    async def _agent_keys(self) -> list[asyncssh.SSHKeyPair]:
        path = self._hop.config.identity_agent or "SSH_AUTH_SOCK"
        if path == "SSH_AUTH_SOCK":
            path = "${SSH_AUTH_SOCK}"
        path = expand(path, self._hop.config, self._hop.host)
        if path == "none" or not path.startswith("/"):
            return []
        keys: list[asyncssh.SSHKeyPair] = []
        with contextlib.suppress(OSError, asyncssh.Error, ValueError):
            self._agent = await asyncssh.connect_agent(path)
            keys += await self._agent.get_keys()
        if not self._hop.config.identities_only:
            return keys
        wanted = [_public_data(self._expand(path)) for path in self._hop.config.identity_files]
        return [key for key in keys if key.public_data in wanted]

    def _unlocked_keys(self) -> list[asyncssh.SSHKeyPair]:
        keys: list[asyncssh.SSHKeyPair] = []
        for path in self._identities():
            try:
                keys += self._load(path)
            except asyncssh.KeyImportError as error:
                # There is no type for it; any other unreadable file is no key of ours.
                if "assphrase" in str(error) and self._locked is not None:
                    self._locked.append(path)
            except OSError:
                continue
        return keys

    async def _unlock(self, path: str) -> list[asyncssh.SSHKeyPair]:
        for _ in range(ATTEMPTS):
            passphrase = await ask(f"Passphrase for {path}: ")
            if not passphrase:
                break
            try:
                return self._load(path, passphrase)
            except asyncssh.KeyEncryptionError as error:
                if "bcrypt" in str(error):
                    print(f"trioet: {path} is passed over: {error}", file=sys.stderr)
                    break
            except (ValueError, OSError):
                continue
        return []

    def _load(self, path: str, passphrase: str | None = None) -> list[asyncssh.SSHKeyPair]:
        certificates = [
            expanded
            for certificate in self._hop.config.certificate_files
            if os.path.exists(expanded := self._expand(certificate))
        ]
        return list(asyncssh.load_keypairs([path], passphrase, certificates))

    def _identities(self) -> list[str]:
        paths = (self._expand(path) for path in self._hop.config.identity_files)
        return [path for path in paths if os.path.exists(path)]

    def _expand(self, path: str) -> str:
        return expand(path, self._hop.config, self._hop.host)


def _public_data(path: str) -> bytes | None:
    for candidate in (f"{path}.pub", path):
        with contextlib.suppress(OSError, ValueError):
            return asyncssh.read_public_key(candidate).public_data
    return None
