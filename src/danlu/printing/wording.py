"""Chinese of what the verbs print; sentences that a run keeps are retold by `report/retelling.py`."""

from __future__ import annotations

from danlu.engine.wording import ZH as PROGRESS
from danlu.language import sayer

ZH: dict[str, str] = {
    # Before and after a training.
    "{}: {}, {}, input {}, {} ({})": "{}：{}，{}，输入 {}，{}（{}）",
    "{} classes": "{} 个类别",
    "regression": "回归",
    "{} {}": "{1} {0}",
    ", ": "，",
    "note: {}": "注意：{}",
    "{} {}: {}": "{} {}：{}",
    "... and {} more such lines: `danlu data` prints them all": "……还有 {} 行这样的内容：`danlu data` 会全部列出",
    "skipped": "跳过",
    "clipped": "裁剪",
    "kept": "保留",
    "setting": "设置项",
    "chosen": "取值",
    "because": "原因",
    "yes": "是",
    "no": "否",
    "stopped: {}": "停止：{}",
    "{} epochs in {} s, {} samples/s; report: {}": "{} 轮，{} 秒，{} 样本/秒；报告：{}",
    "fold {} of {}": "第 {} 折，共 {} 折",
    "validation over {} folds: {}": "{} 折的验证结果：{}",
    # Healing.
    "trials: {}; first the run as it is": "试验：{}；先按原样训练",
    "trying {} for {}": "试 {}，针对 {}",
    "  {}: as many seeds again": "  {}：再加同样多的种子",
    "  kept: {}": "  保留：{}",
    "  not kept: {}": "  不保留：{}",
    "finding": "发现",
    "change": "改动",
    "before": "之前",
    "after": "之后",
    "difference +- noise": "差 +- 噪声",
    "{} on validation; trials: {}": "验证集上的{}；试验：{}",
    "not tried: {}: {}": "没有试：{}：{}",
    "healed: {} {} -> {} in the trials; in full:": "治好：试验中{} {} -> {}；完整重训的命令：",
    "the run is left as it is: {}": "训练保持原样：{}",
    "no change was better than the noise": "没有哪种改动好过噪声",
    "nothing was there to try": "没有可试的改动",
    # The landscape.
    "landscape: {}": "损失地形：{}",
}

say = sayer(PROGRESS | ZH)
