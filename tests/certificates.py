"""Certificates of an authority that lives as long as a test."""

from __future__ import annotations

import ssl

import trustme


class Authority:
    """Signs for servers and clients."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def server(self, name: str = "localhost", *, asks: bool = False) -> ssl.SSLContext:
        """Of a server that is ``name``, and that may ask its clients for a certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(name).configure_cert(context)
        if asks:
            self._ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, name: str | None = None) -> ssl.SSLContext:
        """Of a client that trusts us, and is ``name`` if it is anybody."""
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        if name is not None:
            self._ca.issue_cert(name).configure_cert(context)
        return context
