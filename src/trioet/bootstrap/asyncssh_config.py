"""What asyncssh itself makes of the ssh configuration, where no ``ssh -G`` can be asked.

Part of the asyncssh bridge. It knows fewer words than ssh: no StrictHostKeyChecking in
files, for instance. Of the tunnels it knows none: LocalForward, RemoteForward and
DynamicForward cannot be had without ``ssh -G``.
ExitOnForwardFailure and GatewayPorts count where ``-o`` says them.
"""

from __future__ import annotations

import os
import tempfile
from typing import Final

import asyncssh

from trioet.bootstrap.spawn import SshTarget
from trioet.bootstrap.ssh_config import SshConfig
from trioet.errors import StepFailed

USER_CONFIG: Final = "~/.ssh/config"
SYSTEM_CONFIG: Final = "/etc/ssh/ssh_config"
USER_KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
SYSTEM_KNOWN_HOSTS: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
IDENTITIES: Final = tuple(f"~/.ssh/id_{kind}" for kind in ("ed25519", "ecdsa", "rsa"))


def read_config(target: SshTarget) -> SshConfig:
    """Read the user's configuration for the target, then the system's.

    Raises:
      StepFailed: it cannot be read.
    """
    try:
        with tempfile.NamedTemporaryFile("w", prefix="trioet-") as said:
            # asyncssh has no `-o`; but the first file to say something is right.
            said.write("".join(f"{option}\n" for option in target.options))
            said.flush()
            options = asyncssh.SSHClientConnectionOptions(
                host=target.host,
                username=target.user or (),
                config=[said.name, *_config_files(target)],
                client_keys=None,
                agent_path=None,
                known_hosts=None,
            )
    except (asyncssh.Error, asyncssh.ConfigParseError, OSError, ValueError) as error:
        what = f"the ssh configuration for {target.host} cannot be read: {error}"
        raise StepFailed("ssh", what, "asyncssh knows fewer words than ssh does") from error
    return _translate(options, target)


def _config_files(target: SshTarget) -> list[str]:
    if target.config_file is not None:
        return [] if target.config_file == "none" else [target.config_file]
    return [
        path
        for path in map(os.path.expanduser, (USER_CONFIG, SYSTEM_CONFIG))
        if os.path.exists(path)
    ]


def _translate(options: asyncssh.SSHClientConnectionOptions, target: SshTarget) -> SshConfig:
    words = options.config

    def text(word: str) -> str | None:
        value = words.get(word)
        return None if value is None or value == "none" else str(value)

    def texts(word: str) -> tuple[str, ...]:
        value = words.get(word)
        return tuple(map(str, value)) if isinstance(value, list) else ()

    timeout = text("ConnectTimeout")
    return SshConfig(
        hostname=options.host,
        port=options.port,
        user=options.username,
        set_env=tuple(
            (name, value) for name, _, value in (word.partition("=") for word in texts("SetEnv"))
        ),
        send_env=texts("SendEnv"),
        request_tty=_yes_no_or_text(words.get("RequestTTY"), "auto"),
        identity_files=target.identity_files + (texts("IdentityFile") or IDENTITIES),
        certificate_files=texts("CertificateFile"),
        identity_agent=None
        if words.get("IdentityAgent") is None
        else str(words.get("IdentityAgent")),
        identities_only=bool(words.get("IdentitiesOnly")),
        proxy_jump=target.jumps or text("ProxyJump"),
        proxy_command=text("ProxyCommand"),
        host_key_alias=text("HostKeyAlias"),
        strict_host_key_checking=_said(target, "StrictHostKeyChecking") or "ask",
        user_known_hosts=texts("UserKnownHostsFile") or USER_KNOWN_HOSTS,
        global_known_hosts=texts("GlobalKnownHostsFile") or SYSTEM_KNOWN_HOSTS,
        connect_timeout_s=float(timeout) if timeout else None,
        gateway_ports=target.gateway_ports or _said_yes(target, "GatewayPorts"),
        exit_on_forward_failure=_said_yes(target, "ExitOnForwardFailure"),
        forward_agent=_yes_no_or_text(words.get("ForwardAgent"), "no"),
    )


def _yes_no_or_text(value: object, default: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value or default)


def _said_yes(target: SshTarget, word: str) -> bool:
    return (_said(target, word) or "no").lower() in ("yes", "true")


def _said(target: SshTarget, word: str) -> str | None:
    """The value that `-o` gave a word which asyncssh does not know."""
    for option in target.options:
        name, _, value = option.replace("=", " ", 1).strip().partition(" ")
        if name.lower() == word.lower():
            return value.strip()
    return None
