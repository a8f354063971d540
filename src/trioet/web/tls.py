"""TLS from files, which may be replaced while we run: certificates live for ninety days."""

from __future__ import annotations

import ssl

from trioet.errors import StepFailed
from trioet.web.options import WebOptions


def tls_context(options: WebOptions) -> ssl.SSLContext | None:
    """Read the certificate, its key, and whose certificates visitors need; None without TLS.

    Raises:
      StepFailed: a file cannot be read, or is none of these.
    """
    if not options.has_tls:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(options.tls_certificate, options.tls_key or None)
    except (OSError, ssl.SSLError) as error:
        what = f"no certificate and key in {options.tls_certificate} and {options.tls_key}: {error}"
        raise StepFailed("tls", what, "both in PEM form: --tls-crt FILE --tls-key FILE") from error
    if options.tls_ca:
        try:
            context.load_verify_locations(options.tls_ca)
        except (OSError, ssl.SSLError) as error:
            what = f"no certificates in {options.tls_ca}: {error}"
            raise StepFailed("tls", what, "--tls-ca-crt FILE, in PEM form") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
