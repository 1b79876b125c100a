"""The page of a search: words of Optuna's figures, and tables on a phone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu.message import speaking
from danlu.report.document import Section, sectioned
from danlu.report.markup import card, table, text_cell
from danlu.tuning.search_page import OPTUNA_WORDS, styled
from tests.browser import Browser

HEAD = ["Trial", "Settings", "Validation accuracy", "Standard deviation", "Test accuracy"]
ROW = [text_cell("danlu's own"), text_cell("lr 0.003, dropout 0", "words why"), *[text_cell("88.70 %", "number")] * 3]


def test_words_of_optuna_are_in_the_language_of_the_page() -> None:
    pytest.importorskip("optuna")
    import optuna
    from optuna import visualization

    study = optuna.create_study()
    for lr in (0.1, 0.2, 0.3):
        trial = optuna.trial.create_trial(
            params={"optim.lr": lr}, distributions={"optim.lr": optuna.distributions.FloatDistribution(0, 1)}, value=lr
        )
        study.add_trial(trial)
    with speaking("zh"):
        for name, draw in (
            ("history", visualization.plot_optimization_history),
            ("importances", visualization.plot_param_importances),
            ("slices", visualization.plot_slice),
        ):
            figure = draw(study, target_name="准确率")
            drawn = styled(json.loads(figure.to_json()), name)
            axes = [one["title"]["text"] for key, one in drawn["layout"].items() if key[1:5] == "axis"]
            legend = [trace.get("name") for trace in drawn["data"]]
            assert not OPTUNA_WORDS.keys() & {*axes, *legend}, (name, axes, legend)
            assert "试验" in axes or name != "history"


def test_a_narrow_column_breaks_no_word_on_a_phone(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    body = card("Means", table(HEAD, [ROW], numbers=3, kind="settings"))
    page.write_text(sectioned("page", "", [Section("again", "Again", body)], {}), encoding="utf-8")
    with Browser(tmp_path, 420) as browser:
        browser.open(page.as_uri())
        browser.wait("!!document.querySelector('td')")
        lines = browser.run(
            "(() => { const range = document.createRange(); range.selectNodeContents(document.querySelector('td'));"
            " return new Set([...range.getClientRects()].map((r) => r.top)).size; })()"
        )
        assert lines <= 2, "danlu's own"
        assert browser.beyond() == []
