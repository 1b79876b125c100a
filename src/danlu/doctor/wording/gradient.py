"""Words of the gradient findings."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "gradient.vanishing": {
        "en": (
            "Gradients vanish towards the input",
            "Over {layers} layers the gradient shrinks by a factor {factor} per layer: at {where} it is "
            "{ratio} of that at the output, so the first layers hardly learn.",
            "Use ReLU or GELU in place of sigmoid or tanh, He initialisation, batch or layer "
            "normalisation, or residual connections (x + f(x)).",
        ),
        "zh": (
            "梯度向输入方向消失",
            "经过 {layers} 层，梯度每层缩小为 {factor} 倍：在 {where} 处只有输出处的 {ratio}，前面的层几乎学不到东西。",
            "用 ReLU 或 GELU 代替 sigmoid、tanh，使用 He 初始化、归一化层或残差连接 (x + f(x))。",
        ),
    },
    "gradient.exploding": {
        "en": (
            "Gradients explode",
            "The gradient {how}; largest norm {norm}.",
            "Use He or Xavier initialisation and normalisation layers, lower the rate, and clip: "
            "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        ),
        "zh": (
            "梯度爆炸",
            "梯度{how}；最大范数 {norm}。",
            "使用 He 或 Xavier 初始化与归一化层，降低学习率，并裁剪：torch.nn.u"
            "tils.clip_grad_norm_(model.parameters(), "
            "1.0)",
        ),
    },
}
