"""What `ssh -G` answers, with whatever is in the files it has read: bootstrap/ssh_config.py."""

from __future__ import annotations

from harness import Target, instrumented

with instrumented():
    from trioet.bootstrap.ssh_config import environment_to_send, parse_ssh_config
    from trioet.errors import StepFailed


def take(data: bytes) -> None:
    config = parse_ssh_config(data)
    assert 0 < config.port < 65536
    environment_to_send(config, {b"LANG": b"C", b"LC_ALL": b"C", b"X": b"\xff"})


TARGET = Target(
    take,
    seeds=[
        b"hostname example.org\nport 22\nuser me\nsendenv LANG\nsendenv LC_*\nsetenv A=b c\n",
        b"hostname ::1\nport 65535\nrequesttty force\nsessiontype none\nescapechar ^]\n",
        b"hostname h\nidentityfile ~/.ssh/a b\nidentityagent none\naddressfamily inet6\n",
    ],
    refusals=(StepFailed,),
)

if __name__ == "__main__":
    TARGET.run()
