"""How KCP is spoken: goscon's ``kcp_option`` (5.2), and limits of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from trioet.scon import config_keys as keys

MAX_DATAGRAM: Final = 1500
"""Bytes of a datagram; larger ones are nobody's. kcp-go sends none either."""

_DAY: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class KcpOption:
    """Times in seconds, but for ``opt_interval``, which is in milliseconds; sizes in bytes."""

    reuseport: Annotated[None, keys.ignored] = None
    read_timeout: Annotated[float, keys.seconds(0.1, _DAY)] = 60.0
    fec_data_shards: Annotated[int, keys.no_fec] = 0
    fec_parity_shards: Annotated[int, keys.no_fec] = 0
    read_buffer: Annotated[int, keys.size(4096, 1024**3)] = 4 * 1024**2
    write_buffer: Annotated[int, keys.size(4096, 1024**3)] = 4 * 1024**2
    opt_mtu: Annotated[int, keys.whole(256, MAX_DATAGRAM)] = 1400
    opt_nodelay: Annotated[int, keys.whole(0, 2)] = 1
    opt_interval: Annotated[int, keys.whole(10, 5000)] = 10
    opt_resend: Annotated[int, keys.whole(0, 100)] = 2
    opt_nc: Annotated[int, keys.whole(0, 1)] = 1
    opt_sndwnd: Annotated[int, keys.whole(32, 32_768)] = 2048
    opt_rcvwnd: Annotated[int, keys.whole(128, 32_768)] = 2048
    opt_stream: Annotated[bool, keys.flag] = True
    opt_writedelay: Annotated[bool, keys.flag] = False
    # Ours.
    max_connections: Annotated[int, keys.whole(1, 1_000_000)] = 4096
    max_connections_per_source: Annotated[int, keys.whole(1, 1_000_000)] = 256
