"""Findings about the training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from statistics import fmean, median

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import goes_back

# Losses whose least value is the best: a reward or a critic's score may well be made large.
MINIMISED = (
    *("cross_entropy", "nll", "bce", "bce_logits", "hinge", "kl"),
    *("mse", "half_mse", "l1", "smooth_l1", "huber", "triplet"),
)


def missing_zero_grad(ledger: Ledger) -> Iterable[Finding]:
    """The gradient of the last step is still there when the next backward pass begins.

    The first step of an epoch is left out: some loops zero the gradients there, and nowhere else.
    """
    first = {end + 1 for end in ledger.values("run.steps")}
    measured = [(s, v) for s, v in zip(*ledger.series("optimizer.leftover_share")) if s not in first]
    steps, shares = [s for s, _ in measured], [v for _, v in measured]
    if len(shares) < 2:
        return
    kept = [share for share in shares if share > 0.3]
    if len(kept) >= 0.8 * len(shares):
        facts = {"share": median(kept), "measured": len(shares), "step": steps[-1]}
        confidence = 0.97 if median(kept) > 0.9 else 0.85
        yield Finding("loop.missing_zero_grad", "error", confidence, "", facts)


def wrong_sign(ledger: Ledger) -> Iterable[Finding]:
    """A loss that is there to be made small gets a negative gradient from backward(), and it grows."""
    scales = [scale for scale in ledger.values("loss.scale") if math.isfinite(scale)]
    losses = [loss for loss in ledger.values("loss.step") if math.isfinite(loss)]
    if len(scales) < 3 or max(scales) >= 0 or ledger.last("loss.kind") not in MINIMISED or len(losses) < 10:
        return
    start, end = fmean(losses[:3]), fmean(losses[-max(3, len(losses) // 10) :])
    if end > start:
        facts = {"scale": scales[-1], "measured": len(scales), "start": start, "end": end}
        yield Finding("loop.wrong_sign", "error", 0.97, "", facts)


def no_update(ledger: Ledger) -> Iterable[Finding]:
    """Weights stay as they were, and why."""
    forwards = sum(ledger.last("run.forwards", phase, 0) for phase in ("train", "val"))
    backwards = ledger.last("run.backwards", default=None)
    steps = ledger.last("run.optimizer_steps", default=None)
    facts = {"forwards": forwards, "backwards": backwards, "steps": steps}
    changed = [max(ledger.values("parameter.changed", n)) for n in ledger.wheres("parameter.changed")]
    frozen = bool(changed) and max(changed) == 0 and len(ledger.values("update.norm")) >= 2
    trains = ledger.last("loop.val_in_train", default=0) > 0.5 or ledger.last("loop.val_with_grad", default=0) > 0.5
    reason, confidence = "", 0.0
    if steps == 0 and backwards and backwards >= 4:
        reason, confidence = Phrase("optimizer.step() is never called"), 0.97
    elif steps and backwards == 0 and steps >= 2 and forwards:  # a model that is never called may be called otherwise
        reason = Phrase("backward() is never called, or on something that does not depend on the model")
        confidence = 0.95
    elif steps == 0 and backwards == 0 and forwards >= 4 and trains:
        reason, confidence = Phrase("neither backward() nor optimizer.step() is called"), 0.85
    elif _holds_nothing(ledger) and steps:
        reason, confidence = Phrase("the optimiser holds other tensors than the model's parameters"), 0.97
    elif frozen:
        rates = [max(ledger.values("optimizer.lr", group)) for group in ledger.wheres("optimizer.lr")]
        reason, confidence = Phrase("the optimiser steps, but no weight changes"), 0.95
        if rates and max(rates) == 0:
            reason = Phrase("the learning rate is zero")
    if reason:
        yield Finding("loop.no_update", "error", confidence, "", facts | {"reason": reason})


def _holds_nothing(ledger: Ledger) -> bool:
    held = ledger.facts("parameter.held")
    return bool(held) and not any(held.values())


def params_not_in_optimizer(ledger: Ledger) -> Iterable[Finding]:
    """Parameters get a gradient, but no optimiser holds them."""
    held = ledger.facts("parameter.held")
    if not any(held.values()):
        return
    reached = ledger.facts("parameter.reached")
    missing = [
        n for n, count in held.items() if not count and reached.get(n) and ledger.last("parameter.trainable", n, 1)
    ]
    if missing:
        sizes = ledger.facts("parameter.size")
        share = sum(sizes.get(n, 0) for n in missing) / max(1, sum(sizes.values()))
        facts = {"parameters": missing[:8], "count": len(missing), "share": share}
        yield Finding("loop.params_not_in_optimizer", "error", 0.95, missing[0], facts)


def optimizer_recreated(ledger: Ledger) -> Iterable[Finding]:
    """A new optimiser takes over the same parameters: momentum and the averages of Adam begin at zero again."""
    steps, _ = ledger.series("optimizer.replaced")
    lost = [
        s for label in ledger.wheres("optimizer.state_lost") for s in ledger.series("optimizer.state_lost", label)[0]
    ]
    times = len(steps) + len(lost)
    if not times:
        return
    kinds = set(ledger.facts("optimizer.kind").values())
    momentum = max(
        (max(ledger.values("optimizer.momentum", g)) for g in ledger.wheres("optimizer.momentum")), default=0
    )
    has_memory = momentum > 0 or kinds - {"SGD"}
    severity = "warning" if has_memory else "note"
    facts = {"times": times, "steps": (steps + lost)[:8], "momentum": momentum}
    yield Finding("loop.optimizer_recreated", severity, 0.95 if times > 1 else 0.6, "", facts)


def wrong_mode(ledger: Ledger) -> Iterable[Finding]:
    """Training in eval mode, validation in train mode; only where the model has layers that tell the two apart."""
    epochs, shares = ledger.series("loop.train_in_eval")
    late = [e for e, share in zip(epochs, shares) if share > 0.5]
    if late:
        problem = Phrase("training runs in eval mode")
        facts = {
            "problem": problem,
            "epoch": late[0],
            "share": max(shares),
            "call": "model.train()",
            "part": Phrase("training"),
        }
        yield Finding("loop.wrong_mode", "error", 0.95 if late[0] > 1 else 0.9, Phrase("train"), facts)
    epochs, shares = ledger.series("loop.val_in_train")
    wrong = [e for e, share in zip(epochs, shares) if share > 0.5]
    if wrong and goes_back(ledger):
        problem = Phrase("validation runs in train mode")
        facts = {
            "problem": problem,
            "epoch": wrong[0],
            "share": max(shares),
            "call": "model.eval()",
            "part": Phrase("validation"),
        }
        yield Finding("loop.wrong_mode", "error", 0.93, Phrase("val"), facts)


def graph_kept(ledger: Ledger) -> Iterable[Finding]:
    """Gradients recorded in validation, or losses kept together with their graph."""
    for phase in ("train", "val"):
        alive, passes = ledger.values("graph.alive", phase), ledger.values("graph.passes", phase)
        if alive and max(alive) > 4 and max(a / max(1, p) for a, p in zip(alive, passes)) > 0.3:
            problem = Phrase("{} graphs of earlier losses are still alive at the end of the epoch", max(alive))
            facts = {"problem": problem, "alive": max(alive), "phase": phase, "do": "total += loss.item()"}
            yield Finding("loop.graph_kept", "warning", 0.95, Phrase(phase), facts)
            return
    shares = ledger.values("loop.val_with_grad")
    if shares and max(shares) > 0.5 and ledger.last("run.backwards", default=0) and goes_back(ledger):
        facts = {
            "problem": Phrase("validation records gradients"),
            "share": max(shares),
            "phase": "val",
            "do": "with torch.no_grad():",
        }
        yield Finding("loop.graph_kept", "warning", 0.9, Phrase("val"), facts)


def scheduler_misuse(ledger: Ledger) -> Iterable[Finding]:
    """A scheduler stepped per batch with numbers meant per epoch, the reverse, or before the optimiser."""
    ends = ledger.values("run.steps")
    for group in ledger.wheres("optimizer.lr"):
        steps, rates = ledger.series("optimizer.lr", group)
        early = ledger.last("optimizer.early_schedule", group)
        if early is not None:
            sentence = "the rate {:.3g} was replaced by {:.3g} before any step used it"
            problem = Phrase(sentence, early, rates[min(1, len(rates) - 1)])
            found = (problem, Phrase("Call scheduler.step() after optimizer.step()."))
        elif len(rates) < 5 or not ends or max(rates) <= 0:
            continue
        else:
            found = _died(steps, rates, ends) or _never_rose(ledger, steps, rates, ends)
        if found:
            facts = {"problem": found[0], "do": found[1], "group": group, "changes": len(rates), "epochs": len(ends)}
            yield Finding("loop.scheduler_misuse", "warning", 0.85, group, facts)
            return


def _died(steps: list[int], rates: list[float], ends: list[int]) -> tuple[str, str] | None:
    """Within the first epoch; or within the first third of the run, and not at ends of epochs."""
    do = Phrase("Call scheduler.step() once per epoch, or give the schedule epochs * len(loader) steps.")
    inside = [r for s, r in zip(steps, rates) if s <= ends[0]]
    fallen = inside[-1] / max(inside)
    falls = all(b <= a for a, b in pairwise(inside))
    if falls and len(inside) >= 8 and fallen < 0.02 and len(ends) > 1 and ends[-1] > 1.5 * ends[0]:
        sentence = "the rate changed {} times in the first epoch and fell to {:%} of its value"
        return Phrase(sentence, len(inside), fallen), do
    if len(ends) < 6 or any(b > a for a, b in pairwise(rates)):  # restarts are meant so
        return None
    third = [r for s, r in zip(steps, rates) if s <= ends[-1] / 3]
    between = sum(s - 1 not in ends for s in steps[2:])
    if len(third) >= 4 and third[-1] < 1e-3 * rates[0] and between > 0.5 * len(steps[2:]):
        return Phrase("after a third of the run the rate was {:%} of its value", third[-1] / rates[0]), do
    return None


def _never_rose(ledger: Ledger, steps: list[int], rates: list[float], ends: list[int]) -> tuple[str, str] | None:
    """Changed only between epochs, ever upward, and still in its warm-up when the run ended."""
    upward = all(b >= a for a, b in pairwise(rates))
    if not ledger.has("run.finished") or len(ends) < 5 or not upward or not all(s - 1 in ends for s in steps[2:]):
        return None
    if rates[0] < rates[-1] < 2 * rates[0]:
        sentence = "the rate was still rising slowly when the run ended, from {:.3g} to {:.3g}"
        do = "Call scheduler.step() after every batch, or give the schedule the number of epochs."
        return Phrase(sentence, rates[0], rates[-1]), Phrase(do)
    return None


def metric_last_batch(ledger: Ledger) -> Iterable[Finding]:
    """The loop's own figure is the mean over batches, or divides by batch size x batches, the last being smaller."""
    for metric in ledger.wheres("user.metric"):
        low = metric.lower()
        phase = "val" if "val" in low or "test" in low else "train"
        family = "accuracy" if "acc" in low else "loss" if "loss" in low else None
        if family is None:
            continue
        told = dict(zip(*ledger.series("user.metric", metric)))
        right = dict(zip(*ledger.series(f"{family}.mean", phase)))
        whole = dict(zip(*ledger.series("epoch.measured", phase))), dict(zip(*ledger.series("epoch.batches", phase)))
        for wrong_name, said in (
            (f"{family}.batch_mean", Phrase("the mean of the batches")),
            ("accuracy.padded", Phrase("divided by batch size x batches")),
        ):
            if family == "loss" and wrong_name.startswith("accuracy"):
                continue
            wrong = dict(zip(*ledger.series(wrong_name, phase)))
            epochs = [
                e
                for e in told
                if e in right and e in wrong and (family == "loss" or whole[0].get(e) == whole[1].get(e))
            ]
            apart = [e for e in epochs if abs(wrong[e] - right[e]) > 1e-5 * max(1.0, abs(right[e]))]
            hits = [e for e in apart if _near(told[e], wrong[e], right[e])]
            if hits and len(hits) >= 0.6 * len(epochs):
                e = hits[-1]
                facts = {"metric": metric, "told": told[e], "right": right[e], "how": said, "epoch": e}
                yield Finding("loop.metric_last_batch", "warning", 0.9, metric, facts)
                break


def _near(told: float, wrong: float, right: float) -> bool:
    """Told in shares or in percent."""
    gap = abs(wrong - right)
    return any(abs(told / unit - wrong) < min(0.1 * gap, 1e-3) for unit in (1, 100))


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "loop.missing_zero_grad": missing_zero_grad,
    "loop.wrong_sign": wrong_sign,
    "loop.no_update": no_update,
    "loop.params_not_in_optimizer": params_not_in_optimizer,
    "loop.optimizer_recreated": optimizer_recreated,
    "loop.wrong_mode": wrong_mode,
    "loop.graph_kept": graph_kept,
    "loop.scheduler_misuse": scheduler_misuse,
    "loop.metric_last_batch": metric_last_batch,
}
