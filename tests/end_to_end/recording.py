"""A wire that somebody listens to: carries the bytes between a program and the relay, and keeps what was said."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from threading import Lock, Thread
from typing import Self
from urllib.parse import urlsplit

END_OF_HEADERS = b"\r\n\r\n"


class Recording:
    """Listens at ``url`` and carries on to the relay. WebSocket frames are kept without their masks."""

    def __init__(self, relay: str) -> None:
        parts = urlsplit(relay)
        self._relay = parts.hostname or "", parts.port or 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = Lock()
        self._wires: list[bytearray] = []
        self._open: list[socket.socket] = []
        Thread(target=self._accept, daemon=True).start()

    def heard(self) -> bytes:
        """Everything that has passed so far, both ways: headers, and the payloads of all frames."""
        with self._lock:
            wires = [bytes(wire) for wire in self._wires]
        return b"\n".join(_unmasked(wire) for wire in wires)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._relay)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    wire = bytearray()
                    self._wires.append(wire)
                    Thread(target=self._carry, args=(source, sink, wire), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, wire: bytearray) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                with self._lock:
                    wire += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as closing:
            for open_socket in (self._listener, *self._open):
                closing.enter_context(open_socket)


def _unmasked(wire: bytes) -> bytes:
    """One direction of a WebSocket (RFC 6455, 5.2): its headers, then the payloads of its frames."""
    headers, _, rest = wire.partition(END_OF_HEADERS)
    said = [headers]
    while len(rest) >= 2:
        masked, length, at = rest[1] & 0x80, rest[1] & 0x7F, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(rest[at : at + size], "big"), at + size
        mask = rest[at : at + 4] if masked else bytes(4)
        at += 4 if masked else 0
        payload = rest[at : at + length]
        said.append(_xor(payload, mask))
        rest = rest[at + length :]
    return b"\n".join(said)


def _xor(payload: bytes, mask: bytes) -> bytes:
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")
