"""Asynchronous reads of values on the device, many at a time.

Reading one number makes the host wait for the device. Tensors are queued, concatenated, copied to pinned memory without
blocking, and read once the copy has finished.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Reader = Callable[[list[float]], None]


class Deferred:
    """Queue of (tensor, callback for its values), read in order."""

    def __init__(self) -> None:
        self._queue: list[tuple[Tensor, Reader]] = []
        self._copying: list[tuple[Any, Tensor, list[tuple[int, Reader]]]] = []

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, tensor: Tensor, reader: Reader) -> None:
        """Queue `tensor` (any shape, not to be modified afterwards); `reader` gets its values as a flat list."""
        self._queue.append((tensor.detach(), reader))

    def send(self) -> None:
        """Start copies of all queued tensors and read those that have finished. Does not wait for the device."""
        queue, self._queue = self._queue, []
        by_device: dict[torch.device, list[tuple[Tensor, Reader]]] = {}
        for tensor, reader in queue:
            by_device.setdefault(tensor.device, []).append((tensor, reader))
        for device, pairs in by_device.items():
            self._send(device, pairs)
        self._read_arrived(wait=False)

    def drain(self) -> None:
        """Read all values, waiting for the device where necessary."""
        self.send()
        self._read_arrived(wait=True)

    def _send(self, device: torch.device, pairs: list[tuple[Tensor, Reader]]) -> None:
        dtype = torch.float32 if device.type == "mps" else torch.float64
        with torch.no_grad():
            joined = torch.cat([tensor.reshape(-1).to(dtype) for tensor, _ in pairs])
        readers = [(tensor.numel(), reader) for tensor, reader in pairs]
        event = None
        if device.type == "cuda":
            host = torch.empty(joined.shape, dtype=dtype, pin_memory=True)
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
