"""Parameters to the unit and multiply-adds to 1 %, against the papers and against counts of the libraries' networks."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from danlu.models.network_table import MODELS, build_model

# network, channels, size, classes, options -> parameters, millions of multiply-adds
COUNTS = [
    ("softmax", 1, 28, 10, {}, 7_850, 0.00784),
    ("mlp", 1, 28, 10, {}, 203_530, 0.2033),
    ("mlp", 1, 28, 10, {"width": (256, 256)}, 269_322, 0.2688),
    ("lenet5", 1, 32, 10, {}, 60_000, 0.416),  # 0.326 once the zeros of C3 are left out: see test_lenet5
    ("lenet", 1, 28, 10, {}, 61_706, 0.417),
    ("lenet-bn", 1, 28, 10, {}, 44_878, 0.2819),
    ("alexnet", 3, 227, 1000, {}, 60_965_224, 724),
    ("alexnet-2014", 3, 224, 1000, {}, 61_100_840, 714),
    ("alexnet-plain", 1, 224, 10, {}, 46_764_746, 938),
    ("vgg11", 3, 224, 1000, {}, 132_863_336, 7_609),
    ("vgg13", 3, 224, 1000, {}, 133_047_848, 11_308),
    ("vgg16", 3, 224, 1000, {}, 138_357_544, 15_470),
    ("vgg19", 3, 224, 1000, {}, 143_667_240, 19_632),
    ("vgg11-bn", 3, 224, 1000, {}, 132_868_840, 7_609),
    ("vgg13-bn", 3, 224, 1000, {}, 133_053_736, 11_308),
    ("vgg16-bn", 3, 224, 1000, {}, 138_365_992, 15_470),
    ("vgg19-bn", 3, 224, 1000, {}, 143_678_248, 19_632),
    ("vgg11-cifar", 3, 32, 10, {}, 9_231_114, 153),
    ("vgg13-cifar", 3, 32, 10, {}, 9_416_010, 228.3),
    ("vgg16-cifar", 3, 32, 10, {}, 14_728_266, 313),
    ("vgg19-cifar", 3, 32, 10, {}, 20_040_522, 398),
    ("vgg11", 1, 224, 10, {"width": (16, 32, 64, 128, 128)}, 43_093_322, 512),
    ("nin", 3, 224, 1000, {}, 7_595_176, 969),
    ("nin-plain", 1, 224, 10, {}, 1_992_166, 762),
    ("nin-cifar", 3, 32, 10, {}, 966_986, 222),
    ("googlenet", 3, 224, 1000, {}, 6_998_552, 1_583),
    ("googlenet", 3, 224, 1000, {"aux": True}, 13_378_280, 1_583),
    ("googlenet", 1, 96, 10, {}, 5_977_530, 276),
    ("bn-inception", 3, 224, 1000, {}, 11_285_224, 2_033),
    ("inception-v3", 3, 299, 1000, {}, 23_834_568, 5_713),
    ("inception-v3", 3, 299, 1000, {"aux": True}, 27_161_264, 5_713),
    ("inception-v4", 3, 299, 1000, {}, 42_679_816, 12_254),
    ("resnet18", 3, 224, 1000, {}, 11_689_512, 1_814),
    ("resnet34", 3, 224, 1000, {}, 21_797_672, 3_664),
    ("resnet50", 3, 224, 1000, {}, 25_557_032, 4_089),
    ("resnet50", 3, 224, 1000, {"stride_in": "1x1"}, 25_557_032, 3_858),
    ("resnet101", 3, 224, 1000, {}, 44_549_160, 7_801),
    ("resnet152", 3, 224, 1000, {}, 60_192_808, 11_514),
    ("resnet18-cifar", 3, 32, 10, {}, 11_173_962, 555),
    ("resnet20", 3, 32, 10, {}, 269_722, 40.6),
    ("resnet32", 3, 32, 10, {}, 464_154, 68.9),
    ("resnet44", 3, 32, 10, {}, 658_586, 97.2),
    ("resnet56", 3, 32, 10, {}, 853_018, 125.5),
    ("resnet110", 3, 32, 10, {}, 1_727_962, 252.9),
    ("detnet59", 3, 224, 1000, {}, 18_372_648, 5_000),
    ("detnet59", 3, 224, 1000, {"stride_in": "1x1"}, 18_372_648, 4_846),
    ("vit-tiny", 3, 224, 1000, {}, 5_717_416, 1_254),
    ("vit-small", 3, 224, 1000, {}, 22_050_664, 4_599),
    ("vit-base", 3, 224, 1000, {}, 86_567_656, 17_564),
    ("vit-base", 3, 224, 1000, {"patch": 32}, 88_224_232, 4_409),
    ("vit-large", 3, 224, 1000, {}, 304_326_632, 61_555),
]


@pytest.mark.parametrize(("name", "channels", "size", "classes", "options", "parameters", "millions"), COUNTS)
def test_counts(name, channels, size, classes, options, parameters, millions):
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = build_model(name, channels=channels, size=size, classes=classes, **options).eval()
        counter.flop_counts.clear()  # building some networks runs them once
        model(torch.empty(1, channels, size, size))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert counter.get_total_flops() / 2e6 == pytest.approx(millions, rel=0.01)


# Networks without a parameter count in COUNTS, and why.
NOT_COUNTED = {
    "linear": "any number of inputs and outputs; one affine map, as softmax",
    "perceptron": "any number of inputs and outputs; one affine map, as softmax",
    "small-cnn": "danlu's own network, without a paper",
    "r2plus1d-18": "counted with its clips in test_r2plus1d.py",
    "r2plus1d-mini": "danlu's own size, without a published count",
    "cspnet-nano": "danlu's own size, without a published classifier",
    "cspnet-tiny": "danlu's own size, without a published classifier",
    "cspnet-small": "danlu's own size, without a published classifier",
    "vit-mini": "danlu's own size, without a published count",
    "resnet34-cifar": "variant for 32 pixels, without a count in the paper",
    "resnet50-cifar": "variant for 32 pixels, without a count in the paper",
}


def test_every_network_of_a_paper_is_counted_or_has_a_reason():
    counted = {row[0] for row in COUNTS}
    published = {name for name, spec in MODELS.items() if spec.paper}
    assert counted.isdisjoint(NOT_COUNTED)
    assert published <= counted | NOT_COUNTED.keys() <= MODELS.keys()
