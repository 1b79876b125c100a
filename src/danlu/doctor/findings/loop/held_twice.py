"""Finding loop.held_twice: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

MIN_TURNS = 20  # of the optimisers; fewer are phases of a training, as one part first and then all together


def held_twice(ledger: Ledger) -> Iterable[Finding]:
    """A model is updated by its own optimiser and, in turn, by one of other parts that holds it as well."""
    held, foreign = ledger.facts("parameter.held"), ledger.facts("optimizer.foreign")
    turns = ledger.last("optimizer.turns", default=0)
    own = [name for name, count in foreign.items() if count == 0]
    others = [name for name, count in foreign.items() if count > 0]
    if not held or min(held.values()) < 2 or len(own) != 1 or len(others) != 1 or turns < MIN_TURNS:
        return
    facts = {"count": len(held), "others": foreign[others[0]], "turns": turns}
    facts["kind"] = ledger.last("optimizer.kind", others[0])
    yield Finding("loop.held_twice", "warning", 0.9, "", facts)


SPEC = FindingSpec(
    code="loop.held_twice",
    order=248,
    severities=("warning",),
    rule=held_twice,
    words=Words(
        title="The optimiser of another model updates this one too",
        cause=(
            "All {count} parameter tensors of this model are held by an optimiser of its own, and also by the {kind} that holds "
            "{others} tensors of other models; they took turns {turns} times. The steps for the other loss undo what this model "
            "learns from its own, as when the optimiser of a generator also holds the discriminator."
        ),
        fix="Give each optimiser the parameters of its own model only.",
        snippet="optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)  # not those of the other model",
    ),
    charts=(loss_and_chance,),
    explains=("data.not_normalised", "data.labels_shuffled", "fit.*", "optim.*", "gradient.*", "activation.*"),
    needs=("parameter.held", "optimizer.foreign"),
    concerns=lambda ledger: len(ledger.facts("optimizer.foreign")) > 1,
)
