"""Chinese of what is shown while a training runs; names of metrics and splits among them."""

from __future__ import annotations

from danlu.language import sayer

ZH: dict[str, str] = {
    "epoch {}": "第 {} 轮",
    "epochs": "轮次",
    "batch {}/{}": "批次 {}/{}",
    "batches": "批次",
    "  best": "  最佳",
    "lr {}": "学习率 {}",
    "train": "训练",
    "val": "验证",
    "test": "测试",
    "loss": "损失",
    "accuracy": "准确率",
    "box": "边框",
    "class": "分类",
    "objectness": "目标性",
    "proposal_box": "候选框",
    "mask": "掩码",
}

say = sayer(ZH)
