"""Words of the model findings."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "model.no_nonlinearity": {
        "en": (
            "Linear layers are stacked with nothing in between",
            "{first} feeds {second} without an activation ({pairs} of {links} links): together they are "
            "one linear map, and depth adds nothing.",
            "Put an activation between them, for example nn.ReLU() after {first}.",
        ),
        "zh": (
            "线性层之间没有非线性",
            "{first} 直接接到 {second}，中间没有激活函数（{links} "
            "处连接中有 {pairs} 处）：两层合起来仍是一个线性映射，深度没有用。",
            "在中间加激活函数，例如在 {first} 之后加 nn.ReLU()。",
        ),
    },
    "model.output_mismatch": {
        "en": (
            "The outputs do not fit the loss: {problem}",
            "The loss {loss} expects {wanted}; here the last thing applied is: {last}.",
            "{do}",
        ),
        "zh": (
            "输出与损失不匹配：{problem}",
            "损失 {loss} 需要 {wanted}；这里最后一步是：{last}。",
            "{do}",
        ),
    },
    "model.loss_mismatch": {
        "en": (
            "The loss does not fit the task",
            "The loss is {loss}, with {outputs} outputs and targets that are {targets} ({distinct} "
            "different values): {better} is made for this.",
            "loss_fn = nn.{better}()",
        ),
        "zh": (
            "损失函数与任务不符",
            "损失为 {loss}，输出 {outputs} 个，目标为 {targets}（{distinct} 种取值）：应使用 {better}。",
            "loss_fn = nn.{better}()",
        ),
    },
    "model.bad_init": {
        "en": (
            "Bad initial weights: {problem}",
            "At the start {problem}. Units that begin alike stay alike; a scale that changes by a factor "
            "per layer vanishes or explodes with depth.",
            "for m in model.modules(): isinstance(m, (nn.Linear, nn.Conv2d)) and "
            "nn.init.kaiming_normal_(m.weight, nonlinearity='relu'); and bring the inputs to mean 0, "
            "standard deviation 1.",
        ),
        "zh": (
            "初始化不当：{problem}",
            "训练开始时：{problem}。起点相同的单元会一直相同；每层按固定倍数变化的尺度会随深度消失或爆炸。",
            "for m in model.modules(): isinstance(m, "
            "(nn.Linear, nn.Conv2d)) and "
            "nn.init.kaiming_normal_(m.weight, "
            "nonlinearity='relu')；并把输入标准化为均值 0、标准差 1。",
        ),
    },
    "model.unreached": {
        "en": (
            "No gradient reaches {count} trainable parameters",
            "{parameters} got no gradient in the first steps: they are not used in forward, or cut off "
            "by detach(), .data, .item() or torch.no_grad().",
            "Use these layers in forward(), remove what cuts them off, or freeze them on purpose: "
            "p.requires_grad_(False).",
        ),
        "zh": (
            "有 {count} 个可训练参数收不到梯度",
            "{parameters} 在最初几步没有梯度：前向中没有用到，或被 detach()、.data、.item()、torch.no_grad() 切断。",
            "在 forward() 中用上这些层，去掉切断梯度的地方；若有意冻结，请写 p.requires_grad_(False)。",
        ),
    },
    "model.bias_before_norm": {
        "en": (
            "A bias before batch normalisation does nothing",
            "The normalisation {norm} subtracts the mean, and the bias of {where} with it (layers concerned: {count}).",
            "Leave it out: bias=False in {where}.",
        ),
        "zh": (
            "批归一化之前的偏置没有作用",
            "归一化层 {norm} 会减去均值，{where} 的偏置也随之消失（共 {count} 层）。",
            "在 {where} 中设 bias=False。",
        ),
    },
    "model.too_small": {
        "en": (
            "The model is too small",
            "Here {what}: training and validation are alike and far from perfect ({skill:%} and {val_skill:%} of the loss "
            "of guessing are explained), so it is not overfitting but room that is missing.",
            "Add width and a hidden layer, for example nn.Sequential(nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), "
            "nn.Linear(128, {outputs})).",
        ),
        "zh": (
            "模型太小",
            "{what}：训练与验证接近，且都远不完善（解释了随机猜测损失的 {skill:%} 和 {val_skill:%}），不是过拟合，"
            "而是容量不足。",
            "加宽并加隐藏层，例如 nn.Sequential(nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.Linear(128, "
            "{outputs}))。",
        ),
    },
    "model.too_large": {
        "en": (
            "The model is far larger than the data",
            "{weights} weights for {samples} samples ({ratio} each): it knows the training set by heart and does worse "
            "on validation.",
            "Use a narrower model or start from trained weights; more data or augmentation help more than either.",
        ),
        "zh": (
            "模型远大于数据",
            "{samples} 个样本用了 {weights} 个权重（每个样本 {ratio} 个）：模型记住了训练集，在验证上更差。",
            "用更窄的模型，或从预训练权重开始；增加数据或增强更有效。",
        ),
    },
}
