"""Listening sockets for a process, as systemd hands them over (sd_listen_fds(3))."""

from __future__ import annotations

from typing import Final

PLACE: Final = """
import os, sys
numbers = [int(number) for number in sys.argv[1].split(",")]
kept = [os.dup2(number, 200 + index) for index, number in enumerate(numbers)]
for index, number in enumerate(kept):
    os.dup2(number, 3 + index)
os.closerange(3 + len(kept), 300)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""What systemd does before exec: put the sockets at 3 and up, without close-on-exec."""
