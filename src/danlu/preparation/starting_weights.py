"""Plan a transfer: the tensors copied from trained weights, frozen layers and learning rates by layer, as choices."""

from __future__ import annotations

from dataclasses import replace

from danlu.config import TransferConfig
from danlu.data.columns import ColumnEncoder
from danlu.message import Message, clauses, message
from danlu.models.packaged import PACKAGED
from danlu.preparation.choices import Choice
from danlu.preparation.freezing import freeze, frozen_parts, lr_factors
from danlu.preparation.networks import network
from danlu.preparation.transfer import Transfer, match
from danlu.preparation.weights_source import Source
from danlu.run.signature import Signature


def plan_transfer(
    settings: TransferConfig, signature: Signature, source: Source | None
) -> tuple[Transfer | None, list[Choice]]:
    """Match the source's tensors to the network of `signature`; describe that, and frozen layers, as choices."""
    model, transfer, choices = network(signature), None, list[Choice]()
    if source is not None:
        names = "classes" if signature.classes else "target_names"
        wider = network(replace(signature, **{names: (*getattr(signature, names), "one more")}))
        transfer = match(source, model, wider, signature)
        choices.append(Choice("transfer.init", settings.init, clauses(_sentences(transfer, signature))))
    if settings.freeze:
        parts = frozen_parts(model, settings.freeze)
        freeze(model, parts)
        total = sum(p.numel() for p in model.parameters())
        frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
        text = "{frozen:,} of {total:,} weights stay fixed: {parts}"
        reason = message("transfer.frozen", text, frozen=frozen, total=total, parts=parts)
        choices.append(Choice("transfer.freeze", ",".join(settings.freeze), reason))
    if settings.layer_decay < 1:
        factors = [f"{factor:.3g}" for factor in sorted(set(lr_factors(model, settings.layer_decay).values()))]
        reason = message("transfer.layer_decay", "learning-rate factors from input to head: {factors}", factors=factors)
        choices.append(Choice("transfer.layer_decay", settings.layer_decay, reason))
    return transfer, choices


def _sentences(transfer: Transfer, signature: Signature) -> list[Message]:
    """Sentences on the tensors that are copied, and on differences of the inputs."""
    sentences, then = transfer.sentences(), transfer.source.signature
    packaged = PACKAGED.get(transfer.source.name)
    if packaged is not None:
        text = "weights of {source} (licence {licence}; --pretrained none starts at random)"
        values = {"source": packaged.source, "licence": packaged.licence}
        sentences.insert(0, message("transfer.packaged", text, **values))
    if then is None:
        return sentences
    if signature.mean and then.mean == signature.mean:
        sentences.append(message("transfer.normalisation", "images are normalised by the source's mean and std"))
    if signature.columns and then.columns:
        before, now = (ColumnEncoder.from_dict(columns).names for columns in (then.columns, signature.columns))
        if before != now:
            text = "the source had other columns ({columns}, ...): the first layer must be trained from scratch"
            sentences.append(message("transfer.other_columns", text, columns=before[:6]))
    return sentences
