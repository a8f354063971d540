"""What a server tells about itself: goscon's own metric names, and what they leave out.

goscon's names and their meaning are in its description, 5.4; ``trioet_scon_*`` are ours.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Final

from trioet.health.metrics import Metric, Sample, counter, gauge
from trioet.scon.counters import Counters

QUANTILES: Final = (0.5, 0.9, 0.99)


def metrics(counters: Counters, kept_bytes: int) -> list[Metric]:
    """The figures of one server."""
    resends = counters.resends
    return [
        counter("goscon_connection_accepts", "Connections accepted.", counters.accepts),
        counter("goscon_connection_accept_fails", "Failures of accept.", counters.accept_fails),
        counter("goscon_connection_close", "Sessions that have ended.", counters.closes),
        Metric(
            "goscon_handshake_errors",
            "counter",
            "Connections that began or resumed no session, by code; 501: broken or too slow.",
            _by("code", counters.handshake_errors),
        ),
        counter("goscon_connection_reuses", "Resumes of sessions.", counters.resumes),
        Metric(
            "goscon_connection_resend",
            "summary",
            "Bytes replayed at a resume.",
            (
                *(Sample(resends.quantile(q), {"quantile": str(q)}) for q in QUANTILES),
                Sample(resends.total, suffix="_sum"),
                Sample(resends.count, suffix="_count"),
            ),
        ),
        counter("goscon_connection_reuse_fails", "Resumes refused.", counters.resume_fails),
        counter("goscon_upstream_fails", "Backends not reached.", counters.upstream_fails),
        gauge("trioet_scon_sessions", "Live sessions.", counters.sessions),
        gauge(
            "trioet_scon_sessions_waiting",
            "Live sessions without a connection to their client.",
            counters.sessions_waiting,
        ),
        gauge("trioet_scon_kept_bytes", "Bytes kept for replays.", kept_bytes),
        counter("trioet_scon_sessions_begun_total", "Sessions begun.", counters.sessions_begun),
        Metric(
            "trioet_scon_bytes_total",
            "counter",
            "Bytes of sessions, from clients (up) and to them (down), replays left out.",
            (
                Sample(counters.bytes_up, {"direction": "up"}),
                Sample(counters.bytes_down, {"direction": "down"}),
            ),
        ),
        Metric(
            "trioet_scon_sessions_ended_total",
            "counter",
            "Sessions ended, by reason.",
            _by("reason", counters.close_reasons),
        ),
    ]


def _by(label: str, counted: Counter[int] | Counter[str]) -> tuple[Sample, ...]:
    return tuple(Sample(count, {label: str(value)}) for value, count in counted.items())


def to_json(found: Iterable[Metric]) -> bytes:
    """Metrics as a worker tells them."""
    return json.dumps([asdict(metric) for metric in found]).encode()


def from_json(data: bytes) -> list[Metric]:
    """What :func:`to_json` made."""
    return [
        Metric(**{**told, "samples": tuple(Sample(**sample) for sample in told["samples"])})
        for told in json.loads(data)
    ]


def of_workers(told: Mapping[str, Iterable[Metric]]) -> list[Metric]:
    """The figures of several servers on one page: each sample is labelled with its worker."""
    merged: dict[str, Metric] = {}
    for worker, found in told.items():
        for metric in found:
            samples = tuple(
                replace(sample, labels={"worker": worker, **sample.labels})
                for sample in metric.samples
            )
            known = merged.get(metric.name)
            merged[metric.name] = replace(
                metric, samples=(*(known.samples if known else ()), *samples)
            )
    return list(merged.values())
