"""The configuration of `trioet serve`, in both its formats: server/config.py."""

from __future__ import annotations

import logging

from harness import Target, instrumented

with instrumented():
    from trioet.errors import UsageError
    from trioet.server.config import MIN_REPLAY_MEMORY, parse_et_cfg, parse_toml


logging.disable()


def take(data: bytes) -> None:
    """The first byte chooses the format."""
    parse = parse_toml if data[:1] == b"T" else parse_et_cfg
    config = parse(data[1:].decode(errors="replace"), "file")
    assert 0 < config.port < 65536
    assert config.replay_memory >= MIN_REPLAY_MEMORY
    assert not config.socket or config.socket.startswith("/")


TARGET = Target(
    take,
    seeds=[
        b'Tport = 2023\nbind = ["::1", "192.0.2.1"]\nsocket = "/run/s"\n',
        b'Trelay = true\nrelay_to = ["*.internal:2022", "[2001:db8::/32]", "10.0.0.0/8:*"]\n',
        b'Treplay_memory = "256M"\nverbose = true\n',
        b"I[Networking]\nport = 2022\nbind_ip = 127.0.0.1\n",
        b"I; comment\n[Debug]\nverbose = 1\nsilent\n telemetry = true\n",
    ],
    refusals=(UsageError,),
)

if __name__ == "__main__":
    TARGET.run()
