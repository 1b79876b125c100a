"""Values that stay on the device until many of them can be read back at once.

Reading one number back makes the host wait for the device. So tensors are queued, joined into one, copied to pinned
memory without waiting, and read when the copy has arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Reader = Callable[[list[float]], None]


class Deferred:
    """A queue of (tensor, what to do with its numbers), read back in order."""

    def __init__(self) -> None:
        self._queue: list[tuple[Tensor, Reader]] = []
        self._copying: list[tuple[Any, Tensor, list[tuple[int, Reader]]]] = []

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, tensor: Tensor, reader: Reader) -> None:
        """Queue `tensor` (any shape; it must not be changed afterwards); `reader` gets its numbers as a flat list."""
        self._queue.append((tensor.detach(), reader))

    def send(self) -> None:
        """Start copying what is queued; read what has arrived. Does not wait for an accelerator."""
        queue, self._queue = self._queue, []
        by_device: dict[torch.device, list[tuple[Tensor, Reader]]] = {}
        for tensor, reader in queue:
            by_device.setdefault(tensor.device, []).append((tensor, reader))
        for device, pairs in by_device.items():
            self._send(device, pairs)
        self._read_arrived(wait=False)

    def drain(self) -> None:
        """Read everything back, waiting where needed."""
        self.send()
        self._read_arrived(wait=True)

    def _send(self, device: torch.device, pairs: list[tuple[Tensor, Reader]]) -> None:
        kind = torch.float32 if device.type == "mps" else torch.float64
        with torch.no_grad():
            joined = torch.cat([tensor.reshape(-1).to(kind) for tensor, _ in pairs])
        readers = [(tensor.numel(), reader) for tensor, reader in pairs]
        event = None
        if device.type == "cuda":
            host = torch.empty(joined.shape, dtype=kind, pin_memory=True)
            host.copy_(joined, non_blocking=True)
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(device))
            joined = host
        self._copying.append((event, joined, readers))

    def _read_arrived(self, wait: bool) -> None:
        while self._copying:
            event, joined, readers = self._copying[0]
            if event is not None and not event.query():
                if not wait:
                    return
                event.synchronize()
            self._copying.pop(0)
            numbers, start = joined.tolist(), 0
            for count, reader in readers:
                reader(numbers[start : start + count])
                start += count
