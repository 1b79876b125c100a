"""Values that are queued to be read later."""

import torch

from danlu.doctor.observation.deferred import Deferred


def test_values_on_the_cpu_are_those_of_the_moment_and_hold_no_tensor():
    queue, read = Deferred(), []
    first, second = torch.tensor([[1.0, 2.0]]), torch.tensor(3, dtype=torch.int64)
    queue.add(first, read.append)
    queue.add(second, read.append)
    first.zero_()
    assert not [entry for entry, _ in queue._queue if isinstance(entry, torch.Tensor)]
    assert not read
    queue.send()
    assert read == [[1.0, 2.0], [3.0]]
    queue.drain()
    assert len(read) == 2
