"""Words of the optimisation findings."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "optim.lr_too_high": {
        "en": (
            "The learning rate is too high",
            "{what} (rate {lr}; at the start each step changed the weights by {update_ratio:%} of their size, 0.1 % "
            "to 1 % is usual). The steps jump across the valley and land higher than they began.",
            "Divide the rate by 10: for g in optimizer.param_groups: g['lr'] /= 10. If only the first steps are "
            "too long, begin small: torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=200).",
        ),
        "zh": (
            "学习率过高",
            "{what}（学习率 {lr}；训练开始时每一步改变权重的比例为 {update_ratio:%}，通常约为 0.1 % 到 1 %）。"
            "步子跨过了谷底，落点比起点更高。",
            "把学习率除以 10：for g in optimizer.param_groups: g['lr'] /= 10。若只是最初几步太大，可做预热："
            "torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=200)。",
        ),
    },
    "optim.lr_too_low": {
        "en": (
            "The learning rate is too low",
            "At rate {lr} a step changes the weights by only {update_ratio:%} of their size (usual: about 0.1 %), "
            "and so far only {skill:%} of the loss of guessing is explained. The direction is "
            "right, the steps are too short.",
            "Multiply the rate by 10 and look again: for g in optimizer.param_groups: g['lr'] *= 10. Usual starts: "
            "Adam 1e-3, SGD with momentum 0.05.",
        ),
        "zh": (
            "学习率过低",
            "学习率为 {lr} 时，每一步只改变权重的 {update_ratio:%}（通常约 0.1 %），到目前只解释了随机猜测损失的 "
            "{skill:%}。方向没错，只是步子太短。",
            "把学习率乘以 10 再看：for g in optimizer.param_groups: g['lr'] *= 10。常用起点：Adam 1e-3，带动量的 "
            "SGD 0.05。",
        ),
    },
    "optim.oscillation": {
        "en": (
            "Steps bounce across a valley",
            "Each update points against the one before (cosine {cosine}, {measured} measured): the rate {lr} is at "
            "the edge of what the steepest direction allows, so the steps jump from wall to wall and cancel.",
            "Halve the rate: for g in optimizer.param_groups: g['lr'] /= 2; or let it fall: "
            "torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs).",
        ),
        "zh": (
            "参数在谷的两壁之间来回跳动",
            "每次更新都与上一次方向相反（余弦 {cosine}，测了 {measured} 次）：学习率 {lr} "
            "正处在最陡方向所能承受的边缘，各步相互抵消。",
            "学习率减半：for g in optimizer.param_groups: g['lr'] /= 2；或让它逐渐下降："
            "torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)。",
        ),
    },
    "optim.plateau_saddle": {
        "en": (
            "Training stands at a saddle point",
            "{why}. At such a point the gradient vanishes though it is no minimum: directions downwards exist, but "
            "the slope along them is tiny.",
            "Give the weights their usual scale: for m in model.modules(): isinstance(m, (nn.Linear, nn.Conv2d)) "
            "and nn.init.xavier_normal_(m.weight). Adam leaves such places sooner than SGD, a larger rate too.",
        ),
        "zh": (
            "训练停在鞍点",
            "{why}。这种地方梯度几乎为零却不是极小值：下降的方向是有的，只是坡度极小。",
            "恢复正常的初始尺度：for m in model.modules(): isinstance(m, (nn.Linear, nn.Conv2d)) and "
            "nn.init.xavier_normal_(m.weight)。Adam 或较大的学习率比 SGD 更快离开这种地方。",
        ),
    },
    "optim.plateau_minimum": {
        "en": (
            "Training stands at a minimum",
            "The gradient fell from {start} to {end} and the loss stays at {loss}: this model, on these inputs, "
            "has no more to gain here. Longer training or another rate will not help.",
            "Stop here; if the result is not good enough, use a larger model, better inputs, or less decay and "
            "dropout.",
        ),
        "zh": (
            "训练已到极小值",
            "梯度从 {start} 降到 {end}，损失停在 {loss}：这个模型在这些输入上已没有可改进之处，"
            "继续训练或换学习率都没有用。",
            "可以停止；若结果不够好，请换更大的模型、更好的输入，或减弱权重衰减与 dropout。",
        ),
    },
    "optim.slow_convergence": {
        "en": (
            "The loss was still falling when training ended",
            "In the last quarter of {steps} steps the mean loss was still {descent:%} of the loss of guessing below "
            "that of the half before; {epochs} epochs were not enough at this pace.",
            "Train longer, or faster: standardise the inputs, use Adam or momentum 0.9, or add normalisation layers.",
        ),
        "zh": (
            "训练结束时损失仍在下降",
            "在 {steps} 步的最后四分之一里，平均损失仍比之前一半低随机猜测损失的 {descent:%}；按这个速度，{epochs} "
            "轮不够。",
            "训练更久，或加快收敛：标准化输入，使用 Adam 或动量 0.9，加归一化层。",
        ),
    },
    "optim.weight_decay_too_strong": {
        "en": (
            "Weight decay is too strong",
            "Rate x decay is {pull:%} a step: the weights halve every {half_life} steps unless the gradient rebuilds "
            "them (decay {decay}; the pull of decay is {ratio} times the gradient; weights are at {shrunk:%} of "
            "their first norm).",
            "Use a decay of 1e-4 (SGD) or 1e-2 (AdamW), and none on biases and norms: for g in "
            "optimizer.param_groups: g['weight_decay'] = 1e-4",
        ),
        "zh": (
            "权重衰减过强",
            "学习率×衰减为每步 {pull:%}：若无梯度补回，权重每 {half_life} 步减半（衰减 {decay}；衰减的拉力是梯度的 "
            "{ratio} 倍；权重范数已是开始时的 {shrunk:%}）。",
            "SGD 用 1e-4，AdamW 用 1e-2，偏置和归一化层不用衰减：for g in optimizer.param_groups: "
            "g['weight_decay'] = 1e-4",
        ),
    },
    "optim.momentum_too_high": {
        "en": (
            "Momentum is too high",
            "With momentum {momentum} each gradient acts for about {reach} steps (the run has {steps}), so the "
            "rate is in effect {effective}: the weights swing past the valley and back.",
            "for g in optimizer.param_groups: g['momentum'] = 0.9. To keep a high momentum, multiply the rate by "
            "(1 - new) / (1 - old).",
        ),
        "zh": (
            "动量过高",
            "动量 {momentum} 使每个梯度持续作用约 {reach} 步（全程 {steps} 步），等效学习率为 {effective}："
            "权重冲过谷底来回摆动。",
            "for g in optimizer.param_groups: g['momentum'] = 0.9。若要保留高动量，请把学习率乘以 (1 - 新) / (1 - "
            "旧)。",
        ),
    },
    "optim.batch_too_small": {
        "en": (
            "The batch is too small: noise drowns the signal",
            "With {batch} samples a step the gradient is mostly chance: signal and noise would balance at {balance} "
            "(McCandlish et al. 2018).",
            "Use batches of 32 or more; where memory forbids it, add up gradients over several batches, or divide "
            "the rate by 10: DataLoader(dataset, batch_size=32, shuffle=True)",
        ),
        "zh": (
            "批次太小：噪声淹没信号",
            "每步只有 {batch} 个样本，梯度大多是偶然的：信号与噪声在{balance}时才相当（McCandlish 等，2018）。",
            "批大小用 32 以上；显存不够时累积多个批次的梯度，或把学习率除以 10：DataLoader(dataset, batch_size=32, "
            "shuffle=True)",
        ),
    },
    "optim.batch_too_large": {
        "en": (
            "The batch is too large: too few steps",
            "Batches of {batch} from {samples} samples leave only {steps} steps, and the loss was still falling at "
            "the end. Smaller batches take more steps for the same reading of the data.",
            "DataLoader(dataset, batch_size=64, shuffle=True)",
        ),
        "zh": (
            "批次太大：步数太少",
            "{samples} 个样本用 {batch} 的批次，只走了 {steps} 步，结束时损失仍在下降。"
            "较小的批次读同样多的数据能走更多步。",
            "DataLoader(dataset, batch_size=64, shuffle=True)",
        ),
    },
    "optim.no_warmup": {
        "en": (
            "No warm-up",
            "Adam takes its full rate {lr} from the first step, when its averages are still guesses; on a net with "
            "layer normalisation the first steps changed the weights by {update_ratio:%} each, and the loss stood at "
            "{spike} times that of guessing at its worst.",
            "Let the rate rise: torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=500), "
            "stepped per batch; or put the normalisation first (norm_first=True).",
        ),
        "zh": (
            "没有学习率预热",
            "Adam 从第一步就用全部学习率 {lr}，而此时它的滑动平均还不可靠；在带层归一化的网络上，"
            "最初每步改变权重的 {update_ratio:%}，损失最差时是随机猜测的 {spike} 倍。",
            "让学习率逐步升高：torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=500)，"
            "按批次步进；或把归一化放在前面 (norm_first=True)。",
        ),
    },
    "optim.clipping_always": {
        "en": (
            "Nearly every step is clipped",
            "{clipped:%} of the steps are clipped: gradients of norm {raw} are cut down to {limit}. The "
            "clip, not the rate, sets the length of the steps.",
            "Raise the limit above the usual norm, for example torch.nn.utils.clip_grad_norm_(model.parameters(), "
            "2 * {raw}), so that it only catches the rare large ones.",
        ),
        "zh": (
            "几乎每一步都被裁剪",
            "被裁剪的步占 {clipped:%}：范数 {raw} 的梯度被裁到 {limit}。决定步长的是裁剪而不是学习率。",
            "把上限提高到平常范数之上，例如 torch.nn.utils.clip_grad_norm_(model.parameters(), 2 * {raw})，"
            "只拦住少数过大的梯度。",
        ),
    },
}
