"""Losses that compare: pairs of embeddings with inverted labels, and a generator that helps its discriminator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import danlu
from danlu.doctor.instruments.pair_distances import distances, has_labels
from danlu.doctor.script.program import ProgramDoctor

CENTRES = torch.randn(6, 8, generator=torch.Generator().manual_seed(3))
STEPS = 120


def samples(classes: Tensor) -> Tensor:
    return CENTRES[classes] + 0.3 * torch.randn(len(classes), 8)


def triplet(net: nn.Module, swapped: bool) -> Tensor:
    mine = torch.randint(0, 6, (32,))
    other = (mine + torch.randint(1, 6, (32,))) % 6
    anchor, positive, negative = (net(samples(one)) for one in (mine, mine, other))
    return nn.TripletMarginLoss()(anchor, *((negative, positive) if swapped else (positive, negative)))


def squared_triplet(net: nn.Module, swapped: bool) -> Tensor:
    mine = torch.randint(0, 6, (32,))
    other = (mine + torch.randint(1, 6, (32,))) % 6
    anchor, positive, negative = (net(samples(one)) for one in (mine, mine, other))
    near, far = ((anchor - one).pow(2).sum(1) for one in (positive, negative))
    return F.relu((far - near if swapped else near - far) + 0.5).mean()


def contrastive(net: nn.Module, swapped: bool) -> Tensor:
    first = torch.randint(0, 6, (32,))
    second = torch.where(torch.rand(32) < 0.5, first, torch.randint(0, 6, (32,)))
    label = (first == second).float() if swapped else (first != second).float()
    distance = F.pairwise_distance(net(samples(first)), net(samples(second)))
    return ((1 - label) * distance.pow(2) + label * (2 - distance).clamp(min=0).pow(2)).mean()


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("loss_of", [triplet, squared_triplet, contrastive])
def test_pairs_that_are_pulled_the_wrong_way(loss_of: Callable[[nn.Module, bool], Tensor], swapped: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    with danlu.watch(net, optimizer, quiet=True) as doctor:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss_of(net, swapped).backward()
            optimizer.step()
    found = [one for one in doctor.findings if one.code == "loop.wrong_sign"]
    assert [one.evidence["fix"] for one in found] == (["pairs"] if swapped else [])


def test_a_penalty_of_distances_is_no_comparison_of_pairs() -> None:
    """Each distance is drawn to a constant: those above it are pulled, those below it pushed."""
    torch.manual_seed(0)
    net = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with danlu.watch(net, optimizer, quiet=True) as doctor:
        for _ in range(60):
            optimizer.zero_grad()
            distance = (net(torch.randn(32, 8)) - net(torch.randn(32, 8))).norm(dim=1)
            (distance - 1).square().mean().backward()
            optimizer.step()
    assert not doctor.ledger.has("pair.reversed")


def test_distances_are_found_however_they_are_written() -> None:
    a, b = (torch.randn(8, 3, requires_grad=True) * 1 for _ in range(2))
    expected = (a - b).norm(dim=1)
    for written in (F.pairwise_distance(a, b, eps=0), (a - b).pow(2).sum(1), torch.norm(a - b, dim=1), expected):
        ((node, lengths),) = distances(written.mean().grad_fn)
        torch.testing.assert_close(lengths, expected.detach())
        assert not has_labels(written.mean().grad_fn, node)
    labels = torch.tensor([0.0, 1.0] * 4)
    assert has_labels((labels * expected).mean().grad_fn, expected.grad_fn)
    assert not list(distances(a.norm(dim=1).mean().grad_fn))  # a length, no difference


def gan(fake_label: float, joint: bool) -> None:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    discriminator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    for_g = torch.optim.Adam(generator.parameters(), 1e-3)
    for_d = torch.optim.Adam(discriminator.parameters(), 1e-3)
    loss_fn, real, fake = nn.BCEWithLogitsLoss(), torch.ones(32, 1), torch.zeros(32, 1)
    for _ in range(40):
        for_d.zero_grad()
        made = generator(torch.randn(32, 4))
        own = loss_fn(discriminator(torch.randn(32, 2) * 0.3 + 2), real)
        (own + loss_fn(discriminator(made.detach()), fake)).backward()
        for_d.step()
        for_g.zero_grad()
        made = made if joint else generator(torch.randn(32, 4))
        loss_fn(discriminator(made), torch.full((32, 1), fake_label)).backward()
        for_g.step()


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("fake_label", [0.0, 1.0])
def test_a_generator_that_helps_the_discriminator(fake_label: float, joint: bool) -> None:
    doctor = ProgramDoctor(say=lambda line: None)
    with doctor:
        gan(fake_label, joint)
    found = [one for one in doctor.findings if one.code == "loop.wrong_sign"]
    assert [one.evidence["fix"] for one in found] == (["adversary"] if fake_label == 0.0 else [])


@pytest.mark.parametrize("repelled", [True, False])
def test_embeddings_that_nothing_keeps_apart(repelled: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    with danlu.watch(net, optimizer, quiet=True) as doctor:
        for step in range(500):
            mine = torch.randint(0, 6, (32,))
            other = (mine + torch.randint(1, 6, (32,))) % 6
            anchor, positive, negative = (net(samples(one)) for one in (mine, mine, other))
            loss = (anchor - positive).square().sum(1)
            if repelled:
                loss = loss + (1 - (anchor - negative).norm(dim=1)).clamp(min=0).square()
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            if step % 100 == 0:
                with torch.no_grad():
                    net(samples(torch.randint(0, 6, (200,))))
    found = [one for one in doctor.findings if one.severity != "note"]
    assert [one.code for one in found[:1]] == ([] if repelled else ["activation.collapsed"])
    assert "negative pairs" in (found[0].remedy if found else "negative pairs")
    assert doctor.ledger.last("run.forwards", "val") < 10  # the outputs that the loss leaves out are no validation


@pytest.mark.parametrize("copies", [False, True])
def test_pairs_drawn_with_replacement_are_no_copies(copies: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(120, 8)
    x = x.repeat_interleave(2, 0)[:160] if copies else x
    net = nn.Linear(8, 1)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    with danlu.watch(net, optimizer, quiet=True) as doctor:
        for _ in range(5):
            order = torch.randperm(160) if copies else torch.randint(0, 120, (960,))
            for index in order.split(16):
                optimizer.zero_grad()
                net(x[index]).square().mean().backward()
                optimizer.step()
            with torch.no_grad():
                net(torch.randn(50, 8))
    assert ("data.duplicates" in [one.code for one in doctor.findings]) == copies
