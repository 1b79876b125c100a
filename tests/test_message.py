"""Messages: English by default, translated by id, kept in JSON and read back."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from danlu import message as module
from danlu.config import Config, dump_yaml
from danlu.message import (
    Message,
    clauses,
    language,
    message,
    messages_in,
    shortened_words,
    speaking,
    translated,
    with_messages,
)
from danlu.run.folder import Run


@pytest.fixture(autouse=True)
def small_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "translations" / "zh"
    folder.mkdir(parents=True)
    (folder / "some.toml").write_text(
        '[found]\nof = "{total} 个中找到 {n:,} 个"\nloss = "损失"\nwrong = "{other}"\n[list]\nclauses = "{first}；{rest}"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(module, "TRANSLATIONS", tmp_path / "translations")
    module.table.cache_clear()
    yield
    module.table.cache_clear()


def test_a_message_is_its_english_text_and_renders_in_the_current_language() -> None:
    found = message("found.of", "{n:,} of {total} found", n=1_200, total=3_000)
    assert found == "1,200 of 3000 found"
    assert found.startswith("1,200")
    with speaking("zh"):
        assert language() == "zh"
        assert str(found) == f"{found}" == translated("found.of", "", n=1_200, total=3_000) == "3000 个中找到 1,200 个"
        assert json.dumps(found) == '"1,200 of 3000 found"'
        with speaking("en"):
            assert str(found) == "1,200 of 3000 found"
    assert str(found) == "1,200 of 3000 found"


def test_a_word_is_chosen_by_its_number() -> None:
    text = "{n:,} {n:image|images} in {of!r}"
    assert message("found.images", text, n=1, of="a") == "1 image in 'a'"
    assert message("found.images", text, n=0, of="a") == "0 images in 'a'"
    assert message("found.images", text, n=1_200, of="a") == "1,200 images in 'a'"
    assert message("found.shown", "{n} {n:epoch|epochs}", n="1") == "1 epoch"


def test_without_a_translation_that_fits_it_is_english() -> None:
    with speaking("zh"):
        assert str(message("found.nowhere", "nowhere")) == "nowhere"
        assert str(message("found.wrong", "{n} layers", n=3)) == "3 layers", "its fields are others"
    with speaking("fr"):
        assert str(message("found.loss", "loss")) == "loss"


def test_the_language_ends_with_its_block_also_when_an_error_ends_it() -> None:
    with pytest.raises(ZeroDivisionError), speaking("zh"):
        assert 1 / 0
    assert language() == "en"


def test_values_may_be_messages_and_lists_of_them() -> None:
    loss = message("found.loss", "loss")
    whole = message("found.seen", "seen: {names} in {braces}", names=[loss, "lr"], braces="{x}")
    assert whole == "seen: loss, lr in {x}"
    both = clauses([whole, loss])
    assert both == "seen: loss, lr in {x}; loss"
    assert both.render("zh") == "seen: 损失、lr in {x}；损失"
    again = Message.from_dict(json.loads(json.dumps(both.to_dict())))
    assert (again, again.render("zh")) == (both, both.render("zh"))
    copied = pickle.loads(pickle.dumps(both))
    assert (copied, copied.render("zh"), copied.id) == (both, both.render("zh"), both.id)


def test_without_values_braces_are_text() -> None:
    assert message("found.template", "loss %{x:.3g}") == "loss %{x:.3g}"


def test_a_run_keeps_english_sentences_with_their_ids(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_text("config.yaml", dump_yaml(Config()))
    loss = message("found.loss", "loss")
    run.write_json("summary.json", {"choices": [{"key": "loss", "reason": loss}], "stopped": None, "name": "loss"})
    kept = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert kept["choices"] == [{"key": "loss", "reason": "loss"}]
    assert list(kept["messages"]) == ["choices/0/reason"]
    read = run.read_json("summary.json", default={})
    assert read == {key: value for key, value in kept.items() if key != "messages"}
    assert read["choices"][0]["reason"].render("zh") == "损失"
    assert not isinstance(read["name"], Message), "an equal string that is none stays as it is"


def test_a_message_that_was_edited_by_hand_is_left_as_text() -> None:
    tree = {"why": message("found.loss", "loss"), "n": 3, "more": ("a", None)}
    messages = messages_in(tree)
    assert with_messages({"why": "loss"}, messages)["why"].id == "found.loss"
    for broken in ({"id": "found.loss"}, {"id": "a", "text": "{b}", "values": {"c": 1}}, ["a"], "a"):
        found = with_messages({"why": "loss", "n": 3, "more": ["a", None]}, {"why": broken})
        assert found == {"why": "loss", "n": 3, "more": ["a", None]}
        assert not isinstance(found["why"], Message)


def test_values_of_other_kinds_are_kept_as_numbers_and_text() -> None:
    one = message("x.y", "{count} of {path}", count=np.int64(3), path=Path("a/b"))
    kept = json.loads(json.dumps(one.to_dict()))
    assert kept["values"] == {"count": 3, "path": "a/b"}
    assert Message.from_dict(kept) == one == "3 of a/b"


def test_words_too_long_to_be_read_lose_their_middle() -> None:
    name = "a" * 200 + "b" * 5_000 + "c" * 60
    assert shortened_words(f"skipped  {name} row 3") == f"skipped  {'a' * 120}...{'c' * 60} row 3"
    assert shortened_words("a" * 240) == "a" * 240
