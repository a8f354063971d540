"""The configuration of `trioet scon serve`, in both its formats: scon/config.py."""

from __future__ import annotations

from harness import Target, instrumented

with instrumented():
    from trioet.errors import UsageError
    from trioet.scon.config import dump, parse_toml, parse_yaml


def take(data: bytes) -> None:
    """The first byte chooses the format."""
    parse = parse_toml if data[:1] == b"T" else parse_yaml
    config = parse(data[1:].decode(errors="replace"), "file")
    assert config.hosts or config.upstream_option.resolv.port
    assert config.scp.reuse_time > 0
    if "@" not in config.cluster.redis:  # a password is not dumped
        assert parse_toml(dump(config), "dumped") == config


TARGET = Target(
    take,
    seeds=[
        b'Ttcp = ["[::]:1248"]\nhosts = [{ name = "a", addr = "h:1", weight = 3 }]\n',
        b'T[scp]\nreuse_buffer = "1M"\nsecure = "off"\n[[hosts]]\naddr = "[::1]:80"\n',
        b'T[upstream_option]\nresolv = { pattern = "^[a-z]+$", port = 80, suffix = ".x" }\n',
        b"Ytcp: 0.0.0.0:1248\nscp:\n  reuse_time: 60\nhosts:\n  - name: a\n    addr: h:1\n",
        b'Yupstream_option: {resolv: {port: 8000, pattern: "^a"}}\nkcp_option: {fec: 1}\n',
    ],
    refusals=(UsageError,),
)

if __name__ == "__main__":
    TARGET.run()
