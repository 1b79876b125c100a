"""Words of the findings about the fit."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "fit.overfitting": {
        "en": (
            "Overfitting",
            "The training loss went on falling to {train}, the validation loss was best in epoch {best_epoch} of "
            "{epochs} ({best}) and is now {last}: the model learns the training samples by heart.",
            "Keep the weights of epoch {best_epoch}; more data or augmentation, weight decay, dropout or a smaller "
            "model help further.",
        ),
        "zh": (
            "过拟合",
            "训练损失继续降到 {train}，而验证损失在第 {best_epoch} 轮（共 {epochs} 轮）最好（{best}），现在是 "
            "{last}：模型在死记训练样本。",
            "保留第 {best_epoch} 轮的权重；增加数据或增强、权重衰减、dropout，或用更小的模型。",
        ),
    },
    "fit.underfitting": {
        "en": (
            "Underfitting",
            "Training and validation are alike and both poor (they explain {skill:%} and {val_skill:%} of the loss of "
            "guessing), and the loss no longer falls: the model is too simple, or the inputs do not tell more.",
            "Try a wider or deeper model; if nothing changes, the answer is not in these inputs: add features, or "
            "check labels.",
        ),
        "zh": (
            "欠拟合",
            "训练与验证接近且都不好（分别解释了随机猜测损失的 {skill:%} 和 {val_skill:%}），损失也不再下降："
            "模型太简单，或输入里没有更多信息。",
            "换更宽或更深的模型；若没有变化，说明答案不在这些输入里：增加特征，或检查标签。",
        ),
    },
    "fit.one_class": {
        "en": (
            "One class is favoured: {problem}",
            "{shares} A constant answer, or a class weight on the wrong class, gives this.",
            "Check the weight of the loss; a balanced one is weight[k] = samples / (classes * count[k]), and for "
            "BCEWithLogitsLoss pos_weight = negatives / positives.",
        ),
        "zh": (
            "偏向一个类别：{problem}",
            "{shares}原因可能是输出恒定，或类别权重加错了类别。",
            "检查损失的权重；均衡的权重为 weight[k] = 样本数 / (类别数 * count[k])，BCEWithLogitsLoss 的 "
            "pos_weight = 负样本数 / 正样本数。",
        ),
    },
    "fit.not_learning": {
        "en": (
            "Nothing is learnt",
            "After {epochs} epochs the validation loss is no better than that of the best constant answer "
            "({chance}), and no graver fault was found.",
            "Overfit one batch first: train on 16 samples until the loss is near zero. If that works, check that "
            "inputs and labels belong together and that the inputs can tell the answer.",
        ),
        "zh": (
            "没有学到东西",
            "{epochs} 轮之后，验证损失不比最好的常数答案（{chance}）好，也没有发现更严重的问题。",
            "先在一个批次上过拟合：用 16 个样本训练到损失接近零。若能做到，再检查输入与标签是否对应、"
            "输入里是否有答案。",
        ),
    },
    "fit.regularisation_too_strong": {
        "en": (
            "Regularisation is too strong",
            "{source}: training explains {skill:%} of the loss of guessing, validation, without that noise, "
            "{val_skill:%}. The noise keeps the model from fitting what it could.",
            "Lower the dropout to 0.2 - 0.5, or weaken the augmentation: for m in model.modules(): isinstance(m, "
            "nn.Dropout) and setattr(m, 'p', 0.2)",
        ),
        "zh": (
            "正则化过强",
            "{source}：训练只解释了随机猜测损失的 {skill:%}，没有这种噪声的验证为 {val_skill:%}。"
            "噪声使模型学不到它本可以学到的。",
            "把 dropout 降到 0.2 - 0.5，或减弱增强：for m in model.modules(): isinstance(m, nn.Dropout) and "
            "setattr(m, 'p', 0.2)",
        ),
    },
    "fit.stopped_early": {
        "en": (
            "Training stopped early",
            "After {epochs} epochs the loss was still falling: its mean over the last quarter of the steps lay "
            "{descent:%} of the loss of guessing below that of the half before.",
            "Train for more epochs, until validation has not improved for several of them.",
        ),
        "zh": (
            "训练停得太早",
            "{epochs} 轮之后损失仍在下降：最后四分之一的平均损失比之前一半低随机猜测损失的 {descent:%}。",
            "多训练几轮，直到验证连续几轮不再改善。",
        ),
    },
    "fit.trained_too_long": {
        "en": (
            "Training went on too long",
            "Validation was best in epoch {best_epoch} of {epochs} ({best}, now {last}); what came after cost time "
            "and brought nothing.",
            "Stop when validation has not improved for a fifth of the epochs, and keep the best weights: "
            "torch.save(model.state_dict(), 'best.pt') at each new best.",
        ),
        "zh": (
            "训练得太久",
            "验证在第 {best_epoch} 轮（共 {epochs} 轮）最好（{best}，现在 {last}）；之后只花时间，没有收获。",
            "验证在五分之一的轮数内没有改善就停止，并保留最好的权重：每次刷新最好成绩时 "
            "torch.save(model.state_dict(), 'best.pt')。",
        ),
    },
}
