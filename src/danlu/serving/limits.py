"""Limits on what a client may send."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from danlu.message import translated

Message = MutableMapping[str, Any]
SKIPPING_SECONDS = 5  # for the rest of a body that is too large
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
        """Pass a request to the application, or answer 413."""
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
                await _too_large(send, receive)


class _TooLarge(Exception):
    pass


async def _too_large(
    send: Callable[[Message], Awaitable[None]], receive: Callable[[], Awaitable[Message]] | None = None
) -> None:
    """Answer with 413. receive: of a client that still sends; closed at once, it would lose the answer."""
    text = "the request must be at most {limit} MiB"
    sentence = translated("serving.refuse.large_request", text, limit=MAX_BODY_BYTES >> 20)
    body = json.dumps({"error": sentence}, ensure_ascii=False).encode()
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": receive is not None})
    if receive is not None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_skip(receive), SKIPPING_SECONDS)
        await send({"type": "http.response.body", "body": b""})


async def _skip(receive: Callable[[], Awaitable[Message]]) -> None:
    """Read the rest of a body, at most as much again as is allowed, and forget it."""
    skipped = 0
    while skipped <= MAX_BODY_BYTES and (message := await receive()).get("more_body"):
        skipped += len(message.get("body", b""))
