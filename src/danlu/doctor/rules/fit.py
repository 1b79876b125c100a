"""Findings about the fit: over- and underfitting, a model that guesses, training that ends too soon or too late."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean, median
from typing import Any

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import accuracies, chance_loss, descent, rose, skills, steps_taken

LEAST = 20  # steps below which a curve shows chance and not a course


def overfitting(ledger: Ledger) -> Iterable[Finding]:
    """Validation worsens while training still improves (Prechelt 1998)."""
    course = both_losses(ledger)
    if course is None or 0 < steps_taken(ledger) < LEAST:
        return
    train, val, chance = course
    best = val.index(min(val))
    rise, share = (val[-1] - val[best]) / chance, val[-1] / max(val[best], 1e-12)
    gained = (train[best] - train[-1]) / chance
    gap = (val[-1] - train[-1]) / chance
    facts = {"best_epoch": best + 1, "epochs": len(val), "best": val[best], "last": val[-1], "train": train[-1]}
    facts |= {"rise": share - 1, "gap": gap, "threshold": 0.3}
    learnt = 1 - train[-1] / chance > 0.5
    if share > 1.3 and rise > 0.1 and gained > 0.02 and learnt and gap > 0.1:
        yield Finding("fit.overfitting", "warning", min(0.9, 0.6 + rise), "", facts)
    elif learnt and gap > 0.05 and (gap > 0.15 or median(val[-3:]) > 1.05 * val[best]) and not still_falls(val):
        yield Finding("fit.overfitting", "note", 0.75, "", facts)


def underfitting(ledger: Ledger) -> Iterable[Finding]:
    """Both splits stay poor and alike, and the loss no longer falls: neither rate nor time is what is missing."""
    course, late = both_losses(ledger), descent(ledger)
    if course is None or late is None or len(course[0]) < 5:
        return
    train, val, chance = course
    skill, gap = 1 - train[-1] / chance, (val[-1] - train[-1]) / chance
    quarter = max(1, len(val) // 4)
    still = late < 0.02 or fmean(val[-2 * quarter : -quarter]) - fmean(val[-quarter:]) < 0.01 * chance
    if 0.02 < skill < 0.8 and gap < 0.15 and still and val[-1] < chance and rate_lives(ledger):
        facts = {"skill": skill, "val_skill": 1 - val[-1] / chance, "descent": late, "epochs": len(train)}
        yield Finding("fit.underfitting", "note", 0.65, "", facts)


def one_class(ledger: Ledger) -> Iterable[Finding]:
    """All predictions fall to one class; or a weight in the loss favours one beyond what the shares ask for."""
    said, real = ledger.last("class.predicted", "val"), ledger.last("class.actual", "val")
    favoured, excess = heaviest_class(ledger)
    if excess > 10:
        problem = Phrase("in the loss class {} weighs {:.3g} times what its share asks for", favoured, excess)
        shares = Phrase("The other classes hardly count beside it.")
        facts = {"problem": problem, "shares": shares, "class": favoured, "excess": excess, "threshold": 10}
        alone = bool(said) and favoured < len(said) and said[favoured] > 0.98
        yield Finding("fit.one_class", "error" if alone else "warning", 0.85, Phrase("class {}", favoured), facts)
        return
    epochs, measured = len(ledger.values("loss.mean", "train")), ledger.series("class.predicted", "val")[0]
    if not said or not real or len(said) != len(real) or epochs < 2 or measured[-1] <= epochs / 2:
        return  # of the beginning alone it says nothing
    top = max(range(len(said)), key=said.__getitem__)
    facts = {"class": top, "predicted": said[top], "actual": real[top], "threshold": 0.98}
    facts["shares"] = told_shares(facts)
    if said[top] > 0.98 and real[top] < 0.9:
        facts["problem"] = Phrase("{:%} of the predictions are class {}", round(said[top], 2), top)
        yield Finding("fit.one_class", "error", 0.75, Phrase("class {}", top), facts)
        return
    weight = positive_weight(ledger)
    balance = (1 - real[1]) / max(real[1], 1e-3) if len(real) == 2 else 0.0
    if weight and balance and weight > 10 and weight > 5 * balance:
        sentence = "a weight of about {:.3g} on class 1, where the shares of the classes ask for {:.2g}"
        problem = Phrase(sentence, weight, balance)
        facts |= {"problem": problem, "class": 1, "predicted": said[1], "actual": real[1], "weight": weight}
        facts["shares"] = told_shares(facts)
        yield Finding("fit.one_class", "warning", 0.8, Phrase("class {}", 1), facts)
        return
    loss, wrong = uncounted_errors(ledger)
    if wrong:
        favoured = max(range(len(said)), key=lambda k: said[k] - real[k])
        problem = Phrase("the loss ({:.3g}) hardly counts the {:%} of wrong predictions", loss, wrong)
        facts |= {"class": favoured, "predicted": said[favoured], "actual": real[favoured], "problem": problem}
        facts["shares"] = told_shares(facts)
        yield Finding("fit.one_class", "warning", 0.8, Phrase("class {}", favoured), facts)


def told_shares(facts: dict[str, Any]) -> Phrase:
    said = "Class {} is {:%} of the predictions and {:%} of the labels."
    return Phrase(said, facts["class"], facts["predicted"], facts["actual"])


def heaviest_class(ledger: Ledger) -> tuple[int, float]:
    """(class, its weight over what its share asks for): a class may weigh as much as the median one, or as much more as
    it is rarer. (0, 0) where no weights are known."""
    weights, shares = ledger.last("loss.class_weights"), ledger.last("class.actual", "val")
    shares = shares or ledger.last("class.actual", "train")
    if not weights or not shares or len(weights) != len(shares) or len(weights) < 2:
        return 0, 0.0
    found = []
    for k, weight in enumerate(weights):
        other = median(weights[:k] + weights[k + 1 :])
        rarer = median(shares[:k] + shares[k + 1 :]) / max(shares[k], 1e-3)
        found.append(weight / other / max(1.0, rarer) if other > 0 else 0.0)
    most = max(range(len(found)), key=found.__getitem__)
    return most, found[most]


def positive_weight(ledger: Ledger) -> float | None:
    """pos_weight of a binary loss, from the first loss: where outputs are near 0 both classes cost ln 2, times w."""
    shares, loss = ledger.first("class.actual", "train"), ledger.last("loss.initial")
    near_zero = abs(ledger.first("output.mean", default=9)) + ledger.first("output.std", default=9) < 1
    if ledger.last("loss.kind") != "bce_logits" or not shares or len(shares) != 2 or loss is None or not near_zero:
        return None
    return (loss / math.log(2) - shares[0]) / max(shares[1], 1e-3)


def uncounted_errors(ledger: Ledger) -> tuple[float, float]:
    """(loss, share of errors) of validation where the loss is less than these errors can cost, else (0, 0).

    A wrong prediction gives its class at most one half, so the mean cross entropy is at least ln 2 times the share of
    errors. A loss below that counts some classes less than others.
    """
    loss, right = ledger.last("loss.mean", "val"), accuracies(ledger, "val")
    if ledger.last("loss.kind") not in ("cross_entropy", "nll") or not right or loss is None:
        return 0.0, 0.0
    wrong = 1 - right[max(right)]
    return (loss, wrong) if wrong > 0.03 and 0 <= loss < 0.8 * math.log(2) * wrong else (0.0, 0.0)


def not_learning(ledger: Ledger) -> Iterable[Finding]:
    """After all epochs no better on validation than the best constant answer, and nothing graver was found."""
    course = both_losses(ledger)
    if course is None or len(course[1]) < 5:
        return
    train, val, chance = course
    skill, best = 1 - train[-1] / chance, 1 - min(val) / chance
    falls = (descent(ledger) or 0.0) > 0.02 and still_falls(val)  # from far above: it has not had its time
    if best < 0.02 and (mostly_frozen(ledger) or not beats_guessing(ledger)) and not falls:
        facts = {"skill": skill, "val_skill": best, "epochs": len(val), "chance": chance, "threshold": 0.02}
        yield Finding("fit.not_learning", "warning", 0.5, "", facts)


def regularisation_too_strong(ledger: Ledger) -> Iterable[Finding]:
    """Training is far worse than validation: noise that only training has keeps the model from fitting (Srivastava et
    al. 2014 keep half of the hidden units)."""
    skill, val_skill = (skills(ledger, "train") or [None])[-1], (skills(ledger, "val") or [None])[-1]
    if skill is None or val_skill is None or len(ledger.values("loss.mean", "train")) < 4:
        return
    rate = max(ledger.facts("layer.dropout").values(), default=0.0)
    facts = {"skill": skill, "val_skill": val_skill, "dropout": rate, "threshold": 0.65}
    facts["source"] = Phrase("Dropout with rate {:.2g}", rate) if rate > 0.4 else Phrase("Augmentation or noise")
    if rate > 0.65 and skill < 0.05:
        yield Finding("fit.regularisation_too_strong", "error", 0.93, "", facts)
    elif rate > 0.65 and (skill < 0.5 or (skill < 0.9 and val_skill - skill > 0.08)):
        yield Finding("fit.regularisation_too_strong", "warning", 0.85, "", facts)
    elif val_skill > 0.1 and val_skill - skill > (0.02 if rate > 0.65 else 0.15):
        yield Finding("fit.regularisation_too_strong", "note", 0.65, "", facts)


def stopped_early(ledger: Ledger) -> Iterable[Finding]:
    """The last of only a few epochs still lowered the loss steeply."""
    train, val, late = ledger.values("loss.mean", "train"), ledger.values("loss.mean", "val"), descent(ledger)
    skill = (skills(ledger, "train") or [None])[-1]
    if not train or len(train) > 5 or late is None or skill is None or not math.isfinite(skill) or rose(ledger):
        return
    improving = len(val) < 2 or val[-1] <= min(val)
    if late > 0.02 and improving and skill > -1:
        facts = {"descent": late, "epochs": len(train), "skill": skill, "threshold": 0.02}
        yield Finding("fit.stopped_early", "note", 0.75, "", facts)


def trained_too_long(ledger: Ledger) -> Iterable[Finding]:
    """The best epoch lies long past, and what came after brought nothing (Prechelt 1998)."""
    course = both_losses(ledger)
    if course is None or len(course[1]) < 20:
        return
    _, val, chance = course
    best = val.index(min(val))
    scores = accuracies(ledger, "val")
    peak = max(scores, key=scores.__getitem__) if scores else best + 1
    if best + 1 < 0.6 * len(val) and peak < 0.7 * len(val) and (chance - val[best]) / chance > 0.1:
        facts = {"best_epoch": best + 1, "epochs": len(val), "best": val[best], "last": val[-1], "score_epoch": peak}
        yield Finding("fit.trained_too_long", "note", 0.7, "", facts)


def beats_guessing(ledger: Ledger) -> bool:
    """Accuracy on validation, where there is one, clearly above the share of the commonest class."""
    scores, shares = accuracies(ledger, "val"), ledger.last("class.actual", "val")
    if not scores or not shares:
        return False
    guess = max(shares)
    return max(scores.values()) > guess + min(0.1, (1 - guess) / 3)


def mostly_frozen(ledger: Ledger) -> bool:
    """More than half of the weights are not trained: the rest may beat guessing and yet hardly move the loss."""
    sizes, trainable = ledger.facts("parameter.size"), ledger.facts("parameter.trainable")
    frozen = sum(sizes.get(name, 0) for name, value in trainable.items() if not value)
    return 2 * frozen > sum(sizes.values())


def rate_lives(ledger: Ledger) -> bool:
    """Half-way through the run a group still had a twentieth of its highest rate: it is not the rate that stalls."""
    middle = steps_taken(ledger) / 2
    for group in ledger.wheres("optimizer.lr"):
        steps, rates = ledger.series("optimizer.lr", group)
        if [r for s, r in zip(steps, rates) if s <= middle][-1:] >= [0.05 * max(rates)]:
            return True
    return not ledger.has("optimizer.lr")


def still_falls(losses: list[float]) -> bool:
    """The best is among the last tenth of the epochs."""
    return losses.index(min(losses)) >= 0.9 * len(losses) - 1


def both_losses(ledger: Ledger) -> tuple[list[float], list[float], float] | None:
    """(training losses, validation losses, loss of chance) by epoch; None unless all are known and finite."""
    train, val = ledger.values("loss.mean", "train"), ledger.values("loss.mean", "val")
    chance = chance_loss(ledger)
    if not chance or len(train) < 2 or len(train) != len(val) or not all(map(math.isfinite, train + val)):
        return None
    return train, val, chance


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "fit.overfitting": overfitting,
    "fit.underfitting": underfitting,
    "fit.one_class": one_class,
    "fit.not_learning": not_learning,
    "fit.regularisation_too_strong": regularisation_too_strong,
    "fit.stopped_early": stopped_early,
    "fit.trained_too_long": trained_too_long,
}
