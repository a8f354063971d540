"""The introduction: a client and a server that share a key, or TLS, begin a session.

Before the link's own ConnectRequest, on the same connection or inside TLS::

    client                                      server
    ConnectRequest{id, 6, introduction{
        public key, proof of the key}}     ->
                                           <-   ConnectResponse{introduction{
                                                    public key, proof of the key}}

Both now know the session's passkey (agreement.py), and the client says the link's first
ConnectRequest with that id. A ConnectResponse with a status is a refusal. Whoever repeats a
client's introduction gets a session that needs the client's secret key to be used.
"""

from __future__ import annotations

import hmac
from typing import Final

from trioet.errors import FrameError, HandshakeError
from trioet.wire.agreement import KeyPair, PreSharedKey
from trioet.wire.framing import HANDSHAKE_LENGTH, MAX_HANDSHAKE_FRAME, handshake_frame
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    Introduction,
    decode_introduction_answer,
    encode_connect_request,
    encode_introduction_answer,
)

WRONG_KEY: Final = b"this server has another pre-shared key"
"""What a server tells who does not prove that it holds the key."""


class IntroductionOfClient:
    """The client's side: say :attr:`request`, then feed what comes."""

    def __init__(self, psk: PreSharedKey, client_id: bytes, keys: KeyPair | None = None) -> None:
        """``keys`` are fresh ones, unless a test gives them."""
        self._psk = psk
        self._id = client_id
        self._keys = keys or KeyPair.fresh()
        self._pending = b""
        proof = psk.client_proof(client_id, self._keys.public)
        self.introduction = Introduction(self._keys.public, proof)
        self.request = handshake_frame(
            encode_connect_request(ConnectRequest(client_id, introduction=self.introduction))
        )

    def feed(self, data: bytes) -> bytes | ConnectResponse | None:
        """Take bytes; return the passkey, the refusal, or None as long as more must come.

        Raises:
          PeerError: whoever answers knows nothing of introductions, or lacks the key.
        """
        self._pending += data
        body = _first_frame(self._pending)
        if body is None:
            return None
        answer = decode_introduction_answer(body)
        if isinstance(answer, ConnectResponse):
            return answer
        public = self._keys.public
        expected = self._psk.server_proof(self._id, public, answer.public_key)
        if not hmac.compare_digest(expected, answer.proof):
            raise HandshakeError("the server does not hold our pre-shared key")
        return self._psk.passkey(
            self._keys,
            answer.public_key,
            client_id=self._id,
            client_public=public,
            server_public=answer.public_key,
        )


def answer_introduction(
    psk: PreSharedKey, request: ConnectRequest, keys: KeyPair | None = None
) -> tuple[bytes, bytes]:
    """The server's side: return what to say, and the passkey.

    Raises:
      HandshakeError: the client does not hold the key, or did not introduce itself.
    """
    given = request.introduction
    if given is None:
        raise HandshakeError("no introduction")
    expected = psk.client_proof(request.client_id, given.public_key)
    if not hmac.compare_digest(expected, given.proof):
        raise HandshakeError("the client does not hold our pre-shared key")
    keys = keys or KeyPair.fresh()
    passkey = psk.passkey(
        keys,
        given.public_key,
        client_id=request.client_id,
        client_public=given.public_key,
        server_public=keys.public,
    )
    proof = psk.server_proof(request.client_id, given.public_key, keys.public)
    answer = handshake_frame(encode_introduction_answer(Introduction(keys.public, proof)))
    return answer, passkey


def words_of(text: bytes) -> str:
    """What a stranger says for people to read: it must not reach into their terminals."""
    said = text.decode(errors="replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in said)


def _first_frame(data: bytes) -> bytes | None:
    """The body of the only frame in ``data``; None until it is whole."""
    if len(data) < HANDSHAKE_LENGTH.size:
        return None
    (length,) = HANDSHAKE_LENGTH.unpack_from(data)
    if not 0 <= length <= MAX_HANDSHAKE_FRAME:
        raise FrameError(f"an answer of {length} bytes; limit {MAX_HANDSHAKE_FRAME}")
    end = HANDSHAKE_LENGTH.size + length
    if len(data) > end:
        raise HandshakeError("something behind the answer to an introduction")
    return data[HANDSHAKE_LENGTH.size :] if len(data) == end else None
