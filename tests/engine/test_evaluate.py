import torch
from lightning_fabric import Fabric
from torch import nn

from danlu.config import LossConfig
from danlu.data.batches import Batches, Columns
from danlu.engine.evaluate import evaluate
from danlu.learning.losses import build_loss
from danlu.tasks.classify import Classify

FABRIC = Fabric(accelerator="cpu", devices=1)
TASK = Classify(("a", "b", "c"), build_loss(LossConfig(name="cross-entropy"), torch.ones(3), "classify"))


def batches() -> Batches:
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    return Batches(x, torch.arange(30) % 3, torch.arange(3, 26), batch_size=7, transform=Columns())


def test_every_sample_is_seen_once_in_order_without_dropout_or_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = evaluate(FABRIC, TASK, model, batches())
    assert model.training  # it is given back as it came
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert found.index.tolist() == list(range(3, 26))
    assert found.targets.tolist() == [i % 3 for i in range(3, 26)]
    assert not found.outputs.requires_grad
    model.eval()
    torch.testing.assert_close(found.outputs, model(batches().source[3:26]).detach())


def test_views_are_averaged_as_probabilities():
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    found = evaluate(FABRIC, TASK, model, batches(), views=lambda x: [x, -x, 2 * x])
    x = batches().source[3:26]
    wanted = torch.stack([model(v).softmax(1) for v in (x, -x, 2 * x)]).mean(0)
    torch.testing.assert_close(found.outputs.softmax(1), wanted.detach())
