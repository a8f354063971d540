"""A program: `trioet connect` through a jumphost of ET's kind. Both hosts are this machine, their
ports are on the command line; ssh gets to both by the same configuration.

    python through_jumphost.py JPORT DPORT [options of trioet connect] host
"""

from __future__ import annotations

import os
import sys

import trio

from trioet.bootstrap import openssh
from trioet.bootstrap.credentials import DEFAULT_TERM, bootstrap_line, new_credentials
from trioet.bootstrap.et_jump import expect_at_jumphost
from trioet.bootstrap.ssh_config import SshConfig
from trioet.cli.connect_options import ConnectOptions, parse
from trioet.cli.connected import run_session
from trioet.cli.passage import Passage
from trioet.errors import TrioetError


async def _connect(options: ConnectOptions, jport: int, dport: int) -> int:
    target = options.ssh_target
    config: SshConfig = await openssh.fetch_ssh_config(target)
    line = bootstrap_line(new_credentials(), os.environ.get("TERM") or DEFAULT_TERM)
    session = await openssh.run(target, options.remote_command, line)
    jumphost = await expect_at_jumphost(
        openssh.run,
        target,
        session,
        ("127.0.0.1", dport),
        host="127.0.0.1",
        port=jport,
        kill_other_sessions=options.kill_other_sessions,
    )
    return await run_session(options, config, session, Passage(et_jumphost=jumphost))


def main() -> int:
    jport, dport, *rest = sys.argv[1:]
    try:
        return trio.run(_connect, parse(rest), int(jport), int(dport))
    except TrioetError as error:
        print(f"trioet: {error}", file=sys.stderr)
        return 255


if __name__ == "__main__":
    sys.exit(main())
