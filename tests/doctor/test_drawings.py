"""Each finding has a chart of its evidence, drawn from the ledger, in both languages."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from test_rules import CASES, layers, written
from torch.nn import functional

from danlu.doctor.diagnose import diagnose
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger
from danlu.doctor.names import NAMES
from danlu.doctor.presentation.cards import cards, draw
from danlu.doctor.presentation.plot import Chain, Curves, Rows, render
from danlu.message import Message, speaking, table


def found(code: str, *records: tuple) -> tuple[dict[str, Any], Ledger]:
    """The finding that the rules make of some records, as it stands in findings.json."""
    ledger = written(*records)
    return next(one.to_dict() for one in diagnose(ledger) if one.code == code), ledger


def losses(values: list[float], name: str = "loss.step", where: str = "") -> list[tuple]:
    return [(name, value, where, i + 1) for i, value in enumerate(values)]


class Strict(Ledger):
    """Refuses to be asked for what no instrument writes."""

    def series(self, name: str, where: str = "") -> tuple[list[int], list[Any]]:
        assert name in NAMES
        return super().series(name, where)

    def last(self, name: str, where: str = "", default: Any = None) -> Any:
        assert name in NAMES
        return super().last(name, where, default)

    def wheres(self, name: str) -> list[str]:
        assert name in NAMES
        return super().wheres(name)

    def facts(self, name: str) -> dict[str, Any]:
        assert name in NAMES
        return super().facts(name)


@pytest.mark.parametrize("code", [*FINDINGS, "fit.unheard_of", "unheard.of"])
def test_drawings_ask_for_known_names_and_an_empty_ledger_does_no_harm(code: str) -> None:
    for where in ("", "val", "validation", "process"):
        figure = draw(
            {"code": code, "where": where, "evidence": {"calls": 4} if code.startswith("grad") else {}}, Strict()
        )
        assert figure is None or len(render(figure)) > 100


@pytest.mark.parametrize("code", CASES)
def test_a_finding_can_be_drawn_from_a_small_record_in_both_languages(code: str) -> None:
    ledger = written(*CASES[code][0])
    for one in diagnose(ledger):
        for language in ("en", "zh"):
            with speaking(language):
                figure = draw(one.to_dict(), ledger)
                assert figure is None or len(render(figure)) > 100
    assert f"{code}</span>" in cards([one.to_dict() for one in diagnose(ledger)], ledger)


@pytest.mark.parametrize("code", CASES)
def test_charts_change_their_language_with_the_context(code: str) -> None:
    ledger = written(*CASES[code][0])
    for one in diagnose(ledger):
        figure = draw(one.to_dict(), ledger)
        if figure is not None and isinstance(figure.title, Message) and figure.title.id in table("zh"):
            with speaking("zh"):
                assert any("一" <= letter <= "鿿" for letter in render(figure))
            assert not any("一" <= letter <= "鿿" for letter in render(figure))


def test_too_high_a_rate_is_shown_at_its_peak() -> None:
    finding, ledger = found(
        "optim.lr_too_high",
        *losses([2.3, 3.0, 900.0, 40.0, *[2.4] * 200]),
        *(("optimizer.lr", 3.0, "g"), ("update.ratio", 0.6)),
    )
    figure = draw(finding, ledger)
    assert isinstance(figure, Curves)
    assert figure.rings == [(3, 900.0)]
    assert max(x for x, _ in figure.lines[0].points) < 100  # the first steps, for a peak there is a hair in all of them


def test_end_of_finite_values_is_marked() -> None:
    finding, ledger = found(
        "numerics.nonfinite",
        *losses([2.0, 3.0, math.nan]),
        ("nonfinite.step", "nan", "", 3),
        ("nonfinite.source", "activation"),
        ("nonfinite.layer", "head"),
    )
    figure = draw(finding, ledger)
    assert isinstance(figure, Curves)
    assert figure.marks == [(3, "NaN: head")]


def test_vanishing_is_a_straight_slope_over_depth() -> None:
    finding, ledger = found("gradient.vanishing", *layers(8, "layer.gradient", [0.1 ** (7 - i) for i in range(8)]))
    figure = draw(finding, ledger)
    assert isinstance(figure, Curves)
    assert figure.log
    steps = [math.log10(b[1] / a[1]) for a, b in zip(figure.lines[0].points, figure.lines[0].points[1:], strict=False)]
    assert steps == pytest.approx([1.0] * 7)
    assert figure.ends == ("l0 (first)", "l7 (last)")


def test_overfitting_is_marked_at_its_best_epoch() -> None:
    train, val = [2.0, 1.0, 0.5, 0.2, 0.1, 0.05], [2.0, 1.2, 1.0, 1.3, 1.9, 2.6]
    records = losses(train, "loss.mean", "train") + losses(val, "loss.mean", "val")
    records += [("loss.kind", "cross_entropy"), ("class.actual", [0.1] * 10, "train"), ("output.count", 10)]
    finding, ledger = found("fit.overfitting", *records)
    figure = draw(finding, ledger)
    assert isinstance(figure, Curves)
    assert figure.rings == [(3, 1.0)]
    assert [(epoch, str(label)) for epoch, label in figure.marks] == [(3, "best: epoch 3")]


@pytest.mark.parametrize(
    ("activation", "squash"), [("softmax", None), ("sigmoid", torch.sigmoid), ("tanh", torch.tanh)]
)
def test_the_least_loss_of_squashed_scores(activation: str, squash: Any) -> None:
    records = [
        ("loss.kind", "cross_entropy"),
        ("output.activation", activation),
        ("output.count", 10),
        *losses([2.3, 1.9, 1.7]),
    ]
    finding, ledger = found("model.output_mismatch", *records)
    figure = draw(finding, ledger)
    assert isinstance(figure, Curves)
    scores = torch.full((1, 10), -100.0)
    scores[0, 4] = 100.0  # as sure as can be
    squashed = scores.softmax(1) if squash is None else squash(scores)
    least = float(functional.cross_entropy(squashed, torch.tensor([4])))
    assert figure.levels[0][0] == pytest.approx(least, rel=1e-5)


def test_updates_stand_beside_the_band_of_good_ones() -> None:
    ledger = Ledger()
    for k, ratio in enumerate((2e-6, 3e-6, 1e-3)):
        ledger.add("parameter.order", k, f"l{k}.weight")
        ledger.add("parameter.role", "weight", f"l{k}.weight")
        for step in range(3):
            ledger.add("update.ratio", ratio, f"l{k}.weight", step)
    figure = draw({"code": "optim.lr_too_low"}, ledger)
    assert isinstance(figure, Rows)
    assert figure.band is not None
    assert figure.band[0] < 1e-3 < figure.band[1]
    assert [row.bad for row in figure.rows] == [True, True, False]


def test_of_many_layers_the_marked_ones_are_kept() -> None:
    ledger = Ledger()
    for k in range(60):
        ledger.add("layer.order", k, f"l{k}")
        ledger.add("activation.dead_units", 0.97 if k in (20, 21) else 0.1, f"l{k}", 5)
    figure = draw({"code": "activation.dead_relu", "where": "l21"}, ledger)
    assert isinstance(figure, Rows)
    assert [row.name for row in figure.rows if row.bad] == ["l20", "l21"]
    assert len(figure.rows) + figure.more == 60
    assert len(figure.rows) <= 16


def test_stacked_linear_layers_are_a_chain() -> None:
    ledger = Ledger()
    for k, kind in enumerate(("Linear", "ReLU", "Linear", "Linear")):
        ledger.add("layer.order", k, f"l{k}")
        ledger.add("layer.kind", kind, f"l{k}")
    figure = draw({"code": "model.no_nonlinearity", "where": "l3", "evidence": {"first": "l2", "second": "l3"}}, ledger)
    assert isinstance(figure, Chain)
    assert [name for name, _, bad in figure.links if bad] == ["l2", "l3"]


def test_panels_of_old_or_unknown_findings_are_rendered() -> None:
    page = cards([{"code": "x", "severity": "info", "evidence": ["<b>"], "remedy": {"optim.lr": 0.1}}, {}], Ledger())
    assert page.count("<article") == 2
    assert "optim.lr 0.1" in page
    assert "&lt;b&gt;" in page
