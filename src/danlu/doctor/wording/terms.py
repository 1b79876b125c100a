"""Words around the findings: on the terminal, on the cards, on the doctor's page."""

from __future__ import annotations

from collections.abc import Mapping

TERMS: dict[str, dict[str, str]] = {
    "en": {
        "error": "error", "warning": "warning", "note": "note", "why": "Why", "cure": "Cure",
        "explains": "It explains", "sure": "{} sure", "numbers": "Numbers",
        "folded": "Less grave, or brought about by these: {}",
        "at": "at {}: {}", "in brackets": " ({})", ":": ": ", "gap": " ", "confidence": "[{}, confidence {}]",
        "cure line": "cure: {}", "explains line": "explains: {}", "follows": "follows from {}",
        "nothing found": "nothing wrong was found", "try": "Try {}.", "or": ", or ",
        "title": "The doctor's report", "nothing": "Nothing wrong was found.",
        "watched": "{} steps in {} epochs were watched.", "findings": "Findings", "curves": "Curves",
        "unseen": "What could not be seen",
    },
    "zh": {
        "error": "错误", "warning": "警告", "note": "提示", "why": "原因", "cure": "处方",
        "explains": "由它引起", "sure": "置信度 {}", "numbers": "数据",
        "folded": "另有 {} 条较轻或由上述引起的发现",
        "at": "位于 {}：{}", "in brackets": "（{}）", ":": "：", "gap": "", "confidence": "[{}，置信度 {}]",
        "cure line": "处方：{}", "explains line": "由它引起：{}", "follows": "由 {} 引起",
        "nothing found": "没有发现问题", "try": "请试 {}。", "or": "，或 ",
        "title": "医生的报告", "nothing": "没有发现问题。",
        "watched": "观察了 {} 步、{} 轮。", "findings": "发现", "curves": "曲线",
        "unseen": "看不到的部分",
    },
}  # fmt: skip


def terms(language: str) -> Mapping[str, str]:
    """What stands around the findings: names of severities, "cure", "confidence" and the like."""
    return TERMS.get(language, TERMS["en"])
