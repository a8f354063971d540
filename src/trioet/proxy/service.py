"""A proxy as a service: from READY to the last connection, and systemd's word for it."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioet.health.endpoint import Endpoint
from trioet.proxy.figures import Figures
from trioet.proxy.gateway import Gateway
from trioet.server.systemd import notify

log = logging.getLogger(__name__)

ENDING: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


async def serve(
    accept: Callable[[], Awaitable[None]],
    figures: Figures,
    *,
    gateway: Gateway | None,
    health: socket.socket | None,
    token: str | None,
    what: str,
) -> None:
    """Run ``accept``, and a gateway's session if there is one, until SIGTERM, SIGINT or SIGHUP.

    SIGHUP that is to be ignored, as by nohup(1), stays so.

    ``health`` listens for who asks how the service is, and for those with ``token`` what it
    counts. ``what`` is told when all is ready.

    Cancellation resets every connection.
    """
    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    with trio.open_signal_receiver(*ENDING - ignored) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            if health is not None:
                endpoint = Endpoint(health=figures.health, metrics=figures.metrics, token=token)
                nursery.start_soon(endpoint.serve, health)
            log.info("%s", what)
            notify("READY=1")
            async with trio.open_nursery() as session:
                if gateway is not None:
                    session.start_soon(gateway.run)
                async for _ in signals:
                    break
                notify("STOPPING=1")
                if gateway is not None:
                    gateway.stop()
            nursery.cancel_scope.cancel()
