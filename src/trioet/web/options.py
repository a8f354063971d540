"""What the operator of `trioet web` wants, whatever way it was said."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from trioet.bootstrap.spawn import SshTarget
from trioet.wire.web_forwarded import Proxies

DEFAULT_PORT: Final = 8080
"""GoTTY's."""

DEFAULT_ARGUMENT: Final = r"[A-Za-z0-9@%_+=:,./][A-Za-z0-9@%_+=:,./-]*"
"""What visitors may give as an argument, unless said: nothing that is an option to a program."""

DEFAULT_PING_S: Final = 30
"""Between two signs of life of a WebSocket, which proxies and firewalls want to see; GoTTY's."""

DEFAULT_LINGER_S: Final = 24 * 3600.0
"""How long a session waits for its visitor: a laptop may sleep over night."""


@dataclass(frozen=True, slots=True)
class Far:
    """Another host, on which the sessions are."""

    target: SshTarget
    """Whom ssh calls; it asks nobody anything."""

    direct: bool = True
    """By the ports of that host, where they answer."""

    by_ssh: bool = True
    terminal_path: str | None = None
    """Of trioet there; found by itself otherwise."""


@dataclass(frozen=True, slots=True)
class WebOptions:
    """The options of `trioet web`, most by GoTTY's names."""

    command: tuple[str, ...]
    """On another host it may be empty, which is the login shell there. Else that means that nothing
    is run: there are only sessions that are shared (`trioet share`)."""

    far: Far | None = None
    e2e: bool = False
    """One session, whose key is in the link that is printed, and nowhere else here."""

    address: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    unix_socket: str = ""
    path: str = "/"
    """The base path; begins and ends with a slash."""

    permit_write: bool = False
    permit_arguments: bool = False
    argument_pattern: re.Pattern[str] = field(default_factory=lambda: re.compile(DEFAULT_ARGUMENT))
    credentials: Mapping[str, str] = field(default_factory=dict)
    """User -> password, in clear or as an argon2 hash (``$argon2id$…``)."""

    wants_token: bool = False
    token: str = ""
    """Made of it; see trioet.web.login.token_for."""

    tls_certificate: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    """Visitors need a certificate that this one has signed."""

    proxies: Proxies = field(default_factory=Proxies)
    hostnames: tuple[str, ...] = ()
    """Names that this server goes by, beside the machine's."""

    ws_origin: re.Pattern[str] | None = None
    ws_query: str = ""
    """What the page's WebSocket asks for behind its ``?``; a proxy may want that."""

    ping_s: float = DEFAULT_PING_S
    """0: never."""

    index: str = ""
    favicon: str = ""
    pass_headers: bool = False
    """Programs get what is in the heads of requests, as a CGI does."""

    title_format: str = "{{ .command }}@{{ .hostname }}"
    reconnect_s: int | None = None
    max_connection: int = 0
    once: bool = False
    timeout_s: float = 0
    width: int = 0
    height: int = 0
    close_signal: int = signal.SIGHUP
    close_timeout_s: float = 10
    linger_s: float = DEFAULT_LINGER_S
    preferences: Mapping[str, object] = field(default_factory=dict)
    print_unit: bool = False
    quiet: bool = False

    def __repr__(self) -> str:
        return f"<WebOptions {self.name} write={self.permit_write}>"

    @property
    def name(self) -> str:
        """Of the command, without its directory."""
        if self.command:
            return self.command[0].rpartition("/")[2]
        return "shared" if self.far is None else "shell"

    @property
    def has_shares(self) -> bool:
        """Links to sessions that this user shares lead here."""
        return self.far is None and not self.e2e

    @property
    def only_shares(self) -> bool:
        """Nothing is run: who comes without such a link finds nothing."""
        return self.far is None and not self.command

    @property
    def only_link(self) -> bool:
        """What ends in this process has no place here: GoTTY's and ttyd's protocols, whose
        programs are its children."""
        return not self.has_shares or self.only_shares

    @property
    def has_tls(self) -> bool:
        return bool(self.tls_certificate)

    @property
    def needs_login(self) -> bool:
        """Visitors have to say a password or a token first."""
        return bool(self.credentials or self.wants_token)
