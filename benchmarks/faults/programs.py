"""Whole programs of other kinds than one model with one loss: GAN, VAE, segmentation, detection, contrast, policy, padding.

A program trains small networks on generated or built-in data in a few seconds; each has planted faults of its own. It is
made and run like a set-up: `Program.make().run(watch)`; `watch` gets what a user of that program would pass.
"""

# ruff: noqa: E501 - tables of cases, one per line
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import data as sets
import torch
import torch.nn.functional as F
from loop import Watch
from torch import Tensor, nn

Course = Iterator[float]  # score after each epoch


@dataclass(frozen=True)
class Program:
    """A training script.

    kind: function that trains and yields its score after each epoch. fault: name of the fault planted in it, "" for none.
    floor: score that it reaches without a fault. width: of its hidden layers; differs between the halves.
    """

    name: str
    half: str
    kind: Callable[[Program, Callable[..., AbstractContextManager[Any]]], Course]
    floor: float
    width: int = 32
    fault: str = ""
    seed: int = 0

    def but(self, **changes: Any) -> Program:
        return replace(self, **changes)

    def make(self) -> Program:
        torch.manual_seed(self.seed)
        return self

    def run(self, watch: Watch | None = None) -> list[dict[str, float]]:
        """Train; return one dict with the score per epoch."""

        def watched(model: nn.Module, optimizer: Any, loss_fn: Any = None) -> AbstractContextManager[Any]:
            return nullcontext() if watch is None else watch(model, optimizer, loss_fn)

        return [{"val_accuracy": score, "val_loss": 1 - score} for score in self.kind(self, watched)]


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def batches(*tensors: Tensor, size: int = 32) -> Iterator[tuple[Tensor, ...]]:
    for rows in torch.randperm(len(tensors[0])).split(size):
        yield tuple(tensor[rows] for tensor in tensors)


# GAN: points on a ring.


def gan(program: Program, watch: Callable) -> Course:
    """Train a generator of points on a ring against a discriminator; the generator is watched."""
    wide = program.width
    generator = nn.Sequential(nn.Linear(8, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, 2))
    critic = nn.Sequential(
        nn.Linear(2, wide), nn.LeakyReLU(0.2), nn.Linear(wide, wide), nn.LeakyReLU(0.2), nn.Linear(wide, 1)
    )
    if program.fault == "sigmoid before the loss on logits":
        critic.append(nn.Sigmoid())
    of_generator = torch.optim.Adam(generator.parameters(), 1e-3, betas=(0.5, 0.999))
    of_critic = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.5, 0.999))
    loss_fn, ones, zeros = nn.BCEWithLogitsLoss(), torch.ones(64, 1), torch.zeros(64, 1)
    watched = (critic, of_critic) if program.fault == "sigmoid before the loss on logits" else (generator, of_generator)
    with watch(*watched, loss_fn):
        for _ in range(8):
            for _ in range(50):
                angle = torch.rand(64, 1) * 2 * torch.pi
                real = torch.cat([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(64, 2)
                fake = generator(torch.randn(64, 8))
                step(of_critic, loss_fn(critic(real), ones) + loss_fn(critic(fake.detach()), zeros))
                fake = generator(torch.randn(64, 8))
                fake = fake.detach() if program.fault == "generator cut off" else fake
                step(of_generator, loss_fn(critic(fake), ones))
            with torch.no_grad():
                radius = generator(torch.randn(256, 8)).norm(dim=1)
            yield float(((radius - 1).abs() < 0.4).float().mean())


# VAE: digits.


class VAE(nn.Module):
    """A variational autoencoder of images with values from 0 to 1; forward returns logits, mean and log variance."""

    def __init__(self, size: int, wide: int, fault: str) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(size, wide * 4), nn.ReLU(), nn.Linear(wide * 4, 16))
        self.decoder = nn.Sequential(nn.Linear(8, wide * 4), nn.ReLU(), nn.Linear(wide * 4, size))
        self.fault = fault

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_var = self.encoder(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (log_var / 2).exp()
        made = self.decoder(z.detach() if self.fault == "latent detached" else z)
        return (torch.sigmoid(made) if self.fault == "sigmoid before the loss on logits" else made), mean, log_var


def vae(program: Program, watch: Callable) -> Course:
    """Train with the summed reconstruction loss and the KL divergence per sample."""
    data = sets.digits(program.seed)
    low, high = data.x.min(), data.x.max()
    x, held = (((part - low) / (high - low)).flatten(1) for part in (data.x, data.x_val))
    model = VAE(x.shape[1], program.width, program.fault)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)

    def loss_of(outputs: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        made, mean, log_var = outputs
        fit = F.binary_cross_entropy_with_logits(made, target, reduction="sum")
        return (fit - 0.5 * (1 + log_var - mean.square() - log_var.exp()).sum()) / len(target)

    with watch(model, optimizer):
        for _ in range(12):
            model.train()
            for (part,) in batches(x):
                step(optimizer, loss_of(model(part), part))
            model.eval()
            with torch.no_grad():
                made = torch.sigmoid(model(held)[0])
            yield 1 - float((made - held).square().mean() / held.var())


# Segmentation: squares and discs with an ignored border.


class UNet(nn.Module):
    """Two levels with a skip connection."""

    def __init__(self, wide: int, classes: int) -> None:
        super().__init__()
        block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())  # noqa: E731
        self.down, self.middle, self.up = block(1, wide), block(wide, 2 * wide), block(3 * wide, wide)
        self.head = nn.Conv2d(wide, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x)
        coarse = F.interpolate(self.middle(F.max_pool2d(fine, 2)), scale_factor=2)
        return self.head(self.up(torch.cat([fine, coarse], 1)))


def shapes(count: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 20, 20) with a square and a disc, and their classes per pixel; a border of 255 around each image."""
    rows, columns = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    places = torch.randint(4, 16, (count, 4))[:, :, None, None]
    square = ((rows - places[:, 0]).abs() <= 2) & ((columns - places[:, 1]).abs() <= 2)
    disc = (rows - places[:, 2]).square() + (columns - places[:, 3]).square() <= 9
    labels = torch.where(square, 2, torch.where(disc, 1, 0))
    images = torch.where(labels == 2, 1.0, torch.where(labels == 1, -1.0, 0.0))[:, None] + 0.3 * torch.randn(
        count, 1, 20, 20
    )
    labels[:, [0, -1]], labels[:, :, [0, -1]] = 255, 255
    return images, labels


def segmentation(program: Program, watch: Callable) -> Course:
    """Train a U-Net on classes per pixel with ignore_index."""
    x, y = shapes(240)
    held, wanted = shapes(80)
    if program.fault == "masks of other images":
        y, wanted = y[torch.randperm(len(y))], wanted[torch.randperm(len(wanted))]
    elif program.fault == "rows and columns exchanged":
        y, wanted = y.transpose(1, 2), wanted.transpose(1, 2)
    model: nn.Module = UNet(program.width // 4, 3)
    if program.fault == "softmax before cross entropy":
        model = nn.Sequential(model, nn.Softmax(1))
    loss_fn = nn.CrossEntropyLoss() if program.fault == "no ignore_index" else nn.CrossEntropyLoss(ignore_index=255)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with watch(model, optimizer, loss_fn):
        for _ in range(8):
            model.train()
            for part, labels in batches(x, y, size=16):
                mirrored = torch.rand(len(part), 1, 1, 1) < 0.5 * (program.fault == "images mirrored alone")
                step(optimizer, loss_fn(model(torch.where(mirrored, part.flip(3), part)), labels))
            model.eval()
            with torch.no_grad():
                outputs = model(held)
                loss_fn(outputs, wanted)
            counted = wanted != 255
            yield float((outputs.argmax(1) == wanted)[counted].float().mean())


# Detection: the class and the box of one object.


class Detector(nn.Module):
    """Convolutions with a head for the class and one for the box (centre and sides, from 0 to 1)."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.ReLU())  # noqa: E731
        self.body = nn.Sequential(
            block(1, wide), block(wide, 2 * wide), nn.Flatten(), nn.Linear(2 * wide * 36, 64), nn.ReLU()
        )
        self.classes, self.box = nn.Linear(64, 2), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.body(x)
        return {"classes": self.classes(features), "box": torch.sigmoid(self.box(features))}


def scenes(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, 1, 24, 24) with one bright or dark rectangle, its class, and its box in fractions of the image."""
    sides, kind = torch.randint(5, 12, (count, 2)), torch.randint(0, 2, (count,))
    first = (torch.rand(count, 2) * (24 - sides)).long()
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    inside = torch.ones(count, 24, 24, dtype=torch.bool)
    for axis, grid in enumerate((rows, columns)):
        low, high = first[:, axis, None, None], (first + sides)[:, axis, None, None]
        inside &= (grid >= low) & (grid < high)
    images = torch.where(inside, (2.0 * kind - 1)[:, None, None], 0.0)[:, None] + 0.1 * torch.randn(count, 1, 24, 24)
    return images, kind, torch.cat([(first + sides / 2) / 24, sides / 24], 1)


def detection(program: Program, watch: Callable) -> Course:
    """Train the sum of a cross entropy and a smooth L1 loss of the box."""
    x, kind, box = scenes(400)
    held, kinds, boxes = scenes(100)
    model = Detector(program.width // 4)
    held_by = list(model.body.parameters()) + list(model.classes.parameters())
    parameters = held_by if program.fault == "box head not in the optimiser" else model.parameters()
    optimizer = torch.optim.Adam(parameters, 2e-3)

    def loss_of(outputs: dict[str, Tensor], wanted: Tensor, where: Tensor) -> Tensor:
        scores = (
            outputs["classes"].softmax(1) if program.fault == "softmax before cross entropy" else outputs["classes"]
        )
        return F.cross_entropy(scores, wanted) + 10 * F.smooth_l1_loss(outputs["box"], where, beta=0.1)

    with watch(model, optimizer):
        for _ in range(12):
            model.train()
            for part in batches(x, kind, box):
                step(optimizer, loss_of(model(part[0]), *part[1:]))
            model.eval()
            with torch.no_grad():
                outputs = model(held)
                loss_of(outputs, kinds, boxes)
            right = outputs["classes"].argmax(1) == kinds
            yield float((right & ((outputs["box"] - boxes).abs().max(1).values < 0.15)).float().mean())


# Contrast: two noisy views of the same digit (NT-Xent, Chen et al. 2020).


class Encoder(nn.Module):
    """An encoder with a projection head."""

    def __init__(self, size: int, wide: int, fault: str) -> None:
        super().__init__()
        layers = [nn.Linear(size, wide * 4), nn.ReLU(), nn.Linear(wide * 4, wide * 2), nn.ReLU()]
        self.layers: Any = layers if fault == "layers in a list" else nn.Sequential(*layers)
        self.head = nn.Linear(wide * 2, 16)

    def features(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.head(self.features(x)), dim=1)


def contrast(program: Program, watch: Callable) -> Course:
    """Train an encoder to find the other view of each image of the batch; score: nearest neighbour in its features."""
    data = sets.digits(program.seed)
    x, held = data.x.flatten(1), data.x_val.flatten(1)
    model = Encoder(x.shape[1], program.width, program.fault)
    view = lambda part: part * (torch.rand_like(part) > 0.25) + 0.1 * torch.randn_like(part)  # noqa: E731
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with watch(model, optimizer):
        for _ in range(8):
            model.train()
            for (part,) in batches(x, size=128):
                both = model(torch.cat([view(part), view(part)]))
                scores = both @ both.T / 0.2
                scores = scores.masked_fill(torch.eye(len(both), dtype=torch.bool), -1e9)
                loss = F.cross_entropy(scores, torch.arange(len(both)).roll(len(part)))
                if program.fault == "no zero_grad":
                    loss.backward()
                    optimizer.step()
                else:
                    step(optimizer, loss)
            model.eval()
            with torch.no_grad():
                known, new = (F.normalize(model.features(part), dim=1) for part in (x, held))
            yield float((data.y[(new @ known.T).argmax(1)] == data.y_val).float().mean())


# Pairs: an embedding by distances within pairs of images (Hadsell et al. 2006).


def pairs(program: Program, watch: Callable) -> Course:
    """Draw images of a class together and others apart; score: nearest neighbour in the embedding."""
    data = sets.digits(program.seed)
    x, held = data.x.flatten(1), data.x_val.flatten(1)
    model = nn.Sequential(nn.Linear(x.shape[1], program.width * 2), nn.ReLU(), nn.Linear(program.width * 2, 16))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    members, counts = data.y.argsort(), data.y.bincount()
    begins = counts.cumsum(0) - counts
    one_of = lambda labels: members[begins[labels] + (torch.rand(len(labels)) * counts[labels]).long()]  # noqa: E731
    with watch(model, optimizer):
        for _ in range(4):
            for _ in range(150):
                first = torch.randint(len(x), (64,))
                other = (data.y[first] + torch.randint(1, 10, (64,))) % 10
                like, unlike = one_of(data.y[first]), one_of(other)
                anchor, positive, negative = model(x[first]), model(x[like]), model(x[unlike])
                loss = (anchor - positive).square().sum(1)
                if program.fault != "no negative pairs":
                    loss = loss + (1 - (anchor - negative).norm(dim=1)).clamp(min=0).square()
                step(optimizer, loss.mean())
            with torch.no_grad():
                known, new = model(x), model(held)
            yield float((data.y[torch.cdist(new, known).argmin(1)] == data.y_val).float().mean())


# Policy gradient: steps to a goal on a line (REINFORCE with a value baseline, Williams 1992).


class Policy(nn.Module):
    """Scores of the two actions and the value of a state."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, wide), nn.Tanh())
        self.actions, self.value = nn.Linear(wide, 2), nn.Linear(wide, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return self.actions(features), self.value(features)[:, 0]


def policy_gradient(program: Program, watch: Callable) -> Course:
    """Walk left or right to a goal; the score is the fraction of episodes that reach it in time."""
    model = Policy(program.width)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with watch(model, optimizer):
        for _ in range(10):
            reached = 0.0
            for _ in range(8):
                place, goal = torch.zeros(32), torch.where(torch.rand(32) < 0.5, -1.0, 1.0)
                scores_of, actions_of, values_of = [], [], []
                for _ in range(6):
                    scores, values = model(torch.stack([place, goal], 1))
                    actions = torch.distributions.Categorical(logits=scores).sample()
                    place = place + (2.0 * actions - 1) / 4
                    scores_of.append(scores), actions_of.append(actions), values_of.append(values)
                returns = ((place - goal).abs() < 0.51).float() - 0.2 * (place - goal).abs()
                scores, values = torch.cat(scores_of), torch.cat(values_of)
                taken = F.log_softmax(scores, 1).gather(1, torch.cat(actions_of)[:, None])[:, 0]
                taken = taken.detach() if program.fault == "log probability detached" else taken
                advantage = returns.repeat(6) - values.detach()
                sign = 1 if program.fault == "sign of the reward" else -1
                loss = sign * (taken * advantage).mean() + 0.5 * F.mse_loss(values, returns.repeat(6))
                if program.fault == "no zero_grad":
                    loss.backward()
                    optimizer.step()
                else:
                    step(optimizer, loss)
                reached += float(((place - goal).abs() < 0.51).float().mean()) / 8
            yield reached


# Sequences of several lengths, padded with 0.


def sentences(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Padded sequences (N, 14) of items 1 to 9, their lengths, and whether items above 5 are in the majority."""
    lengths = torch.randint(3, 8, (count,)) * 2 - 1
    items = torch.randint(1, 10, (count, 14))
    items[torch.arange(14) >= lengths[:, None]] = 0
    return items, lengths, ((items > 5).sum(1) * 2 > lengths).long()


class Reader(nn.Module):
    """An LSTM over packed sequences; its last state is classified."""

    def __init__(self, wide: int, batch_first: bool) -> None:
        super().__init__()
        self.items = nn.Embedding(10, 16, padding_idx=0)
        self.rnn = nn.LSTM(16, wide, batch_first=batch_first)
        self.head = nn.Linear(wide, 2)
        self.packed = batch_first

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        embedded = self.items(x)
        if not self.packed:
            return self.head(self.rnn(embedded)[0][torch.arange(len(x)), lengths - 1])
        packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.rnn(packed)[1][0][-1])


def lstm(program: Program, watch: Callable) -> Course:
    """Classify padded sequences with an LSTM."""
    return _read(program, watch, Reader(program.width, program.fault != "batch_first left out"))


class MaskedReader(nn.Module):
    """A transformer layer with a padding mask, and the mean over the items that are there."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.items = nn.Embedding(10, wide, padding_idx=0)
        self.block = nn.TransformerEncoderLayer(wide, 4, 2 * wide, dropout=0.1, batch_first=True, norm_first=True)
        self.head = nn.Linear(wide, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        empty = torch.arange(x.shape[1]) >= lengths[:, None]
        features = self.block(self.items(x), src_key_padding_mask=empty).masked_fill(empty[:, :, None], 0.0)
        return self.head(features.sum(1) / lengths[:, None])


def masked_transformer(program: Program, watch: Callable) -> Course:
    """Classify padded sequences with a transformer."""
    model = MaskedReader(program.width)
    if program.fault == "embedding frozen by no_grad":
        embed = model.items.forward
        model.items.forward = lambda x: embed(x).detach()
    return _read(program, watch, model)


def _read(program: Program, watch: Callable, model: nn.Module) -> Course:
    x, lengths, y = sentences(800)
    held, longs, wanted = sentences(200)
    loss_fn = nn.CrossEntropyLoss()
    rate = 1.0 if program.fault == "rate too high" else 5e-3
    optimizer = torch.optim.Adam(model.parameters(), rate)
    with watch(model, optimizer, loss_fn):
        for _ in range(8):
            model.train()
            for part, count, labels in batches(x, lengths, y):
                step(optimizer, loss_fn(model(part, count), labels))
            model.eval()
            with torch.no_grad():
                outputs = model(held, longs)
                loss_fn(outputs, wanted)
            yield float((outputs.argmax(1) == wanted).float().mean())


KINDS: dict[str, tuple[Callable, float]] = {
    "GAN": (gan, 0.35),
    "VAE": (vae, 0.55),
    "segmentation": (segmentation, 0.93),
    "detection": (detection, 0.6),
    "contrast": (contrast, 0.9),
    "pairs": (pairs, 0.9),
    "policy gradient": (policy_gradient, 0.9),
    "padded LSTM": (lstm, 0.85),
    "masked transformer": (masked_transformer, 0.85),
}
PROGRAMS: dict[str, Program] = {
    f"{name} ({half})": Program(name, half, kind, floor, width)
    for name, (kind, floor) in KINDS.items()
    for half, width in (("tuned", 32), ("untuned", 48))
}
# (program, fault) -> codes, of which the first is planted and the others are correct too.
PLANTED: dict[tuple[str, str], tuple[str, ...]] = {
    ("GAN", "generator cut off"): ("loop.no_update", "model.unreached"),
    ("GAN", "sigmoid before the loss on logits"): ("model.output_mismatch",),
    ("VAE", "latent detached"): ("model.unreached", "model.inputs_unused", "fit.not_learning"),
    ("VAE", "sigmoid before the loss on logits"): ("model.output_mismatch",),
    ("segmentation", "no ignore_index"): ("data.label_range",),
    ("segmentation", "softmax before cross entropy"): ("model.output_mismatch",),
    ("segmentation", "masks of other images"): ("data.labels_shuffled",),
    ("segmentation", "rows and columns exchanged"): ("data.targets_misplaced",),
    ("segmentation", "images mirrored alone"): ("data.targets_misplaced",),
    ("detection", "box head not in the optimiser"): ("loop.params_not_in_optimizer",),
    ("detection", "softmax before cross entropy"): ("model.output_mismatch",),
    ("contrast", "layers in a list"): ("model.unregistered",),
    ("contrast", "no zero_grad"): ("loop.missing_zero_grad",),
    ("pairs", "no negative pairs"): ("activation.collapsed",),
    ("policy gradient", "log probability detached"): ("model.unreached",),
    ("policy gradient", "no zero_grad"): ("loop.missing_zero_grad",),
    ("policy gradient", "sign of the reward"): ("loop.wrong_sign",),
    ("padded LSTM", "batch_first left out"): ("model.mixes_samples",),
    ("padded LSTM", "rate too high"): ("optim.lr_too_high",),
    ("masked transformer", "embedding frozen by no_grad"): ("model.unreached",),
    ("masked transformer", "rate too high"): ("optim.lr_too_high",),
}  # fmt: skip
