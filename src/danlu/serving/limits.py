"""Limits on what a client may send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
MAX_BODY_BYTES = 64 << 20  # of one request
MAX_IMAGE_BYTES = 20 << 20
MAX_IMAGES = 64  # of one request
MAX_PIXELS = 64_000_000  # of one image


class BodyLimit:
    """ASGI middleware: refuse bodies of more than `MAX_BODY_BYTES` with 413, by their header or while they arrive."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > MAX_BODY_BYTES:
            await _too_large(send)
            return
        received, answered = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except _TooLarge:
            if not answered:
                await _too_large(send)


class _TooLarge(Exception):
    pass


async def _too_large(send: Callable[[Message], Awaitable[None]]) -> None:
    body = b'{"error": "the request must be at most %d MiB"}' % (MAX_BODY_BYTES >> 20)
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
