"""Words of the loop findings."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "loop.missing_zero_grad": {
        "en": (
            "Gradients pile up from step to step",
            "When backward begins, {share:%} of the last step's gradient is still in .grad: PyTorch adds "
            "to it, so every step also repeats all earlier ones.",
            "Clear the gradients once per step, before loss.backward(): optimizer.zero_grad()",
        ),
        "zh": (
            "梯度逐步累积",
            "反向传播开始时，.grad 里还留着上一步梯度的 {share:%}：PyTorch 会继续累加，于是每一步都重复了之前所有的步。",
            "每一步在 loss.backward() 之前清零一次：optimizer.zero_grad()",
        ),
    },
    "loop.wrong_sign": {
        "en": (
            "The loss is made larger, not smaller",
            "backward() begins with {scale} times the gradient of the loss: a minus stands before it. The loss went from "
            "{start} to {end}.",
            "Take the minus away: loss.backward(), where loss = loss_fn(model(x), y). If it is to be made large, "
            "optimizer = torch.optim.SGD(..., maximize=True) says so.",
        ),
        "zh": (
            "损失在被增大，而不是减小",
            "backward() 的起始梯度是损失梯度的 {scale} 倍：损失前多了一个负号。损失从 {start} 变为 {end}。",
            "去掉负号：loss.backward()，其中 loss = loss_fn(model(x), y)。若确实要增大它，请用 "
            "optimizer = torch.optim.SGD(..., maximize=True)。",
        ),
    },
    "loop.no_update": {
        "en": (
            "The weights do not change",
            "{reason} (passes {forwards}, backward passes {backwards}, optimiser steps {steps}).",
            "The order of a step is: optimizer.zero_grad(); loss = loss_fn(model(x), y); "
            "loss.backward(); optimizer.step(), with optimizer = torch.optim.SGD(model.parameters(), "
            "lr=0.05) made from this very model.",
        ),
        "zh": (
            "权重没有变化",
            "{reason}（前向 {forwards} 次，反向 {backwards} 次，优化器步 {steps} 次）。",
            "一步的顺序：optimizer.zero_grad(); loss = "
            "loss_fn(model(x), y); loss.backward(); "
            "optimizer.step()，并且优化器必须由同一个模型的 "
            "model.parameters() 建立。",
        ),
    },
    "loop.params_not_in_optimizer": {
        "en": (
            "The optimiser does not hold {count} trainable parameters",
            "{parameters}: a gradient is computed for them, but no optimiser uses it, so they stay as initialised.",
            "Make the optimiser from all parameters, after the model is complete: "
            "torch.optim.SGD(model.parameters(), ...); or freeze them on purpose: "
            "p.requires_grad_(False).",
        ),
        "zh": (
            "有 {count} 个可训练参数不在优化器中",
            "{parameters}：它们有梯度，但没有优化器使用，所以一直停在初始值。",
            "在模型搭建完整之后用全部参数建立优化器：torch.optim.SGD(model.pa"
            "rameters(), ...)；若有意冻结，请写 "
            "p.requires_grad_(False)。",
        ),
    },
    "loop.optimizer_recreated": {
        "en": (
            "The optimiser is made anew during training ({times} times)",
            "A new optimiser begins without momentum and without Adam's averages; at steps {steps} all "
            "that was gathered was thrown away.",
            "Make the optimiser once, before the loop over epochs; change its rate by a scheduler or by "
            "optimizer.param_groups[0]['lr'] = ...",
        ),
        "zh": (
            "训练中重新建立了优化器（{times} 次）",
            "新的优化器没有动量，也没有 Adam 的滑动平均；在第 {steps} 步，积累的状态全部丢失。",
            "在循环之前只建立一次优化器；学习率用调度器或 optimizer.param_groups[0]['lr'] = ... 来改。",
        ),
    },
    "loop.wrong_mode": {
        "en": (
            "{problem}",
            "Dropout and batch normalisation behave differently in train and eval mode. From epoch "
            "{epoch} on {problem}, so they do the wrong thing there.",
            "Call {call} before each {part} loop.",
        ),
        "zh": (
            "{part} 时模式不对：{problem}",
            "Dropout 和批归一化在训练与评估模式下行为不同。从第 {epoch} 轮起：{problem}。",
            "在每次 {part} 循环之前调用 {call}。",
        ),
    },
    "loop.graph_kept": {
        "en": (
            "Graphs are kept: {problem}",
            "A tensor that carries a gradient keeps the whole graph of its batch, with all activations, in memory.",
            "{do}",
        ),
        "zh": (
            "计算图被保留：{problem}",
            "带梯度的张量会把整个批次的计算图和所有激活留在内存里。",
            "{do}",
        ),
    },
    "loop.scheduler_misuse": {
        "en": (
            "The scheduler is stepped at the wrong place",
            "Of {group}, {problem}: where the schedule is stepped does not fit its numbers.",
            "{do}",
        ),
        "zh": (
            "调度器步进的位置不对",
            "{group}：{problem}。调度器步进的位置与其参数不相符。",
            "{do}",
        ),
    },
    "loop.metric_last_batch": {
        "en": (
            "{metric} is not the figure over all samples",
            "The loop says {told}, over all samples it is {right}: the figure is {how}, and the last "
            "batch is smaller than the others.",
            "Sum over samples and divide by their number: correct += (outputs.argmax(1) == "
            "y).sum().item(); total += len(y); accuracy = correct / total",
        ),
        "zh": (
            "{metric} 不是全部样本上的指标",
            "循环给出 {told}，按全部样本应为 {right}：算法是 {how}，而最后一批较小。",
            "按样本累加再除以样本数：correct += (outputs.argmax(1) "
            "== y).sum().item(); total += len(y); "
            "accuracy = correct / total",
        ),
    },
}
