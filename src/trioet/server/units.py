"""The systemd units that `trioet serve --print-unit` writes.

The router needs no privilege at all: port 2022 is free for everyone, the kernel tells who
registers, and it passes connections on without looking into them. So the system's unit
runs it as a user of its own with nothing allowed; shells are children of keepers, not of
it, and none of this confines them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import Final

from trioet.server.places import SYSTEM_ROUTER_SOCKET

# Two settings that look forgotten and must stay away: PrivateUsers= would hide from
# SO_PEERCRED who registers, and RuntimeDirectoryPreserve= would, with DynamicUser=, move
# the directory to where no user's keeper can reach the socket (systemd.exec(5)).
SYSTEM_UNIT: Final = """\
# For all users: save as /etc/systemd/system/trioet.service, then
#   systemctl daemon-reload && systemctl enable --now trioet
# The program must be where any user can read it: not in a home.
[Unit]
Description=trioet, remote shells that survive the network
After=network.target

[Service]
Type=notify
ExecStart={command}
ExecReload=kill -HUP $MAINPID
Restart=on-failure
KillMode=process
DynamicUser=yes
RuntimeDirectory=trioet
RuntimeDirectoryMode=0755
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""

USER_UNIT: Final = """\
# For one user: save as ~/.config/systemd/user/trioet.service, then
#   systemctl --user daemon-reload && systemctl --user enable --now trioet
#   loginctl enable-linger    # so that it outlives your logins
[Unit]
Description=trioet, remote shells that survive the network

[Service]
Type=notify
ExecStart={command}
ExecReload=kill -HUP $MAINPID
Restart=on-failure
KillMode=process
NoNewPrivileges=yes
UMask=0077
LimitNOFILE=65536

[Install]
WantedBy=default.target
"""

SOCKET_UNIT: Final = """\
# To start on the first connection: save beside trioet.service as trioet.socket, then
#   systemctl daemon-reload && systemctl enable --now trioet.socket
# (with --user for one user's). Clients that come while the service restarts wait here
# and are not refused.
[Unit]
Description=trioet's port

[Socket]
{listen}
NoDelay=yes
Backlog=256

[Install]
WantedBy=sockets.target
"""

SERVICE_UNITS: Final = {"system": SYSTEM_UNIT, "user": USER_UNIT}


def service_unit(kind: str, arguments: Sequence[str] = ()) -> str:
    """The unit of that kind, which runs this installation's own program with these arguments."""
    own = ["--socket", SYSTEM_ROUTER_SOCKET] if kind == "system" else []
    return SERVICE_UNITS[kind].format(command=command_line([program(), "serve", *own, *arguments]))


def socket_unit(streams: Sequence[str]) -> str:
    """The unit that listens at these places, as systemd.socket(5) writes them."""
    lines = [f"ListenStream={stream}" for stream in streams]
    if any(stream.startswith("[") for stream in streams):
        # As the router's own sockets: 0.0.0.0 and [::] do not exclude each other.
        lines.append("BindIPv6Only=ipv6-only")
    return SOCKET_UNIT.format(listen="\n".join(lines))


def program() -> str:
    """The `trioet` that was called; when it was called by another name, the one beside."""
    called = shutil.which(sys.argv[0]) or ""
    if os.path.basename(called) != "trioet":
        called = os.path.join(os.path.dirname(sys.executable), "trioet")
    return os.path.abspath(called)


def command_line(words: Sequence[str]) -> str:
    """As systemd.service(5) splits one: much as a shell does, but for % and $."""
    texts = []
    for word in words:
        text = quoted(word)
        plain = text.startswith('"') or shlex.quote(word) == word
        texts.append(text if plain else f'"{text}"')
    return " ".join(texts)


def quoted(path: str) -> str:
    """As systemd.service(5) wants it: % and $ doubled, a path with blanks in quotes."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != path or " " in path else path
