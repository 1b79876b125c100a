"""Weights and training states: round trip, and errors for other files."""

import pickle

import pytest
import torch
from torch import nn

from danlu.engine.checkpoint import fill, read_state, read_weights, save_state, save_weights
from danlu.refuse import Failure, Refusal
from danlu.run.atomic import write_atomically
from danlu.run.signature import Signature

SIGNATURE = Signature("classify", "mlp", {"width": (8, 4)}, ("猫", "dog"), channels=1, size=2, mean=(0.1,), std=(0.2,))


def network(hidden: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, 2))


def test_weights_come_back_as_they_were(tmp_path):
    model = network()
    model(torch.randn(5, 4))  # moves the buffers
    save_weights(tmp_path / "w", model, SIGNATURE)
    signature, state = read_weights(tmp_path / "w")
    assert signature.classes == ("猫", "dog")
    assert signature.mean == (0.1,)
    twin = network()
    fill(twin, state, tmp_path / "w")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True))


def test_shared_weights_and_other_memory_formats_are_saved(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 4), nn.Linear(4, 4)).to(memory_format=torch.channels_last)
    model[2].weight = model[1].weight
    save_weights(tmp_path / "w", model, SIGNATURE)
    _, state = read_weights(tmp_path / "w")
    assert torch.equal(state["0.weight"], model[0].weight)
    assert torch.equal(state["2.weight"], model[1].weight)


@pytest.mark.parametrize("cut", [0, 5, 60, 300])
def test_a_weights_file_cut_short_is_refused(cut, tmp_path):
    save_weights(tmp_path / "w", network(), SIGNATURE)
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:cut])
    with pytest.raises(Refusal, match="is damaged or not a safetensors file"):
        read_weights(tmp_path / "w")


def test_weights_of_others_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "w")
    with pytest.raises(Refusal, match="has no danlu signature"):
        read_weights(tmp_path / "w")
    save_file({"weight": torch.ones(2)}, tmp_path / "w", metadata={"danlu": '{"colour": 3}'})
    with pytest.raises(Refusal, match="has a damaged signature"):
        read_weights(tmp_path / "w")
    with pytest.raises(Refusal, match="does not exist"):
        read_weights(tmp_path / "none")


def test_weights_of_another_network_name_the_first_tensor_that_does_not_fit(tmp_path):
    state = network(hidden=5).state_dict()
    with pytest.raises(Refusal, match=r"tensor '0.weight' is \(5, 4\), the network's is \(3, 4\)"):
        fill(network(), state, tmp_path)
    state = network().state_dict()
    del state["1.running_mean"]
    with pytest.raises(Refusal, match=r"it lacks tensor '1\.running_mean'"):
        fill(network(), state, tmp_path)
    with pytest.raises(Refusal, match="it has an unknown tensor 'extra'"):
        fill(network(), network().state_dict() | {"extra": torch.ones(1)}, tmp_path)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_a_state_never_runs_code(tmp_path):
    path = tmp_path / "state.pt"
    torch.save({"progress": Trap()}, path)
    with pytest.raises(Refusal, match="is damaged and cannot be resumed from"):
        read_state(path)
    path.write_bytes(pickle.dumps({"progress": Trap()}))
    with pytest.raises(Refusal, match="is damaged"):
        read_state(path)
    save_state(path, {"something": 1})
    with pytest.raises(Refusal, match="is not a training state of danlu"):
        read_state(path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def half(part):
        part.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(Failure, match="could not be written: no space left on device; what was saved before is intact"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
