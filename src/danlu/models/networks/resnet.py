"""ResNet-18, 34, 50, 101 and 152 (He et al. 2015)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn

from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.models.parts import activation_layer, conv, he_normal
from danlu.models.spec import NetworkSpec
from danlu.models.stochastic_depth import StochasticDepth, rates
from danlu.refuse import one_of, refusal

# Depth -> blocks per stage (Table 1 of the paper). Depths from 50 on use bottleneck blocks.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STEMS = ("imagenet", "3x3")
STRIDES = ("3x3", "1x1")


class Block(nn.Module):
    """Residual block activation(shortcut(x) + g(x)), g two 3x3 convolutions, the first with the stride."""

    def __init__(
        self, inputs: int, width: int, *, stride: int = 1, norm: str, activation: str, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv(inputs, width, 3, stride=stride, norm=norm, activation=activation),
            conv(width, width, 3, norm=norm, activation="none"),
        )
        self.shortcut = projection(inputs, width, stride, norm)
        self.drop_path = StochasticDepth(drop_path)
        self.activation = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', H', W') of a map (N, C, H, W)."""
        return self.activation(self.drop_path(self.residual(x)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """Residual block activation(shortcut(x) + g(x)), g 1x1 to `width`, 3x3, 1x1 to 4 `width` channels.

    Args:
        stride_in: The strided convolution: "3x3" ("v1.5", used by current published weights) or "1x1" (the paper).
        dilation: Of the 3x3 convolution.
        project: Always put a 1x1 convolution on the shortcut.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        stride: int = 1,
        norm: str,
        activation: str,
        drop_path: float = 0.0,
        stride_in: str = "3x3",
        dilation: int = 1,
        project: bool = False,
    ) -> None:
        super().__init__()
        outputs = 4 * width
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.residual = nn.Sequential(
            conv(inputs, width, 1, stride=first, norm=norm, activation=activation),
            conv(width, width, 3, stride=second, dilation=dilation, norm=norm, activation=activation),
            conv(width, outputs, 1, norm=norm, activation="none"),
        )
        self.shortcut = projection(inputs, outputs, stride, norm, always=project)
        self.drop_path = StochasticDepth(drop_path)
        self.activation = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', H', W') of a map (N, C, H, W)."""
        return self.activation(self.drop_path(self.residual(x)) + self.shortcut(x))


def projection(inputs: int, outputs: int, stride: int, norm: str, *, always: bool = False) -> nn.Module:
    """Build the shortcut: identity, or a 1x1 convolution if the shape changes (option B of the paper) or `always`."""
    if stride == 1 and inputs == outputs and not always:
        return nn.Identity()
    return conv(inputs, outputs, 1, stride=stride, norm=norm, activation="none")


def resnet(
    depth: int,
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "batch",
    activation: str = "relu",
    dropout: float = 0.0,
    drop_path: float = 0.0,
    stem: str = "imagenet",
    stride_in: str = "3x3",
) -> Backbone:
    """Build a stem, four stages that double the width and halve the size, global average pooling and a dense layer.

    ResNet-50: 25,557,032 parameters, 4.089 G multiply-adds at 3x224x224, K = 1000.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stem: "imagenet" (7x7 of stride 2, then 3x3 max pooling of stride 2) or "3x3" (stride 1, for 32-pixel images).
        drop_path: Stochastic-depth probability of the last block, rising linearly from the first.
        stride_in: See `Bottleneck`.

    Raises:
        Refusal: Unknown stem or stride_in, or stride_in "1x1" below depth 50.
    """
    one_of("model.stem", stem, STEMS, message("models.wanted.known_stem", "a known stem"))
    one_of(
        "model.stride_in",
        stride_in,
        STRIDES,
        message("models.wanted.known_place_stride", "a known place for the stride"),
    )
    if depth < 50 and stride_in == "1x1":
        raise refusal(
            "model.stride_in",
            message(
                "models.wanted.omitted_resnet_whose_blocks",
                "omitted for resnet{depth}, whose blocks have no 1x1",
                depth=depth,
            ),
            stride_in,
        )
    block = Block if depth < 50 else partial(Bottleneck, stride_in=stride_in)
    widths = [64 * 2**i for i in range(4)]
    outputs = [width if depth < 50 else 4 * width for width in widths]
    drops = iter(rates(drop_path, sum(BLOCKS[depth])))

    stages: list[nn.Sequential] = []
    inputs = 64
    for i, (width, blocks) in enumerate(zip(widths, BLOCKS[depth])):
        layers = []
        for j in range(blocks):
            stride = 2 if i > 0 and j == 0 else 1
            layers.append(block(inputs, width, stride=stride, norm=norm, activation=activation, drop_path=next(drops)))
            inputs = outputs[i]
        stages.append(nn.Sequential(*layers))

    first, strides = _stem(stem, channels, stages[0], norm, activation)
    network = Backbone(
        stages=first | {f"stage{i + 2}": stage for i, stage in enumerate(stages[1:])},
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(inputs, classes)),
        channels=(*([64] if stem == "imagenet" else []), *outputs),
        strides=strides,
    )
    he_normal(network)
    return network


def _stem(
    stem: str, channels: int, stage1: nn.Sequential, norm: str, activation: str
) -> tuple[dict[str, nn.Module], tuple[int, ...]]:
    """Return the stages up to stage 1, and the strides of all stages."""
    if stem == "3x3":
        first = conv(channels, 64, 3, norm=norm, activation=activation)
        return {"stage1": nn.Sequential(OrderedDict(stem=first, blocks=stage1))}, (1, 2, 4, 8)
    first = conv(channels, 64, 7, stride=2, norm=norm, activation=activation)
    return {"stem": first, "stage1": nn.Sequential(nn.MaxPool2d(3, 2, padding=1), *stage1)}, (2, 4, 8, 16, 32)


_resnets = partial(NetworkSpec, family="resnet", paper="He et al. 2015", residual=True)
NETWORKS = {
    **{f"resnet{depth}": _resnets(partial(resnet, depth), f"ResNet-{depth}; 224 pixels") for depth in BLOCKS},
    **{
        f"resnet{depth}-cifar": _resnets(
            partial(resnet, depth, stem="3x3"),
            f"ResNet-{depth} with a 3x3 stem; 32 pixels",
            default_input=(3, 32, 32),
        )
        for depth in (18, 34, 50)
    },
}
