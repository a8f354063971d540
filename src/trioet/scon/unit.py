"""The systemd unit that `trioet scon serve --print-unit` writes."""

from __future__ import annotations

from typing import Final

# Reload reads the configuration again. A restart by systemd ends the sessions; SIGUSR2 does
# not, and tells systemd of the new process: hence NotifyAccess=all, and no KillMode=mixed,
# with which the old one would end when the new one does.
UNIT: Final = """\
# Save as /etc/systemd/system/trioet-scon.service, then
#   systemctl daemon-reload && systemctl enable --now trioet-scon
# New version, or other addresses, without the loss of a session:
#   systemctl kill --kill-whom=main -s USR2 trioet-scon
# Keys and tokens that only root can read: add to [Service], for each,
#   LoadCredential=scon.key:/etc/trioet/scon.key
# and name /run/credentials/trioet-scon.service/scon.key in the configuration.
[Unit]
Description=trioet scon, sessions of goscon's protocol that survive the network
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=all
ExecStart={command}
ExecReload=kill -HUP $MAINPID
Restart=on-failure
DynamicUser=yes
RuntimeDirectory=trioet-scon
RuntimeDirectoryMode=0700
Environment=TRIOET_RUNTIME_DIR=/run/trioet-scon
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


def unit(command: str) -> str:
    """The unit, for a command line as systemd.service(5) wants it."""
    return UNIT.format(command=command)
