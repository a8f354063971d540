"""What a keeper answers that was asked for more than a session."""

from __future__ import annotations

import json
from typing import Any

from trioet.errors import LocalError, StepFailed
from trioet.server.request import INVITED, REFUSED


def granted(answer: bytes, older: StepFailed) -> dict[str, Any]:
    """Return the details of what it grants.

    Raises:
      StepFailed: it refuses, and says why; ``older`` if it does not know such requests.
      LocalError: that is no answer.
    """
    if answer.startswith(INVITED):
        details: dict[str, Any] = json.loads(answer.removeprefix(INVITED))
        return details
    if b"a request that this keeper does not know" in answer:
        raise older
    if answer.startswith(REFUSED):
        fields = json.loads(answer.removeprefix(REFUSED))
        raise StepFailed(fields["step"], fields["what"], fields["hint"])
    raise LocalError("the keeper does not answer; its log is keeper.log")
