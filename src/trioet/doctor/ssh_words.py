"""What OpenSSH's client says on stderr, read for people: who was let in, and why not.

With ``-v``, its own diagnostics included. They are told apart from the far side's errors by
how their lines begin. No I/O here: feed bytes that a stranger may have written.
"""

from __future__ import annotations

import re
import shlex
from typing import Final, NamedTuple

from trioet.bootstrap.plain import plain

MAX_LINES: Final = 400
"""Lines that are kept: the first of them, and then the latest."""

MAX_LINE: Final = 2000

DIAGNOSTIC: Final = re.compile(r"debug[123]: |OpenSSH_\S+, |Authenticated to |Transferred: |Bytes ")

AUTHENTICATED: Final = re.compile(r'Authenticated to (\S+) \((.*?)\) using "([a-z-]+)"')
MULTIPLEXED: Final = re.compile(r"debug1: mux_client_request_session: master session id")


PROXIED: Final = "via proxy"
"""Where it was authenticated, if not at an address."""

CLOSED: Final = re.compile(r"Connection (?:closed|reset) by|kex_exchange_identification")

MAX_QUOTED: Final = 150
"""Characters of a line that is quoted."""


class Login(NamedTuple):
    """How ssh was let in. ``address`` is empty behind a proxy."""

    method: str
    address: str = ""


class Cause(NamedTuple):
    """Why ssh failed, and what to do about it."""

    what: str
    fix: str = ""
    command: str = ""


class SshWords:
    """Read ssh's stderr, however it is cut. ``hostname`` is as the configuration resolves it.

    ``behind``: the words of those that ssh passes before (``-J``) are among them.
    """

    def __init__(self, hostname: str, *, behind: bool = False) -> None:
        self.login: Login | None = None
        self._behind = behind
        self._hostname = hostname.lower()
        self._pending = b""
        self._lines: list[str] = []

    def feed(self, data: bytes) -> None:
        """Take what ssh printed. Never raises."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._take(plain(line[:MAX_LINE]))
        self._pending = self._pending[-MAX_LINE:]

    def last_words(self) -> str:
        """The last line that is no diagnostic."""
        said = [line for line in self._said() if not line.startswith("Connection to ")]
        return said[-1][:300] if said else ""

    def cause(self, host: str, ssh: str) -> Cause:
        """Why it failed.

        ``host`` is how the user calls it, ``ssh`` the command line that logs in there.
        """
        said = self._said()
        text = "\n".join(said)
        for explain in (_host_key_changed, _host_key_unknown, _rights, _refused_login, _network):
            if (found := explain(text, host, ssh, self._hostname)) is not None:
                return found
        return Cause(self.last_words() or "ssh ended without a word", command=f"{ssh} true")

    def _take(self, line: str) -> None:
        if found := AUTHENTICATED.match(line):
            name, place, method = found.groups()
            if name.lower() == self._hostname and not (self._behind and place != PROXIED):
                address = re.match(r"\[(.*)\]:\d+$", place)
                self.login = Login(method, address[1] if address else "")
        elif MULTIPLEXED.match(line) and self.login is None and not self._behind:
            self.login = Login("an open master connection")
        if line:
            self._lines.append(line)
            if len(self._lines) > MAX_LINES:
                del self._lines[MAX_LINES // 2]

    def _said(self) -> list[str]:
        return [line for line in self._lines if not DIAGNOSTIC.match(line)]


def _subject(name: str, host: str, hostname: str) -> str:
    """Whom a line of ssh's speaks of: the host as the user calls it, or one on the way."""
    bare = re.sub(r"^\[(.*)\](?::\d+)?$", r"\1", name)
    return host if bare.lower() == hostname else bare


def _host_key_changed(text: str, host: str, ssh: str, hostname: str) -> Cause | None:
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" not in text:
        return None
    place = re.search(r"^Offending \S+ key in (.+):\d+$", text, re.MULTILINE)
    name = re.search(r"^Host key for (\S+) has changed", text, re.MULTILINE)
    known = name[1] if name else hostname
    subject = _subject(known, host, hostname)
    where = f" -f {shlex.quote(place[1])}" if place else ""
    return Cause(
        f"the host key of {subject} is not the one known: it was installed anew, or another "
        "machine answers",
        "ask who runs it; if that is right",
        f"ssh-keygen -R {shlex.quote(known)}{where}",
    )


def _host_key_unknown(text: str, host: str, ssh: str, hostname: str) -> Cause | None:
    if "Host key verification failed" not in text:
        return None
    name = re.search(r"host key is known for (\S+) and you have", text)
    subject = _subject(name[1], host, hostname) if name else host
    return Cause(f"the host key of {subject} is not known here", "look at it", f"{ssh} true")


def _rights(text: str, host: str, ssh: str, hostname: str) -> Cause | None:
    if found := re.search(r"^Bad owner or permissions on (.+)$", text, re.MULTILINE):
        path = shlex.quote(found[1])
        return Cause(
            f"ssh does not trust {found[1]}: others may write it", command=f"chmod 600 {path}"
        )
    if found := re.search(r"^Permissions 0?\d+ for '(.+)' are too open", text, re.MULTILINE):
        path = shlex.quote(found[1])
        return Cause(
            f"ssh does not use the key {found[1]}: others may read it", f"chmod 600 {path}"
        )
    return None


def _refused_login(text: str, host: str, ssh: str, hostname: str) -> Cause | None:
    if found := re.search(
        r"^(?:(\S+)@(\S+): )?Permission denied \(([a-z,-]+)\)", text, re.MULTILINE
    ):
        user, place, methods = found[1] or "you", found[2] or hostname, found[3].split(",")
        subject = _subject(place, host, hostname)
        what = f"{subject} does not let in {user}; it accepts {', '.join(methods)}"
        if "password" in methods or "keyboard-interactive" in methods:
            to = ssh.removeprefix("ssh ") if subject == host else shlex.quote(f"{user}@{place}")
            return Cause(what, "have it know your key", f"ssh-copy-id {to}")
        return Cause(
            what,
            "have your public key added to ~/.ssh/authorized_keys there; or -l names another "
            "user, -i another key",
        )
    if "Too many authentication failures" in text:
        return Cause(
            f"{host} lost patience: the agent offered too many keys",
            "name the right one: -o IdentitiesOnly=yes -i KEY",
        )
    return None


def _network(text: str, host: str, ssh: str, hostname: str) -> Cause | None:
    if found := re.search(r"Could not resolve hostname ([^:\n]+)", text):
        return Cause(
            f"{found[1]} does not resolve: a jump host's name, maybe",
            "see ProxyJump and HostName in",
            f"ssh -G{ssh.removeprefix('ssh')}",
        )
    connecting = re.search(r"connect to (?:address )?(?:host )?(\S+) port (\d+): ([^\n]+)", text)
    if connecting:
        name, port, why = connecting.groups()
        refused = "refused" in why.lower()
        return Cause(
            f"{name} port {port}: {why.rstrip('.')}",
            "start sshd there, or say where it listens: -o Port=N"
            if refused
            else "is the machine up, and the network? A VPN may be needed, or a ProxyJump",
        )
    if re.search(r"no matching (.+) found", text):
        return Cause(
            text[text.index("no matching") :].split("\n")[0],
            "update the older of both, or allow it in ssh_config: `man ssh_config`, KexAlgorithms",
        )
    if CLOSED.search(text):
        if others := [line for line in text.split("\n") if line and not CLOSED.search(line)]:
            what = f"the way to sshd on {host} breaks off: {others[-1][:MAX_QUOTED]}"
            return Cause(what, "does the ProxyCommand, or the jump host, work?", f"{ssh} true")
        return Cause(
            f"sshd on {host} hangs up before the login",
            "it may be overloaded (MaxStartups) or block this address; its log says why, there: "
            "journalctl -u ssh",
        )
    return None
