"""Words of what is found before training, where no curve is there yet to speak of."""

from __future__ import annotations

from typing import Any

from danlu.doctor.finding import Finding
from danlu.doctor.phrase import Phrase

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "data.leak": {
        "en": (
            "The same image lies in training and in validation or test",
            "{pairs} pairs of (nearly) identical images lie in different parts: they concern {twins} of {held} samples that are held out ({share:%}). For example: {names}.",
            "Remove duplicates before splitting, or keep what belongs together on one side: --split group:COLUMN.",
        ),
        "zh": (
            "同一张图片既在训练集又在验证或测试集",
            "有 {pairs} 对（几乎）相同的图片分在不同部分，涉及 {held} 个保留样本中的 {twins} 个（{share:%}）。例如：{names}。",
            "先去重再划分，或把同源样本放在同一侧：--split group:列名。",
        ),
    },
    "data.duplicates": {
        "en": (
            "Images lie there more than once",
            "{pairs} pairs are (nearly) identical ({share:%} of the samples have such a twin), {conflicts} of them with different labels. For example: {names}.",
            "Delete the copies, and look at those with different labels by eye: one of each pair is wrong.",
        ),
        "zh": (
            "有重复的图片",
            "{pairs} 对（几乎）相同（{share:%} 的样本有这样的副本），其中 {conflicts} 对标签不同。例如：{names}。",
            "删除多余的副本；标签不同的要亲眼核对：每对必有一个是错的。",
        ),
    },
    "data.degenerate": {
        "en": (
            "Blank images",
            "{blank} of {samples} images show one value everywhere: {names}.",
            "Delete them, or find out what emptied them.",
        ),
        "zh": ("空白图片", "{samples} 张图片中有 {blank} 张处处同值：{names}。", "删除它们，或查明为何变空。"),
    },
    "data.imbalance": {
        "en": (
            "Classes are very uneven",
            "{rare} has {count} training samples, {common} has {most}: plain accuracy will hide how {rare} fares.",
            "Judge by F1 or per-class recall; try --loss.class_weights balanced or --data.balance true.",
        ),
        "zh": (
            "类别极不均衡",
            "{rare} 有 {count} 个训练样本，{common} 有 {most} 个：准确率会掩盖 {rare} 的好坏。",
            "用 F1 或每类召回率评价；试 --loss.class_weights balanced 或 --data.balance true。",
        ),
    },
    "data.split_shift": {
        "en": (
            "Classes that training lacks",
            "Validation or test has classes without a single training sample: {classes}.",
            "Split at random within classes (--split stratified), or take these classes out.",
        ),
        "zh": (
            "训练集缺少某些类",
            "验证或测试中的这些类没有任何训练样本：{classes}。",
            "按类分层划分（--split stratified），或去掉这些类。",
        ),
    },
    "model.bad_init": {
        "en": (
            "The first loss is not that of a guess",
            "It is {loss}, where equal odds for {classes} classes give ln {classes} = {usual}: the first outputs are too large or the labels do not fit.",
            "Initialise the last layer small (nn.init.normal_(head.weight, std=0.01); nn.init.zeros_(head.bias)), and check the scale of inputs and the labels.",
        ),
        "zh": (
            "初始损失不等于随机猜测",
            "初始损失为 {loss}，而 {classes} 类等概率时应为 ln {classes} = {usual}：最初的输出过大，或标签不符。",
            "最后一层用小的初始化（nn.init.normal_(head.weight, std=0.01); nn.init.zeros_(head.bias)），并检查输入尺度和标签。",
        ),
    },
    "model.unreached": {
        "en": (
            "No gradient reaches some parameters",
            "{count} trainable parameters got none: {names}.",
            "Use them in forward, or drop them; look for .detach(), torch.no_grad() or a branch that is never taken.",
        ),
        "zh": (
            "有参数得不到梯度",
            "{count} 个可训练参数没有梯度：{names}。",
            "在 forward 中使用它们，或删除；检查 .detach()、torch.no_grad() 和从不执行的分支。",
        ),
    },
    "fit.not_learning": {
        "en": (
            "One batch cannot be learnt by heart",
            "After {steps} steps of Adam on the same {samples} samples the loss went from {first} to {last}; a sound model goes close to zero.",
            "Do not train longer: look at the model, the loss and the labels first.",
        ),
        "zh": (
            "连一个批次都记不住",
            "在同样的 {samples} 个样本上用 Adam 走 {steps} 步，损失从 {first} 到 {last}；正常的模型会接近零。",
            "不要加长训练：先检查模型、损失和标签。",
        ),
    },
}


def say(code: str, severity: str, confidence: float, language: str, facts: dict[str, Any]) -> Finding:
    """A finding with its words filled in."""
    from danlu.doctor.messages import filled, worded

    table = WORDS[code]
    title, cause, remedy = filled(table.get(language, table["en"]), facts, "", language)
    where = Phrase("before training")
    return worded(Finding(code, severity, confidence, where, facts, title, cause, remedy), language)
