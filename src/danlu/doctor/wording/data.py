"""Words of the data findings."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "data.leak": {
        "en": (
            "Validation samples were trained on",
            "{leaked} of the {seen} validation samples looked at also occurred in training ({share:%} of them; only a part of "
            "the training set was looked at): the validation score shows memory, not skill.",
            "Remove duplicates before splitting, and split by group where samples belong together (patient, video, scene): "
            "danlu train DATA --split group:COLUMN, or sklearn.model_selection.GroupShuffleSplit.",
        ),
        "zh": (
            "验证样本出现在训练集中",
            "在查看的 {seen} 个验证样本中，有 {leaked} 个也出现在训练中（占 {share:%}；训练集只看了一部分）：验证分数反映的是记忆，不是能力。",
            "先去重再划分；同源样本（同一病人、视频、场景）按组划分：danlu train DATA --split group:列名，或 sklearn 的 GroupShuffleSplit。",
        ),
    },
    "data.duplicates": {
        "en": (
            "Samples occur more than once",
            "{repeated:%} of an epoch's samples looked at had come before in the same epoch; {conflicts} identical samples came "
            "with different labels. Repeats weigh more than they should, and contradictory labels cannot be learnt.",
            "Drop duplicates (pandas: df.drop_duplicates(); images: by hash), and look at those with different labels by "
            "hand. A sampler that draws with replacement on purpose is no fault.",
        ),
        "zh": (
            "样本重复出现",
            "一轮中查看的样本有 {repeated:%} 在同一轮里出现过；{conflicts} 个完全相同的样本带有不同的标签。重复样本权重过大，矛盾的标签无法学习。",
            "去重（pandas：df.drop_duplicates()；图片：按哈希），标签矛盾的样本人工核对。有意的有放回采样不算错误。",
        ),
    },
    "data.imbalance": {
        "en": (
            "Class {class} is so rare that accuracy hides it",
            "It makes up {share:%} of the training labels, the commonest {common:%}; {found:%} of it is found in validation, against "
            "{found_common:%} of the commonest. Always saying the common class scores well and is useless.",
            "Judge by per-class recall or F1. Weigh the classes: nn.CrossEntropyLoss(weight=1 / counts), danlu: "
            "--loss.class_weights balanced or --data.balance true; or collect more of the rare class.",
        ),
        "zh": (
            "类别 {class} 太少，准确率掩盖了它",
            "它占训练标签的 {share:%}，最常见的类占 {common:%}；验证中它被找出 {found:%}，最常见的类为 {found_common:%}。总说常见类也能得高分，却毫无用处。",
            "用每类召回率或 F1 评价。给类别加权：nn.CrossEntropyLoss(weight=1 / counts)；danlu：--loss.class_weights balanced 或 --data.balance true；或收集更多样本。",
        ),
    },
    "data.label_range": {
        "en": (
            "Labels are not what the loss expects ({problem})",
            "Labels run from {low} to {high} and there are {outputs} outputs; {outside} batches held labels outside. Class labels "
            "must be whole numbers 0 .. K-1, labels of a binary loss 0 or 1.",
            "Map them: y = y - y.min() for labels counted from 1; y = (y + 1) / 2 for -1 and 1; and give the model as many "
            "outputs as there are classes.",
        ),
        "zh": (
            "标签不符合损失函数的要求（{problem}）",
            "标签从 {low} 到 {high}，输出有 {outputs} 个；{outside} 个批次含越界标签。分类标签必须是 0 .. K-1 的整数，二分类损失的标签必须是 0 或 1。",
            "重新映射：从 1 开始的标签用 y = y - y.min()；-1 和 1 用 y = (y + 1) / 2；输出个数等于类别数。",
        ),
    },
    "data.label_noise": {
        "en": (
            "Many labels look wrong",
            "Labels contradict the model even where it is surest: of the surest third of its predictions in validation "
            "{surest:%} are right (of those above 0.8 {right:%}), and {contradicted:%} of the samples carry a label that a "
            "prediction above 0.8 leaves less than 0.1. Training is no better.",
            "Look at the contradicted samples first: most are mislabelled. Then use label smoothing "
            "(nn.CrossEntropyLoss(label_smoothing=0.1)) and stop early, before the noise is memorised.",
        ),
        "zh": (
            "许多标签看来是错的",
            "模型最有把握时标签也与它相矛盾：验证集中最有把握的三分之一预测只有 {surest:%} 正确（概率高于 0.8 的有 {right:%}），{contradicted:%} 的样本的标签被高于 0.8 的预测否定（自身不到 0.1）。训练集也是如此。",
            "先人工查看这些样本，多数是标错的。再用标签平滑（nn.CrossEntropyLoss(label_smoothing=0.1)）并提前停止，避免记住噪声。",
        ),
    },
    "data.labels_shuffled": {
        "en": (
            "Labels say nothing about inputs",
            "Training reaches {train:%} while validation stays at {val:%} (best {best:%}, chance {chance:%}): what is learnt, if "
            "anything, is memorised and holds for no other sample. Likeness of the labels of nearest inputs: {kinship} (0 by "
            "chance, 1 always the same).",
            "Check that inputs and labels are still in the same order: shuffle or sort them together "
            "(i = torch.randperm(n); x, y = x[i], y[i]), join tables by key and not by row, and look at ten samples by eye.",
        ),
        "zh": (
            "标签与输入无关",
            "训练达到 {train:%}，验证停在 {val:%}（最好 {best:%}，随机水平 {chance:%}）：学到的至多是记忆，对别的样本不成立。最近邻输入的标签相似度：{kinship}（0 为随机，1 为总相同）。",
            "检查输入与标签的顺序是否一致：一起打乱（i = torch.randperm(n); x, y = x[i], y[i]），表格按键连接而不是按行，并亲眼看十个样本。",
        ),
    },
    "data.not_normalised": {
        "en": (
            "Inputs are not normalised",
            "Their mean is {mean} and their standard deviation {std} (columns differ in scale by a factor of {spread}): the "
            "first layer's gradients are too large in some directions and too small in others, so no rate suits all.",
            "Standardise with training statistics: x = (x - x_train.mean(0)) / x_train.std(0); for images divide by 255 and "
            "apply torchvision.transforms.v2.Normalize(mean, std).",
        ),
        "zh": (
            "输入没有归一化",
            "均值为 {mean}，标准差为 {std}（各列尺度相差 {spread} 倍）：第一层的梯度在某些方向过大、在另一些方向过小，没有一个学习率适合所有方向。",
            "用训练集的统计量标准化：x = (x - x_train.mean(0)) / x_train.std(0)；图片先除以 255，再用 torchvision.transforms.v2.Normalize(mean, std)。",
        ),
    },
    "data.degenerate": {
        "en": (
            "Some samples are blank or not finite",
            "Of {seen} training samples looked at {blank} have one value everywhere and {nonfinite} hold NaN or infinity: they "
            "teach nothing, or spoil the step.",
            "Find and drop them: bad = ~torch.isfinite(x).flatten(1).all(1) | (x.flatten(1).std(1) == 0); danlu data DATA lists "
            "unreadable files.",
        ),
        "zh": (
            "有空白或非有限的样本",
            "在查看的 {seen} 个训练样本中，{blank} 个处处同值，{nonfinite} 个含 NaN 或无穷：它们什么也教不了，或毁掉这一步。",
            "找出并删除：bad = ~torch.isfinite(x).flatten(1).all(1) | (x.flatten(1).std(1) == 0)；danlu data DATA 会列出坏文件。",
        ),
    },
    "data.not_shuffled": {
        "en": (
            "Classes come in runs",
            "The labels of a batch differ from those of all batches by {distance} (total variation), where a shuffled order "
            "gives {expected}; the first epoch's batches looked at held {classes} classes where {usual} are usual. Each batch "
            "pulls the model towards its own classes.",
            "DataLoader(dataset, batch_size=..., shuffle=True) for training.",
        ),
        "zh": (
            "类别成段出现",
            "一个批次的标签与全体的差异为 {distance}（全变差），打乱时应为 {expected}；第一轮查看的批次只含 {classes} 个类，通常应有 {usual} 个。每个批次都把模型拉向自己的类。",
            "训练用 DataLoader(dataset, batch_size=..., shuffle=True)。",
        ),
    },
    "data.split_shift": {
        "en": (
            "Validation {where} are unlike training's",
            "The two splits do not agree: {problem}. The validation score measures another task than the one trained on.",
            "Prepare both splits by the same transform with the statistics of training, and split at random within classes: "
            "train_test_split(x, y, stratify=y).",
        ),
        "zh": (
            "验证集的{where}与训练集不同",
            "两个集合不一致：{problem}。验证分数衡量的是另一个任务。",
            "两个集合用同一个变换（训练集的统计量），并在类内随机划分：train_test_split(x, y, stratify=y)。",
        ),
    },
    "data.augmentation_harmful": {
        "en": (
            "Augmentation does harm ({where})",
            "What is trained on and what is judged do not look alike: {problem}.",
            "{do} danlu: --augment light or none. Never turn what changes its meaning when turned (6 and 9).",
        ),
        "zh": (
            "数据增强有害（{where}）",
            "训练所见与要判断的东西不相像：{problem}。",
            "{do}danlu：--augment light 或 none。不要翻转会改变含义的东西（6 和 9）。",
        ),
    },
}
