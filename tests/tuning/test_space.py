"""Searched settings, methods, and the rules that end trials."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from danlu.config import Config
from danlu.engine.loop import Progress
from danlu.refuse import Refusal
from danlu.run.folder import Run
from danlu.tuning.dimension import Dimension, short_name
from danlu.tuning.finalists import ranked
from danlu.tuning.methods import check_method, grid, pruner
from danlu.tuning.result import Finalist
from danlu.tuning.space import find_key, space_from_file
from danlu.tuning.trial_run import TIE_WEIGHT, TrialWatcher, comparable


def test_a_setting_is_found_by_each_of_its_names() -> None:
    assert find_key("lr", "--search") == find_key("optim.lr", "--search") == "optim.lr"
    assert find_key("weight-decay", "--search") == "optim.weight_decay"
    assert find_key("augment", "--search") == "augment.preset"
    assert short_name("optim.weight_decay") == "weight_decay"
    assert short_name("detect.width") == "detect.width"  # model.width has the same last word


def test_a_file_gives_ranges_and_choices(tmp_path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("lr: {low: 1e-4, high: 0.1, log: true}\nbatch_size: [16, 32]\nmodel.width: [[64, 32], [128]]\n")
    lr, batch, width = space_from_file(file, Config())
    assert (lr.low, lr.high, lr.log) == (1e-4, 0.1, True)
    assert batch.choices == (16, 32)
    assert width.choices == ("64,32", "128")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr: {low: 0.1, high: 0.01}", "a range with low < high"),
        ("lr: {low: 0, high: 0.01, log: true}", "low > 0 with log: true"),
        ("lr: {low: -1, high: 0.01}", "lr"),
        ("lr: [0.1]", "a list of at least two values"),
        ("batch_size: [16, many]", "batch_size"),
        ("learning: [1, 2]", "names of settings, got 'learning'"),
        ("- lr", "a YAML mapping from settings"),
    ],
)
def test_a_wrong_file_is_refused_with_its_setting(text, said, tmp_path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(Refusal, match=said.replace("(", r"\(")):
        space_from_file(file, Config())


def test_grid_covers_every_combination() -> None:
    lr = Dimension("optim.lr", 1e-2, 1e-4, 1.0, log=True)
    assert lr.grid() == pytest.approx([10 ** (-4 + 4 / 6), 1e-2, 10 ** (-4 / 6)])
    space = [lr, Dimension("batch_size", 32, choices=(16, 32, 64))]
    points = grid(space, seed=0)
    assert len({tuple(point.values()) for point in points}) == 9
    assert points == grid(space, seed=0) != grid(space, seed=1)


def test_the_edge_of_a_range_is_noticed_on_its_scale() -> None:
    lr = Dimension("optim.lr", 1e-2, 1e-4, 1.0, log=True)
    assert [lr.edge(10.0**power) for power in (-4, -3.7, -2, -0.3, 0)] == [1e-4, 1e-4, None, 1.0, 1.0]
    dropout = Dimension("model.dropout", 0.0, 0.0, 0.5)
    assert [dropout.edge(value) for value in (0.0, 0.2, 0.49)] == [None, None, 0.5]  # 0 is no edge that could move


def test_the_method_follows_the_number_of_trials() -> None:
    assert check_method(None, 10) == "sobol"
    assert check_method(None, 30) == check_method(None, None) == "tpe"


class Storage:
    """A study with finished trials, for the pruner alone."""

    def __init__(self, curves, rule) -> None:
        import optuna

        self.study = optuna.create_study(direction="maximize", pruner=rule)
        self.ended = []
        for curve in curves:
            trial = self.study.ask()
            for step, value in enumerate(curve, 1):
                trial.report(value, step)
                if trial.should_prune():
                    self.ended.append((trial.number, step))
                    self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
            else:
                self.study.tell(trial, curve[-1])


def test_the_median_rule_waits_for_the_warm_up_and_for_four_trials() -> None:
    good, bad = [0.5 + 0.04 * i for i in range(9)], [0.1] * 9
    found = Storage([bad, good, good, good, bad, good], pruner("median", 9))
    assert found.ended == [(4, 2)]  # the first bad one has nothing to compare with; epoch 1 is the warm-up


def test_of_equal_metrics_the_lower_loss_is_better() -> None:
    """Most accuracies of a good search are equal: the median rule would end none of them."""
    assert comparable(0.9, 0.3, "high") > comparable(0.9, 0.4, "high") > comparable(0.8999, 0.1, "high")
    assert comparable(2.0, 0.3, "low") < comparable(2.0, 0.4, "low")
    assert comparable(0.9, 5.0, "high") > comparable(0.9, float("nan"), "high")
    equal = [[comparable(0.9, 0.1 * number, "high")] * 9 for number in range(1, 8)]
    assert Storage(equal, pruner("median", 9)).ended == [(4, 2), (5, 2), (6, 2)]


def watched(tmp_path, findings, known=frozenset()) -> str | None:
    """The reason with which a trial ends whose training has these findings."""
    run = Run(tmp_path)
    (tmp_path / "findings.json").write_text(json.dumps(findings))
    reports: dict[int, float] = {}
    trial = SimpleNamespace(
        number=0,
        study=SimpleNamespace(trials=[SimpleNamespace(intermediate_values=reports)]),
        report=lambda value, step: reports.update({step: value}),
        should_prune=lambda: False,
    )
    progress = Progress(epoch=2)
    watcher = TrialWatcher(trial, run, "accuracy", known, prune=True, better="high")
    watcher.on_epoch(SimpleNamespace(epochs=5), progress, {"val.accuracy": 0.5, "val.loss": 1.0}, True)
    assert reports == {2: pytest.approx(0.5, abs=TIE_WEIGHT)}
    return progress.stopped


def test_an_error_of_the_doctor_ends_a_trial_unless_the_defaults_have_it(tmp_path) -> None:
    finding = {"code": "optim.lr_too_high", "severity": "error", "title": "Learning rate too high"}
    assert watched(tmp_path, [finding]) == "the doctor found an error: Learning rate too high (optim.lr_too_high)"
    assert watched(tmp_path, [finding], frozenset({"optim.lr_too_high"})) is None
    assert watched(tmp_path, [finding | {"severity": "warning"}]) is None
    assert watched(tmp_path, [finding | {"code": "data.leak"}]) is None  # no setting of a trial causes it
    assert watched(tmp_path, [finding | {"code": "fit.one_class"}]) is None  # a small lr learns late: the pruner judges


def test_of_equal_means_danlus_own_settings_are_preferred() -> None:
    def finalist(trial: int, mean: float | None, own: bool = False) -> Finalist:
        return Finalist(trial, {}, [1, 2], [mean, mean], mean, 0.0, own=own)

    found = [finalist(4, None), finalist(3, 0.9), finalist(0, 0.9, own=True), finalist(5, 0.95)]
    assert [one.trial for one in ranked(found, "high")] == [5, 0, 3, 4]
    assert [one.trial for one in ranked(found, "low")] == [0, 3, 5, 4]
