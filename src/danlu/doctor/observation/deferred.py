"""Asynchronous reads of values on the device, many at a time.

Reading one number makes the host wait for the device. Tensors are queued, concatenated, copied to pinned memory without
blocking, and read once the copy has finished. On the CPU nothing waits, and values are copied at once: a small tensor
that is kept among the activations of a pass holds the memory around it.
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
        self._queue: list[tuple[Tensor | list[float], Reader]] = []
        self._copying: list[tuple[Any, Tensor | list[float], list[tuple[int, Reader]]]] = []

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, tensor: Tensor, reader: Reader) -> None:
        """Queue `tensor` (any shape, not to be modified afterwards); `reader` gets its values as a flat list."""
        tensor = tensor.detach()
        self._queue.append((_numbers(tensor) if tensor.device.type == "cpu" else tensor, reader))

    def send(self) -> None:
        """Start copies of all queued tensors and read those that have finished. Does not wait for the device."""
        queue, self._queue = self._queue, []
        by_device: dict[torch.device, list[tuple[Tensor, Reader]]] = {}
        for values, reader in queue:
            if isinstance(values, list):
                self._copying.append((None, values, [(len(values), reader)]))
            else:
                by_device.setdefault(values.device, []).append((values, reader))
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
            numbers, start = joined if isinstance(joined, list) else joined.tolist(), 0
            for count, reader in readers:
                reader(numbers[start : start + count])
                start += count


def _numbers(tensor: Tensor) -> list[float]:
    return tensor.reshape(-1).to(torch.float64).tolist()
