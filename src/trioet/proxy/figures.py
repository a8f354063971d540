"""What a proxy knows of itself: for `/metrics`, and for `/healthz`."""

from __future__ import annotations

from collections.abc import Iterable

from trioet.health.endpoint import Health
from trioet.health.metrics import Metric, Sample, counter, gauge
from trioet.session.channel import Traffic


class Figures:
    """Counts of connections, bytes and sessions; and what is wrong, if anything is."""

    def __init__(self) -> None:
        self.traffic = Traffic("a proxy")
        """``sent`` towards --to, ``received`` from there."""
        self.accepted = 0
        self.open = 0
        self.failed = 0
        """Connections that could not be carried on, or were broken."""
        self.sessions = 0
        """Sessions that were opened to the gateway, one after the other."""
        self.trouble = ""
        """Why nothing can be carried now; empty: it can."""

    def health(self) -> Health:
        return Health(well=not self.trouble, text=self.trouble or "ok")

    def metrics(self) -> Iterable[Metric]:
        traffic = self.traffic
        yield gauge("trioet_proxy_up", "1 if connections can be carried now", int(not self.trouble))
        yield gauge("trioet_proxy_connections", "Connections that are open", self.open)
        yield counter("trioet_proxy_connections_total", "Connections accepted", self.accepted)
        yield counter("trioet_proxy_failures_total", "Connections that failed", self.failed)
        yield counter("trioet_proxy_sessions_total", "Sessions opened to a gateway", self.sessions)
        yield Metric(
            "trioet_proxy_bytes_total",
            "counter",
            "Bytes carried",
            (
                Sample(traffic.sent, {"direction": "to"}),
                Sample(traffic.received, {"direction": "from"}),
            ),
        )
