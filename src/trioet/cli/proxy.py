"""`trioet proxy`: a port here that leads elsewhere and survives, as a standing service."""

from __future__ import annotations

import logging
import sys

from trioet.cli.proxy_options import parse
from trioet.proxy.keys import new_key


def main(argv: list[str]) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP."""
    options = parse(argv)
    if isinstance(options, str):
        new_key(options)
        print(f"a new key is in {options}; the other end needs the same")
        return 0
    if options.print_unit is not None:
        from trioet.proxy.units import print_unit

        what = f"{options.listen} to {options.to}"
        sys.stdout.write(print_unit(options.print_unit, _without_unit(argv), what))
        return 0
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(levelname)s %(message)s",
        stream=sys.stderr,
    )
    from trioet.cli.proxied import run_proxy

    run_proxy(options)
    return 0


def _without_unit(argv: list[str]) -> list[str]:
    words = [word for word in argv if not word.startswith("--print-unit=")]
    if "--print-unit" in words:
        at = words.index("--print-unit")
        del words[at : at + 2]
    return words
