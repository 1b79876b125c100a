"""Chinese of the sentences that other rooms make and a run keeps in English: reasons, notes, faults, trials.

A finished sentence is known by its form: `{}` stands for what was put in. Sentences of libraries stay English.
"""

from __future__ import annotations

from danlu.language import reteller
from danlu.message import Message

ZH: dict[str, str] = {
    # Reasons of settings: what the data is.
    "classes": "有类别",
    "a number is to be predicted": "要预测一个数",
    "boxes around objects": "目标由边框标出",
    "outlines of objects": "目标由轮廓标出",
    "that of {}": "与 {} 相同",
    "what {} is made for": "{} 就是为它设计的",
    "what backbones take": "骨干网络要求如此",
    "every image is grey": "每张图片都是灰度图",
    "some images have colour": "有的图片是彩色的",
    "{} MiB as bytes {}": "按字节存放为 {} MiB，{}",
    "fit": "放得下",
    "do not fit": "放不下",
    "one per core, to decode images": "每核一个，用来解码图片",
    "targets of unit scale suit every rate": "单位尺度的目标适合任何学习率",
    "a table is small": "表格很小",
    "everything is in memory": "全部都在内存里",
    "images are {} x {} px": "图片为 {} x {} 像素",
    "the median short side is {} px": "短边的中位数为 {} 像素",
    "the median short side is {} px; {} px suit {}": "短边的中位数为 {} 像素；{} 像素适合{}",
    "a card": "显卡",
    "a processor without a card": "没有显卡的处理器",
    "the median long side is {} px; at most {} px by default here, in steps of 32": (
        "长边的中位数为 {} 像素；这里默认最多 {} 像素，取 32 的倍数"
    ),
    # Network, budget, update rule, loss, augmentation.
    "rows of a table": "表格的行",
    "images of {} px": "{} 像素的图片",
    "grey images of {} px": "{} 像素的灰度图片",
    "{} training samples can fill two hidden layers": "{} 个训练样本足以用上两个隐藏层",
    "exclusive classes": "类别互斥",
    "outputs are minus distances, and the right one must come near 0": "输出是距离的负值，正确的一个应接近 0",
    "{} training samples": "{} 个训练样本",
    "{} training images": "{} 张训练图片",
    "{} training samples, about {} seen in all": "{} 个训练样本，全程约看 {} 个",
    "{} training images, about {} seen in all": "{} 张训练图片，全程约看 {} 张",
    "fine-tuning: a third of the {} that drawn weights would get": "微调：从头训练需 {} 轮，这里取三分之一",
    "fine-tuning: half of {}, not to undo what was learnt": "微调：{} 的一半，以免毁掉已学到的东西",
    "a convex problem": "凸问题",
    "residual networks with batch norm": "带批归一化的残差网络",
    "robust for this network": "对这个网络稳健",
    "usual for {}": "{} 的常用值",
    "usual for this network and update rule": "这个网络和更新规则的常用值",
    "0.1 for a batch of 128, and this one is {}": "批大小 128 时为 0.1，这里是 {}",
    "quick rise, long fall: strong within a fixed budget": "快升慢降：在固定的轮数内效果好",
    "not images, or a convex problem": "不是图片，或是凸问题",
    "only {} samples: small distortions stand in for more": "只有 {} 个样本：用小的形变充当更多样本",
    "moderate variation that keeps the meaning of most images": "适度的变化，不改变大多数图片的含义",
    "finds masks": "能找出掩码",
    "a fast detector without anchors": "快速的无锚框检测器",
    "two stages learn faster from small batches": "两阶段检测器用小批次学得更快",
    "robust for detectors": "对检测器稳健",
    "usual for {} and a detector": "{} 用于检测器的常用值",
    "usual for detectors": "检测器的常用值",
    "regions cut out one by one vary enough": "逐个裁出的区域变化已经足够",
    "a mirrored image has mirrored regions": "图片镜像后区域也随之镜像",
    "moderate variation; objects move with the image": "适度的变化；目标随图片一起变换",
    "regions of one object differ much": "同一目标的区域差别很大",
    "without a card more images teach more than a larger network": "没有显卡时，多看图片比用更大的网络有效",
    "no convolutions to speed up": "没有可加速的卷积",
    "goes with what was asked for": "与指定的设置相配",
    "tensor cores": "张量核心",
    "measured here: nothing was faster": "在本机实测：没有更快的",
    "measured here: {} x plain fp32": "在本机实测：是普通 fp32 的 {} 倍",
    "of every four input channels; dense stay {}": "每四个输入通道中保留两个；不稀疏的有 {}",
    "no layers": "无",
    "set for this run": "为本次训练指定",
    # Weights to start from.
    "{}; {}": "{}；{}",
    "{} copied by name and shape": "按名称和形状复制了 {}",
    "{} of {} weights, {} of {} tensors": "{} / {} 个权重、{} / {} 个张量",
    "{}: only the rows of {}, the same names there": "{}：只复制同名的行 {}",
    "not copied: {}": "未复制：{}",
    "of no use here: {}": "这里用不上：{}",
    "images are normalised by its mean and std": "图片按它的均值和标准差归一化",
    "its columns were others ({}, ...): the first layer must be learnt anew": "它的列不同（{} 等）：第一层须重新学习",
    "{} of {} weights stay: {}": "{} / {} 个权重保持不变：{}",
    "shares of the rate from the input to the head: {}": "从输入到头部各级学习率的比例：{}",
    # How the data is split.
    "validation and test {}": "验证集和测试集{}",
    "test {}, validation {}": "测试集{}，验证集{}",
    "fold {} of {}, {}": "第 {} 折，共 {} 折，{}",
    "given": "由数据给出",
    "none": "无",
    "stratified by class": "按类别分层抽取",
    "drawn at random": "随机抽取",
    "the latest by {}": "取 {} 最晚的",
    "whole groups of {}": "按 {} 整组抽取",
    # Notes on the data.
    "{} of {} training samples are used": "使用了 {} / {} 个训练样本",
    "not used, as it {}: {}": "未使用（{}）：{}",
    "is empty": "为空",
    "has one value only": "只有一个值",
    "has too many different texts to be a category": "不同文本太多，不能作为类别",
    "says which rows belong together and the network is to be judged on others (--split)": (
        "它说明哪些行属于一组，而网络要在别的组上评判（--split）"
    ),
    "only dates the rows and every later row lies beyond what was seen of it (--split)": (
        "它只是行的时间，而以后的行都在所见范围之外（--split）"
    ),
    "task {}: {} in {}": "任务 {0}：{2} 中{1}",
    "target is {}": "预测目标是 {}",
    "column {} of {}": "{1} 的列 {0}",
    "only {} whole numbers occur": "只出现 {} 个整数",
    "{} different numbers occur": "出现 {} 个不同的数",
    "its values are not numbers": "取值不是数",
    "asked for": "按要求如此",
    "{} is not UTF-8; it was read as Latin-1": "{} 不是 UTF-8；已按 Latin-1 读取",
    "the target is column {}, by its name": "按列名取列 {} 为预测目标",
    "the nameless column {} is left out: it is empty or counts the rows": "略去无名的第 {} 列：它为空或只是行号",
    "column {} holds {}": "列 {} 中{}",
    "only {}": "只有 {}",
    "no value": "没有值",
    "no finite value": "没有有限的值",
    "column {} looks like dates; it is read as text": "列 {} 像是日期；按文本读取",
    "column {} holds {} different texts and looks like a name or number of the row": (
        "列 {} 有 {} 个不同的文本，像是行的名称或编号"
    ),
    "column {} holds {} infinite values, taken as missing": "列 {} 有 {} 个无穷值，按缺失处理",
    "{}/ is not read: it is neither train, val nor test": "没有读取 {}/：它不是 train、val 或 test",
    "{} is a link back into the dataset and is not followed": "{} 是指回数据集自身的链接，不予跟随",
    "class {} is left out: it has no usable training image": "略去类别 {}：它没有可用的训练图片",
    "class {} has a single image": "类别 {} 只有一张图片",
    "{} image{} read by content, the extension says otherwise (first: {})": (
        "{0} 张图片按内容读取，与扩展名不符（第一张：{2}）"
    ),
    "no file of class names in {}: classes are numbers": "{} 中没有类别名文件：类别以数字表示",
    "{} in [0, {}] was rounded to 256 levels": "[0, {1}] 中的 {0} 已取整为 256 级",
    "the fourth channel of {} (alpha) is left out": "略去 {} 的第四通道（透明度）",
    "{} images are in two parts (first: {}); kept in {} only": "{} 张图片同时在两个部分中（第一张：{}）；只保留在{}",
    "the test or validation part": "测试集或验证集",
    "the training part": "训练集",
    "{} of {} objects are left out: {}": "{1} 个目标中略去 {0} 个：{2}",
    "{} boxes reach beyond their image and are clipped to it": "{} 个框超出图片，已裁剪到图片内",
    "{} boxes reach up to {} px beyond their image and are clipped to it": (
        "{} 个框超出图片至多 {} 像素，已裁剪到图片内"
    ),
    "{} of {} images are without objects and kept": "{1} 张图片中有 {0} 张没有目标，照样保留",
    "{} objects (crowd, difficult or without outline) are neither learnt nor counted": (
        "{} 个目标（成群、困难或没有轮廓）不参与学习和评估"
    ),
    "{} of {} classes have no object to train on: {}": "{1} 个类别中有 {0} 个没有可供训练的目标：{2}",
    "{}: categories of one name are one class ({})": "{}：同名的类别视为同一类（{}）",
    "{}: {} images are named by absolute paths; looked for by name": "{}：{} 张图片以绝对路径给出；按文件名查找",
    "{} annotated images are in no list of {} and not read": "{} 张有标注的图片不在 {} 的任何列表中，没有读取",
    "{} images have no file of labels: taken as without objects": "{} 张图片没有标签文件：视为没有目标",
    "{}: not read are the keys {}": "{}：没有读取的键：{}",
    # Faults of samples.
    "no such file": "没有这个文件",
    "missing image": "缺少图片",
    "empty file": "空文件",
    "not an image": "不是图片",
    "not readable: permission denied": "无法读取：没有权限",
    "too many pixels, as of a decompression bomb": "像素过多，像是解压炸弹",
    "damaged: {}": "已损坏：{}",
    "pixels that are not finite": "像素不是有限数",
    "{} in target column {}": "目标列 {1} {0}",
    "is listed twice": "列出了两次",
    "size {} as annotated, but {} is {}: {}": "标注的尺寸为 {}，而 {} 为 {}：{}",
    "it is turned (EXIF?)": "图片被旋转了（EXIF？）",
    "its mask does not fit": "掩码与图片不符",
    "boxes are taken as pixels": "框按像素计",
    "box {} is {}": "框 {} {}",
    "reversed": "坐标颠倒",
    "empty": "是空框",
    "outside the image": "在图片之外",
    "not finite": "不是有限数",
    "box {} reaches beyond the image of {}": "框 {} 超出 {} 的图片",
    "box {} is there a second time": "框 {} 重复出现",
    "{}, so it is ignored in training": "{}，训练时忽略",
    "no outline": "没有轮廓",
    "a polygon of fewer than three corners": "多边形不足三个角",
    "a polygon that is not finite": "多边形不是有限数",
    "run lengths for an image of {} x {}": "游程编码属于 {} x {} 的图片",
    "run lengths that do not cover the image": "游程编码没有铺满图片",
    "unknown class: category_id {}": "未知类别：category_id {}",
    "unknown class: {} of {}": "未知类别：第 {} 类，共 {} 类",
    "empty: xmin = xmax or ymin = ymax at ({}, {})": "空框：在 ({}, {}) 处 xmin = xmax 或 ymin = ymax",
    "id {} is given twice": "id {} 给了两次",
    "id {} is given to {} annotations": "id {} 给了 {} 个标注",
    "image_id {} is of no image": "没有 image_id 为 {} 的图片",
    "annotation id 0: COCO's own evaluation takes id 0 for no match, ids begin at 1": (
        "标注 id 0：COCO 的评估把 0 当作没有匹配，id 应从 1 开始"
    ),
    "no mask of that name": "没有同名的掩码",
    "cannot be read: {}": "无法读取：{}",
    "no {}.xml in {}": "{1} 中没有 {0}.xml",
    # Why a training ended.
    "accuracy": "准确率",
    "loss": "损失",
    "not finished": "没有完成",
    "interrupted": "被中断",
    "interrupted by {}": "被 {} 中断",
    "a signal": "信号",
    "no better {} for {} epochs": "{1} 轮内 {0} 没有更好",
    # Trials of remedies.
    "{} of {} epochs{}, {} seeds each, {} in doubt": "{} 轮（全程 {} 轮）{}，每次 {} 个种子，存疑时 {} 个",
    " on {} of {} samples": "，用 {} / {} 个样本",
    "better by more than the noise of {} seeds": "更好，且超过 {} 个种子的噪声",
    "better, but not by more than the noise of {} seeds": "更好，但没有超过 {} 个种子的噪声",
    "worse": "更差",
    "no better": "没有更好",
    "{} of {} trainings break down, {} did": "{1} 次训练中有 {0} 次崩溃，原先有 {2} 次",
    "trainings break down as before": "训练照旧崩溃",
    "one seed shows no noise": "一个种子看不出噪声",
    "cannot be done here: {}": "这里做不到：{}",
    "the data must change, not a setting": "要改的是数据，不是设置",
    "danlu's own loop is not told this by a setting; please report it": "danlu 自己的循环没有这样的设置；请报告给我们",
    "the network's code must change, not a setting": "要改的是网络的代码，不是设置",
    "it costs time, and A and B are compared by their metric": "它只费时间，而比较 A 和 B 看的是指标",
    "more epochs help, but A and B get the same number of them": "多训练几轮有用，但 A 和 B 的轮数必须相同",
    "it costs time, not accuracy; --regularise.patience ends it sooner": (
        "它费时间而不损失准确率；用 --regularise.patience 可提早结束"
    ),
    "no setting is known to cure it": "没有已知的设置能治好它",
    "{} changes have been tried": "已经试了 {} 种改动",
    "the budget of {} s is used up": "{} 秒的预算已经用完",
    # The way through the landscape.
    "path: a run keeps its best{} and its last weights, and its first can be drawn again from the seed; "
    "what lies between them is not kept, so the path is drawn as straight lines": (
        "路径：训练只保留最佳{}和最后的权重，最初的权重可由种子重新生成；其间的没有保留，因此路径画成直线"
    ),
    " (epoch {} of {})": "（第 {} 轮，共 {} 轮）",
}

_of_old_runs = reteller(ZH)


def retell(sentence: str) -> str:
    """A kept sentence in the current language."""
    return str(sentence) if isinstance(sentence, Message) else _of_old_runs(sentence)
