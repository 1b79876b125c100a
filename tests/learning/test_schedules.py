import math

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from danlu.config import ScheduleConfig
from danlu.learning.schedules import ONE_CYCLE_START, SCHEDULES, Plateau, build_schedule
from danlu.refuse import Refusal


def rates(make, steps: int) -> list[float]:
    """The rates torch's scheduler gives to a peak of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def ours(steps: int, epochs: int = 10, steps_per_epoch: float = 6, **settings) -> list[float]:
    schedule = build_schedule(ScheduleConfig(**settings), epochs, steps_per_epoch)
    return [schedule(step) for step in range(steps)]


def test_constant():
    assert ours(60, name="constant") == [1.0] * 60


def test_step_and_exponential_equal_torch():
    expected = rates(lambda o: theirs.StepLR(o, step_size=18, gamma=0.2), 60)
    assert ours(60, name="step", every=3, factor=0.2) == pytest.approx(expected)
    expected = rates(lambda o: theirs.ExponentialLR(o, 0.9), 10)
    assert ours(60, name="exponential", factor=0.9)[::6] == pytest.approx(expected)


def test_milestones_equal_torch():
    expected = rates(lambda o: theirs.MultiStepLR(o, [18, 45], gamma=0.1), 60)
    assert ours(60, name="step", milestones=(3, 7.5)) == pytest.approx(expected)


def test_factor_left_out():
    assert ours(12, epochs=2, name="step", every=1)[6] == pytest.approx(0.1)
    assert ours(12, epochs=2, name="exponential")[6] == pytest.approx(0.95)
    assert Plateau(None, 1).cut == 0.5


def test_cosine_equals_torch():
    expected = rates(lambda o: theirs.CosineAnnealingLR(o, 60, eta_min=0.1), 60)
    assert ours(60, name="cosine", floor=0.1) == pytest.approx(expected)


def test_one_cycle_equals_torch():
    # torch spreads N steps over N - 1 intervals, we over N; with 61 of torch's the two have the same course.
    expected = rates(
        lambda o: theirs.OneCycleLR(
            o, 1.0, total_steps=61, pct_start=(0.3 * 60 + 1) / 61, div_factor=1 / ONE_CYCLE_START
        ),
        60,
    )
    found = ours(60, name="one-cycle", rise=0.3)
    assert found == pytest.approx(expected, abs=1e-5)  # torch ends at 4e-6, not 0
    assert found[0] == pytest.approx(ONE_CYCLE_START)
    assert max(found) == found[18] == 1


def test_warmup_rises_by_equal_steps_and_then_the_schedule_begins():
    found = ours(60, name="cosine", warmup=2)
    assert found[:12] == pytest.approx([(t + 1) / 13 for t in range(12)])
    assert found[12] == 1
    assert found[12:] == pytest.approx([(1 + math.cos(math.pi * t / 48)) / 2 for t in range(48)])


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_stays_in_0_1_also_with_broken_epochs_and_past_the_end(name):
    found = ours(80, epochs=10, steps_per_epoch=6.25, name=name, warmup=0.5)
    assert all(0 <= rate <= 1 for rate in found)
    assert found[0] < found[1]
    assert SCHEDULES[name].description


def test_step_cuts_on_the_first_step_of_an_epoch_whatever_its_length():
    for steps_per_epoch in range(1, 200):
        schedule = build_schedule(ScheduleConfig(name="step", every=3, factor=0.5), 9, steps_per_epoch)
        assert [schedule(3 * steps_per_epoch - 1), schedule(3 * steps_per_epoch)] == [1, 0.5]


def test_plateau_equals_torch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    # torch cuts when patience is exceeded, we when it is reached
    scheduler = theirs.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold=0)
    plateau = Plateau(0.5, patience=3)
    for loss in [5, 4, 4.5, 4, 4.1, 3, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 2]:
        scheduler.step(loss)
        plateau.step(loss)
        assert plateau.factor == optimizer.param_groups[0]["lr"]
    assert plateau.factor == 1 / 8


def test_plateau_goes_on_from_its_state_and_takes_nan_for_no_improvement():
    plateau = Plateau(0.5, patience=2, mode="max")
    for value in (0.5, 0.6, float("nan")):
        plateau.step(value)
    other = Plateau(0.5, patience=2, mode="max")
    other.load_state_dict(plateau.state_dict())
    other.step(0.6)
    assert (other.factor, other.best) == (0.5, 0.6)


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"name": "cosin"}, "did you mean 'cosine'"), ({"name": "cosine", "warmup": 10}, "schedule.warmup")],
)
def test_refusals(settings, says):
    with pytest.raises(Refusal, match=says):
        ours(1, **settings)
