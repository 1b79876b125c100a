"""Finding loop.graph_kept: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.progress import has_backward_passes
from danlu.doctor.drawings.over_epochs import fractions_by_epoch
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import PHASES

FEW_PASSES = 0.04  # of the training passes

KEPT = message(
    "finding.loop.graph_kept.kept",
    "A tensor with a gradient that is stored keeps the graph of its batch, with all activations, so that memory grows with "
    "each batch.",
)
DETACH = message("finding.loop.graph_kept.detach", "Store numbers: loss.item(), or outputs.detach() for tensors.")
RECORDED = message(
    "finding.loop.graph_kept.recorded",
    "Each validation pass stores all activations for a backward pass that never comes, which costs memory and time.",
)
NO_GRAD = message("finding.loop.graph_kept.no_grad", "Run the validation loop under torch.no_grad().")


def graph_kept(ledger: Ledger) -> Iterable[Finding]:
    """Gradients recorded in validation, or losses kept together with their graph."""
    for phase in ("train", "val"):
        alive, passes = ledger.values("graph.alive", phase), ledger.values("graph.passes", phase)
        if alive and max(alive) > 4 and max(a / max(1, p) for a, p in zip(alive, passes)) > 0.3:
            problem = message(
                "finding.loop.graph_kept.alive",
                "{graphs} autograd graphs of earlier batches are still in memory at the end of an epoch",
                graphs=max(alive),
            )
            facts = {"problem": problem, "alive": max(alive), "phase": phase, "fix": "alive"}
            facts |= {"why": KEPT, "do": DETACH}
            yield Finding("loop.graph_kept", "warning", 0.95, PHASES[phase], facts)
            return
    fractions = ledger.values("loop.val_with_grad")
    if fractions and max(fractions) > 0.5 and ledger.last("run.backwards", default=0) and has_backward_passes(ledger):
        facts = {
            "problem": message("finding.loop.graph_kept.val_with_grad", "validation records gradients"),
            "why": RECORDED,
            "do": NO_GRAD,
            "fix": "no_grad",
            "fraction": max(fractions),
            "phase": "val",
        }
        forwards = ledger.values("run.forwards", "val")
        single = bool(forwards) and forwards[-1] <= len(forwards)  # one pass per epoch, whose graph is freed at once
        trained = ledger.last("run.forwards", "train", 0)
        few = bool(forwards) and forwards[-1] <= FEW_PASSES * trained  # as after the training
        yield Finding("loop.graph_kept", "note" if single or few else "warning", 0.9, PHASES["val"], facts)


SPEC = FindingSpec(
    code="loop.graph_kept",
    order=280,
    only_cost=True,
    severities=(
        "warning",
        "note",
    ),
    rule=graph_kept,
    words=Words(
        title="Autograd does unneeded work: {problem}",
        cause="{why}",
        fix="{do}",
        snippet={
            "alive": "total += loss.item()",
            "no_grad": (
                "model.eval()\n"
                "with torch.no_grad():\n"
                "    for x, y in loader:\n"
                "        total += loss_fn(model(x), y).item()"
            ),
        },
    ),
    charts=(fractions_by_epoch,),
    explains=("speed.memory_growth",),
    needs=("graph.alive",),
    alone=True,
)
