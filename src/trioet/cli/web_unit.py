"""The systemd unit that `trioet web --print-unit` writes, for what its other options describe.

A user's own: sessions are a user's, and so is who serves them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from trioet.server.units import command_line, program, quoted

# KillMode=process: the keeper may be a child of the service's, and outlives it.
USER_UNIT: Final = """\
# For one user: save as ~/.config/systemd/user/trioet-web.service, then
#   systemctl --user daemon-reload && systemctl --user enable --now trioet-web
#   loginctl enable-linger    # so that it outlives your logins
# A link with a token is in its log: journalctl --user -u trioet-web
[Unit]
Description=trioet web

[Service]
ExecStart={command}
ExecReload=kill -HUP $MAINPID
WorkingDirectory={directory}
Environment={path}
Restart=on-failure
RestartSec=5
KillMode=process
UMask=0077
LimitNOFILE=65536

[Install]
WantedBy=default.target
"""


def print_unit(argv: Sequence[str]) -> str:
    """The unit that runs `trioet web` with these words, in this directory, with this PATH."""
    words = list(argv)
    del words[next(place for place, word in enumerate(words) if word.startswith("--print"))]
    return USER_UNIT.format(
        command=command_line([program(), "web", *words]),
        directory=os.getcwd().replace("%", "%%"),
        path=quoted(f"PATH={os.environ.get('PATH', os.defpath)}").replace("$$", "$"),
    )
