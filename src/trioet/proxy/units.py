"""The systemd units that `trioet proxy --print-unit` writes, for the proxy that its other options
describe."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from typing import Final

from trioet.server.units import command_line, program

SYSTEM_UNIT: Final = """\
# Started with the machine, as {user}: save as /etc/systemd/system/trioet-proxy.service, then
#   systemctl daemon-reload && systemctl enable --now trioet-proxy
[Unit]
Description=trioet proxy, {what}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
User={user}
ExecStart={command}
Restart=on-failure
RestartSec=5
NoNewPrivileges=yes
ProtectSystem=full
PrivateTmp=yes
UMask=0077
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""

USER_UNIT: Final = """\
# For one user: save as ~/.config/systemd/user/trioet-proxy.service, then
#   systemctl --user daemon-reload && systemctl --user enable --now trioet-proxy
#   loginctl enable-linger    # so that it outlives your logins
[Unit]
Description=trioet proxy, {what}

[Service]
Type=notify
ExecStart={command}
Restart=on-failure
RestartSec=5
NoNewPrivileges=yes
UMask=0077
LimitNOFILE=65536

[Install]
WantedBy=default.target
"""

UNITS: Final = {"system": SYSTEM_UNIT, "user": USER_UNIT}

FILES: Final = ("--key-file", "--health-token", "-F", "-i")
"""Options whose files a service must find whatever its directory is."""

JOINED: Final = ("-F", "-i")
"""Those whose file may follow at once: ``-Ffile``."""


def print_unit(kind: str, arguments: Sequence[str], what: str) -> str:
    """The unit of that kind, which runs `trioet proxy` with these arguments."""
    words = [program(), "proxy", *_absolute(arguments)]
    command = command_line(words)
    return UNITS[kind].format(command=command, user=getpass.getuser(), what=what.replace("%", "%%"))


def _absolute(arguments: Sequence[str]) -> list[str]:
    found: list[str] = []
    for word in arguments:
        option, equals, path = word.partition("=")
        if found and found[-1] in FILES and word != "none":
            found.append(os.path.abspath(word))
        elif equals and option in FILES:
            found.append(f"{option}={os.path.abspath(path)}")
        elif word[:2] in JOINED and word[2:] not in ("", "none"):
            found.append(word[:2] + os.path.abspath(word[2:]))
        else:
            found.append(word)
    return found
