"""The Hugging Face callback: training is unchanged, hooks are removed, no false findings, faults found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

import danlu

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")

SMALL = {"vocab_size": 24, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


class Sentences(torch.utils.data.Dataset):
    """Twelve tokens, of which the first determines the class."""

    def __init__(self, first: int, last: int) -> None:
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(5, 24, (320, 12), generator=generator)
        self.labels = torch.randint(0, 4, (320,), generator=generator)
        tokens[:, 0] = 1 + self.labels
        self.tokens, self.labels = tokens[first:last], self.labels[first:last]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.tokens[index], "labels": self.labels[index]}


def train(folder: Any, rate: float = 1e-3, watched: bool = True, **settings: Any) -> tuple[Any, Any, list[str]]:
    """The model, the callback and what it said."""
    transformers.set_seed(3)
    config = transformers.BertConfig(**SMALL, max_position_embeddings=16, num_labels=4, initializer_range=0.15)
    model, said = transformers.BertForSequenceClassification(config), []
    doctor = danlu.TransformersDoctor(budget=float("inf"), say=said.append) if watched else None
    given = {"num_train_epochs": 4, "per_device_train_batch_size": 32, "per_device_eval_batch_size": 32} | settings
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), learning_rate=rate, eval_strategy="epoch", save_strategy="no", report_to=[],
        use_cpu=True, disable_tqdm=True, logging_strategy="no", **given,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model, arguments, train_dataset=Sentences(0, 256), eval_dataset=Sentences(256, 320),
        callbacks=[doctor] if doctor else [], compute_metrics=accuracy,
    )  # fmt: skip
    trainer.train()
    return model, doctor, said


def accuracy(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(1) == predicted.label_ids).mean())}


def codes(doctor: Any) -> list[str]:
    """Without those on speed: so small a network does wait for its data."""
    found = [f.code for f in doctor.findings if f.severity != "note"]
    return [code for code in found if not code.startswith("speed.")]


def test_same_bits_and_no_alarm(tmp_path) -> None:
    alone, _, _ = train(tmp_path, watched=False)
    watched, doctor, said = train(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), watched.parameters(), strict=True))
    assert not codes(doctor)
    assert not [line for line in said if "speed." not in line]
    ledger = doctor.doctor.ledger
    assert ledger.last("run.finished") == 4 * 8
    assert ledger.last("loss.kind") == "cross_entropy"
    assert ledger.series("loss.mean", "val")[0] == [1, 2, 3, 4]
    assert ledger.last("user.metric", "eval_accuracy") == pytest.approx(ledger.last("accuracy.mean", "val"), abs=1e-6)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in watched.modules())
    assert not module_hooks._global_forward_hooks
    assert not optimizer_hooks._global_optimizer_pre_hooks
    assert not optimizer_hooks._global_optimizer_post_hooks


def test_lr_far_too_high_is_found_and_reported(tmp_path) -> None:
    _, doctor, said = train(tmp_path, rate=1.0)
    assert "optim.lr_too_high" in codes(doctor)
    assert any("optim.lr_too_high" in line for line in said)


def test_accumulation(tmp_path) -> None:
    _, doctor, _ = train(tmp_path, gradient_accumulation_steps=4, num_train_epochs=2)
    ledger = doctor.doctor.ledger
    assert ledger.last("run.finished") == 2 * 2
    assert ledger.last("optimizer.micro_batches") == 4
