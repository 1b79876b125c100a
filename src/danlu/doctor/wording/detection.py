"""Words of the findings about objects in images."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "data.bad_boxes": {
        "en": (
            "Boxes that mark nothing",
            "Of {boxes} boxes: {kinds}. What is reversed, empty or outside its image cannot be learnt and is left out; what "
            "is smaller than a few pixels of the network's input shows nothing. For example: {examples}.",
            "danlu data DATA lists every one by file and object: mend them there, or drop them. Against tiny ones train at a "
            "larger size: --size 640.",
        ),
        "zh": (
            "有些框什么也没框住",
            "共 {boxes} 个框，其中 {spoilt} 个坐标颠倒、为空、在图片之外或类别未知，无法学习，已被略去；{tiny} 个在网络输入中只有几个像素，看不出内容。例如：{examples}。",
            "danlu data DATA 按文件和目标列出每一个：改正或删除。目标过小时用更大的输入训练：--size 640。",
        ),
    },
    "model.receptive_field": {
        "en": (
            "The network's maps do not suit the size of the objects",
            "Of the network {what}. What no number sees whole it must guess; what lies within one cell together with its "
            "neighbours it cannot tell apart.",
            "For larger objects take a deeper network or a smaller input (--size); for smaller ones a larger input, or "
            "a detector with a finer map.",
        ),
        "zh": (
            "网络的特征图与目标大小不符",
            "网络感受野 {field} 像素，最细步幅 {stride}；目标大小的中位数为 {middle}，十分之一大于 {larger}。看不全的只能猜，挤在同一格里的分不开。",
            "目标大：用更深的网络或更小的输入（--size）；目标小：用更大的输入，或有更细特征图的检测器。",
        ),
    },
    "model.anchor_coverage": {
        "en": (
            "Many objects have no anchor like them",
            "Only {covered:%} of the objects overlap some anchor by half (IoU 0.5); of those from {low} to {high} pixels it is "
            "{least:%}. The others are learnt late or never, because nothing is responsible for them.",
            "Train at the size at which objects are like the anchors (--size), or with a detector without anchors: "
            "--model yolo-nano.",
        ),
        "zh": (
            "许多目标没有相近的锚框",
            "只有 {covered:%} 的目标与某个锚框重叠过半（IoU 0.5）；{low} 至 {high} 像素的目标中为 {least:%}。其余的目标无人负责，学得很慢或学不到。",
            "换一个输入大小（--size），使目标与锚框相近；或用无锚框的检测器：--model yolo-nano。",
        ),
    },
}
