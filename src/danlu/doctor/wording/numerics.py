"""Words of the numerics findings."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "numerics.nonfinite": {
        "en": (
            "{what}",
            "It arose first in {place}{extent}.",
            "Cure the source: clean the input; add an epsilon inside log, sqrt and divisions "
            "(torch.log(p.clamp_min(1e-8))); use losses on logits; lower the rate or clip: "
            "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).",
        ),
        "zh": (
            "{what}",
            "最先出现在{place}{extent}。",
            "从源头处理：清理输入；在 log、sqrt、除法中加小量（torch.log(p.cla"
            "mp_min(1e-8))）；使用基于 logits "
            "的损失；降低学习率或裁剪：torch.nn.utils.clip_grad_norm_("
            "model.parameters(), 1.0)。",
        ),
    },
    "numerics.half_range": {
        "en": (
            "Out of the range of float16: {problem}",
            "float16 holds numbers from 6e-8 to 65504: smaller gradients become zero, larger values infinite.",
            "Use torch.autocast(device, dtype=torch.bfloat16), or scale the loss: scaler = "
            "torch.amp.GradScaler(); scaler.scale(loss).backward(); scaler.step(optimizer); "
            "scaler.update()",
        ),
        "zh": (
            "超出 float16 的范围：{problem}",
            "float16 只能表示 6e-8 到 65504：更小的梯度变为零，更大的值变为无穷。",
            "改用 torch.autocast(device, "
            "dtype=torch.bfloat16)，或缩放损失：scaler = "
            "torch.amp.GradScaler(); "
            "scaler.scale(loss).backward(); "
            "scaler.step(optimizer); scaler.update()",
        ),
    },
}
