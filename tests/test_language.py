"""Saying and retelling: by the table in Chinese, as it stands in English, and back to English behind the door."""

from __future__ import annotations

import pytest

from danlu.language import LONGEST, reteller, sayer, speaking, spoken

SAY = sayer({"{} of {} found": "{1} 个中找到 {0} 个", "loss": "损失"})
RETELL = reteller(
    {
        "the median is {} px": "中位数为 {} 像素",
        "the median is {} px; {} px suit {}": "中位数为 {} 像素；{} 像素适合{}",
        "a card": "显卡",
        "{}; {}": "{}；{}",
        "{} of {}": "{1} 的 {0}",
    }
)


def test_words_by_the_table_and_the_rest_as_they_are() -> None:
    assert (SAY("loss"), SAY("{} of {} found", 3, 4)) == ("loss", "3 of 4 found")
    with speaking("zh"):
        assert (SAY("loss"), SAY("{} of {} found", 3, 4)) == ("损失", "4 个中找到 3 个")
        assert SAY("unheard {}", "of") == "unheard of"
        assert SAY("100 %{x} {") == "100 %{x} {"  # nothing to fill in: a chart's own braces stay


def test_the_language_ends_with_its_door() -> None:
    def failing() -> None:
        with speaking("zh"):
            with speaking("en"):
                assert (spoken(), SAY("loss")) == ("en", "loss")
            assert spoken() == "zh"
            raise ValueError("behind the door")

    with pytest.raises(ValueError, match="behind"):
        failing()
    assert spoken() == "en"


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("the median is 12 px", "中位数为 12 像素"),
        (
            "the median is 12 px; 128 px suit a card",
            "中位数为 12 像素；128 像素适合显卡",
        ),  # the longest form, and within it
        ("the median is 12 px; nothing else is known", "中位数为 12 像素；nothing else is known"),
        ("label of {0} files", "{0} files 的 label"),
        ("what a library says", "what a library says"),
        ("x" * LONGEST + " of y", "x" * LONGEST + " of y"),
    ],
)
def test_a_finished_sentence_is_known_by_its_form(english: str, chinese: str) -> None:
    assert RETELL(english) == english
    with speaking("zh"):
        assert RETELL(english) == chinese
