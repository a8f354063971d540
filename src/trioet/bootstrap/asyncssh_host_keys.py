"""Is this the right host: what StrictHostKeyChecking means, for asyncssh.

Part of the asyncssh bridge.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncssh

from trioet.bootstrap.asyncio_prompt import ask
from trioet.bootstrap.known_hosts import SSH_PORT, hashed_name, known_host_name, remember_host
from trioet.bootstrap.ssh_config import SshConfig, expand
from trioet.errors import StepFailed

ACCEPTING: Final = frozenset(("accept-new", "no", "off", "false"))
"""StrictHostKeyChecking under which a host seen for the first time is trusted."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A host on the way, and what ssh's configuration says of it."""

    host: str
    config: SshConfig
    asks: bool = True
    """The user may be asked, and told."""

    def __str__(self) -> str:
        return self.host


@dataclass
class HostKeys:
    """Which keys of a host are trusted, and what to do about one that is not."""

    hop: Hop
    known: asyncssh.SSHKnownHosts = field(default_factory=asyncssh.SSHKnownHosts)
    offered: asyncssh.SSHKey | None = None
    changed: bool = False

    def load(self) -> None:
        """Read the known_hosts files there are. A line that makes no sense is passed over."""
        config = self.hop.config
        for path in (*config.user_known_hosts, *config.global_known_hosts):
            with contextlib.suppress(OSError):
                text = Path(self._expand(path)).read_text(errors="replace")
                for line in text.splitlines():
                    # Of some lines asyncssh raises what it does not name: OverflowError, of
                    # a negative number in a key; NameError, where pyOpenSSL is missing.
                    with contextlib.suppress(Exception):
                        self.known.load(line)

    def accepts(self, address: str, key: asyncssh.SSHKey) -> bool:
        """Whether a key that is not known may be trusted without asking."""
        config = self.hop.config
        port = config.port if config.port != SSH_PORT else None
        keys = self.known.match(config.host_key_alias or config.hostname, address, port)
        self.offered = key
        self.changed = bool(keys[0])
        return not self.changed and config.strict_host_key_checking in ACCEPTING

    async def ask(self) -> bool:
        """Ask whether to trust the key that was offered, if that is for the user to say."""
        may_ask = self.hop.asks and self.hop.config.strict_host_key_checking == "ask"
        if self.offered is None or self.changed or not may_ask:
            return False
        answer = await ask(
            f"The host key of {self.hop} is not known yet:\n"
            f"  {self._name} {self.offered.get_algorithm()} {self.offered.get_fingerprint()}\n"
            "Compare it, if you can. Connect, and remember it (yes/no)? ",
            echo=True,
        )
        if (answer or "").strip().lower() not in ("y", "yes"):
            return False
        self.remember()
        return True

    def remember(self) -> None:
        """Write the offered key to known_hosts, and trust it from now on."""
        assert self.offered is not None
        line = self.offered.export_public_key("openssh").decode()
        self.known.load(f"{self._name} {line}")
        config = self.hop.config
        if config.user_known_hosts:
            name = hashed_name(self._name) if config.hash_known_hosts else self._name
            remember_host(Path(self._expand(config.user_known_hosts[0])), name, line)

    def refusal(self) -> StepFailed:
        """The error for a key that is not trusted."""
        key = self.offered
        print_ = f" ({key.get_algorithm()} {key.get_fingerprint()})" if key is not None else ""
        if self.changed:
            what = f"the host key of {self.hop} has CHANGED{print_}: it may be another machine"
            hint = f"if the change is known to be right: `ssh-keygen -R {self._name}`"
        else:
            what = f"the host key of {self.hop} is not trusted{print_}"
            hint = f"connect once by `ssh {self.hop}` and compare it, or add it to known_hosts"
        return StepFailed("ssh", what, hint)

    @property
    def _name(self) -> str:
        config = self.hop.config
        return config.host_key_alias or known_host_name(config.hostname, config.port)

    def _expand(self, path: str) -> str:
        return expand(path, self.hop.config, self.hop.host)
