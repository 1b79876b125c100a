"""BN-Inception's channel sums follow the branches of the paper's table, not its printed totals."""

from __future__ import annotations

from danlu.models.networks.bn_inception import TABLE


def test_channel_sums():
    widths, inputs = [], 192
    for row in TABLE.values():
        inputs = row.width(inputs)
        widths.append(inputs)
    assert widths == [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024]
