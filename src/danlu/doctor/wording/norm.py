"""Words of the norm findings."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "norm.small_batch": {
        "en": (
            "Batch normalisation over batches of {batch}",
            "Each statistic is taken over {values} values of {batch} samples ({layers} layers): it is mostly noise, and what "
            "one sample becomes depends on its chance neighbours.",
            "Use group or layer normalisation (nn.GroupNorm(32, channels); danlu: --model.norm group), or batches of 16 and "
            "more, or freeze the running statistics when fine-tuning.",
        ),
        "zh": (
            "批归一化的批次只有 {batch}",
            "每个统计量只来自 {batch} 个样本的 {values} 个值（{layers} 层）：大部分是噪声，一个样本的结果取决于碰巧同批的样本。",
            "改用组归一化或层归一化（nn.GroupNorm(32, channels)；danlu：--model.norm group），或批次不小于 16，或微调时冻结统计量。",
        ),
    },
    "norm.train_eval_gap": {
        "en": (
            "The same batch does far worse in eval mode",
            "Its loss is {train} in train mode and {eval} in eval mode: the running statistics of {where} lie {shift} standard "
            "deviations from the batches' (momentum {momentum}).",
            "Use the usual momentum of 0.1, train longer before judging, or take the statistics anew: "
            "torch.optim.swa_utils.update_bn(loader, model).",
        ),
        "zh": (
            "同一批次在 eval 模式下差得多",
            "train 模式损失 {train}，eval 模式 {eval}：{where} 的滑动统计量与批次相差 {shift} 个标准差（momentum {momentum}）。",
            "使用通常的 momentum 0.1，训练更久再评价，或重新统计：torch.optim.swa_utils.update_bn(loader, model)。",
        ),
    },
}
