"""Figures of a service as Prometheus reads them: the text exposition format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/ has the format. It is a dozen
lines of text; a client library would bring registries and locks that a service with one
thread does without.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Kind: TypeAlias = Literal["counter", "gauge", "summary", "histogram"]

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NO_LABELS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of a metric. ``suffix`` is for summaries and histograms: ``"_sum"``."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """A name, what it means, and its figures.

    Raises:
      ValueError: a name or a label is none in Prometheus.
    """

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        for name in (self.name, *(self.name + sample.suffix for sample in self.samples)):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a metric")
        for sample in self.samples:
            for label in sample.labels:
                if not _LABEL.fullmatch(label):
                    raise ValueError(f"{label!r} cannot be a label of a metric")


def counter(
    name: str, meaning: str, value: float, labels: Mapping[str, str] = _NO_LABELS
) -> Metric:
    """A figure that only grows while the process lives."""
    return Metric(name, "counter", meaning, (Sample(value, labels),))


def gauge(name: str, meaning: str, value: float, labels: Mapping[str, str] = _NO_LABELS) -> Metric:
    """A figure that goes up and down."""
    return Metric(name, "gauge", meaning, (Sample(value, labels),))


def render(metrics: Iterable[Metric]) -> str:
    """The page that a scraper gets. Every metric stands there once, with all its samples."""
    lines: list[str] = []
    for metric in metrics:
        lines += (
            f"# HELP {metric.name} {_escaped(metric.help)}",
            f"# TYPE {metric.name} {metric.kind}",
        )
        lines += (
            f"{metric.name}{sample.suffix}{_labels(sample.labels)} {_number(sample.value)}"
            for sample in metric.samples
        )
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value, quoted=True)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str, *, quoted: bool = False) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return escaped.replace('"', '\\"') if quoted else escaped


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))  # of a truth too: 1 or 0
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
