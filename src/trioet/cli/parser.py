"""The parser of the commands that lead to a host.

Imports nothing slow: ssh is started right after this.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from trioet.errors import UsageError


def _never_shown(prog: str) -> argparse.HelpFormatter:
    """What argparse tries every argument with: of a width that it need not import anything for."""
    return argparse.HelpFormatter(prog, width=80)


class Parser(argparse.ArgumentParser):
    """Raises its errors as UsageError, and measures the terminal only where help is asked for."""

    def __init__(self, *, prog: str, usage: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=_never_shown,
            allow_abbrev=False,
        )

    def format_help(self) -> str:
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n        usage: {self.usage}")
