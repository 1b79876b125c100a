"""Chinese of the report's headings; what stands beneath them is English still, but for the doctor's findings."""

from __future__ import annotations

ZH: dict[str, str] = {
    "Findings": "医生的发现",
    "Healing": "治疗",
    "Curves": "曲线",
    "Results": "结果",
    "Folds": "各折",
    "Mistakes": "错误",
    "Examples": "例子",
    "Objects": "目标",
    "Augmentation": "数据增强",
    "Data": "数据",
    "Configuration": "设置",
    "Machine": "机器",
    "What the doctor tried against these findings.": "医生针对这些发现所做的尝试。",
    "Measured on the test split.": "在测试集上测得。",
    "Measured on the validation split.": "在验证集上测得。",
    "Measured on the training split.": "在训练集上测得。",
    "Wrong, and surest of it.": "判断错误而最有把握的样本。",
    "What is there, beside what was found; pictures with most mistakes first.": (
        "实际有什么，找到了什么；错误最多的图片在前。"
    ),
    "Training pictures as the model sees them.": "模型看到的训练图片。",
}


def heading(words: str, language: str) -> str:
    """A heading, or the sentence beneath it, in the language; English where there is no other."""
    return ZH.get(words, words) if language == "zh" else words
