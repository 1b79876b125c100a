"""Words of the activation findings."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "activation.dead_relu": {
        "en": (
            "Dead ReLU units in {where}",
            "{share:%} of the units were zero for each of {samples} samples ({layers} of {of} layers "
            "concerned): their gradient is zero, so they do not come back.",
            "Lower the learning rate, begin with small or zero biases, use He initialisation, or "
            "nn.LeakyReLU(0.01) in place of nn.ReLU().",
        ),
        "zh": (
            "{where} 中有死亡的 ReLU 单元",
            "在 {samples} 个样本上，{share:%} 的单元始终为零（{of} 层中有 {layers} 层）：其梯度为零，无法恢复。",
            "降低学习率，使用较小或为零的初始偏置、He 初始化，或用 nn.LeakyReLU(0.01) 代替 nn.ReLU()。",
        ),
    },
    "activation.saturated": {
        "en": (
            "Saturated {kind} units in {where}",
            "{share:%} of the units sit at an end of their range, where the derivative is nearly zero "
            "({layers} layers concerned).",
            "Bring inputs and weights to a smaller scale (standardise inputs, Xavier initialisation), "
            "lower the rate, or use ReLU.",
        ),
        "zh": (
            "{where} 中的 {kind} 单元饱和",
            "{share:%} 的单元停在取值范围的端点，那里导数几乎为零（涉及 {layers} 层）。",
            "缩小输入和权重的尺度（输入标准化、Xavier 初始化），降低学习率，或改用 ReLU。",
        ),
    },
    "activation.collapsed": {
        "en": (
            "{where} gives the same for every sample",
            "The variance over {samples} samples is {spread} of the mean square: layers after it cannot "
            "tell samples apart.",
            "Check the layer's input and initialisation; lower the rate or the weight decay; use "
            "normalisation layers or residual connections.",
        ),
        "zh": (
            "{where} 对所有样本输出相同",
            "{samples} 个样本上的方差只有均方的 {spread}：后面的层无法区分样本。",
            "检查该层的输入和初始化；降低学习率或权重衰减；使用归一化层或残差连接。",
        ),
    },
}
