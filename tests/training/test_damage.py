"""A flipped byte, a lost row, an edited setting: a run never goes on from what is not what it wrote."""

import json
import random
import re
import shutil

import numpy as np
import pytest
import torch
from rich.console import Console

import danlu
from danlu.config import Config, DataConfig, dump_yaml, with_values
from danlu.data.fingerprint import fingerprint
from danlu.data.formats import open_dataset
from danlu.engine.checkpoint import previous_state, read_state, save_state
from danlu.engine.saving import Interrupted
from danlu.refuse import Refusal
from danlu.run.folder import Run
from danlu.run.stage import RunStage

QUIET = Console(quiet=True)
SETTINGS = {
    "model": "linear",
    "epochs": 4,
    "doctor.budget": 0,
    "device": "cpu",
    "save_every": 1e-9,
    "log_every": 2,
    "batch_size": 256,
}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, sigterm_at):
    """A run stopped by a signal inside its third epoch, with a checkpoint after every step."""
    folder = tmp_path_factory.mktemp("damage") / "run"
    with sigterm_at(13), pytest.raises(Interrupted):
        danlu.train("digits", out=folder, console=QUIET, **SETTINGS)
    return folder


@pytest.fixture
def run(interrupted, tmp_path):
    return Run.open(shutil.copytree(interrupted, tmp_path / "run"))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def resumed(run):
    return danlu.train(resume=run.folder, console=QUIET)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return danlu.train("digits", out=tmp_path_factory.mktemp("whole") / "run", console=QUIET, **SETTINGS)


def state_of(run, which="best"):
    return {name: value.clone() for name, value in danlu.load(run.folder, which).model.state_dict().items()}


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_byte_of_the_checkpoint_is_found_or_changes_nothing(seed, run, whole):
    size = run.state.stat().st_size
    flip(run.state, random.Random(seed).randrange(size))
    said = ""
    try:
        again = resumed(run)
    except Refusal as refused:
        said = str(refused)
        previous_state(run.state).replace(run.state)
        again = resumed(run)
    assert not said or re.search(r"state\.pt is damaged.*`mv .*state\.previous\.pt .*state\.pt` goes back", said)
    assert same(state_of(again, "last"), state_of(whole, "last"))


def test_a_flipped_byte_inside_a_tensor_is_found(run):
    content = run.state.read_bytes()
    tensor = read_state(run.state)["model"][next(iter(read_state(run.state)["model"]))]
    place = content.index(tensor.numpy().tobytes()[:64])
    flip(run.state, place + 5)
    with pytest.raises(Refusal, match=r"state\.pt is damaged and cannot be resumed from: its checksum differs"):
        resumed(run)


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_byte_of_the_weights_is_found(seed, run):
    path = run.weights("best")
    flip(path, random.Random(seed).randrange(path.stat().st_size))
    with pytest.raises(Refusal, match=r"best\.safetensors .*; use weights='last', or train it again"):
        danlu.load(run.folder)


@pytest.mark.parametrize("seed", range(6))
def test_a_flipped_byte_of_the_features_is_found(seed, whole, tmp_path):
    run = Run.open(shutil.copytree(whole.folder, tmp_path / "run"))
    image = np.zeros((8, 8), np.uint8)
    danlu.load(run.folder).predict(image)
    flip(run.features, random.Random(seed).randrange(run.features.stat().st_size))
    with pytest.raises(Refusal, match=r"features\.safetensors .*; remove it, and predictions are not compared"):
        danlu.load(run.folder).predict(image)
    run.features.unlink()
    danlu.load(run.folder).predict(image)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("damage", ["last row lost", "empty", "missing", "a figure changed"])
def test_rows_of_the_record_are_those_of_the_checkpoint(damage, listed, run):
    path = run.folder / "metrics.jsonl"
    if not listed:  # a run of an earlier version
        (run.folder / "checksums.txt").unlink()
    lines = path.read_text().splitlines(keepends=True)
    if damage == "missing":
        path.unlink()
    elif damage == "a figure changed":
        row = json.loads(lines[1]) | {"lr": 0.5}
        path.write_text("".join([lines[0], json.dumps(row) + "\n", *lines[2:]]))
    else:
        path.write_text("".join(lines[:-1] if damage == "last row lost" else []))
    other = r"delete .*checksums\.txt" if listed else "train it again"
    with pytest.raises(Refusal, match=rf"metrics\.jsonl .*put the file back as it was, or {other}"):
        resumed(run)


def test_half_a_character_at_the_end_of_the_record_is_dropped(run, whole):
    with (run.folder / "metrics.jsonl").open("ab") as file:
        file.write('{"kind": "é'.encode()[:-1])
    assert same(state_of(resumed(run)), state_of(whole))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epoch": -5}, "epoch -5 is no count"),
        ({"epoch": 10**9}, "epoch 1000000000 lies beyond the 4 epochs"),
        ({"batch": 10**6}, "batch 1000000 lies beyond the"),
        ({"step": "many"}, "step 'many' is no count"),
        ({"epoch": None}, "epoch None is no count"),
        ({"totals": 3}, "no progress of a training"),
        ({"totals": {"loss": "a"}}, "must be numbers"),
        ({"best": (1.0,)}, "must be numbers"),
        ({"seconds": float("nan")}, "no time in seconds"),
        ({"colour": 1}, "colour"),
    ],
)
def test_progress_that_no_training_leaves_is_refused(changes, says, run):
    state = read_state(run.state)
    state["progress"] |= changes
    save_state(run.state, state)
    with pytest.raises(Refusal, match=rf"state\.pt does not fit config\.yaml: .*{says}"):
        resumed(run)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("optim.lr", 0.123, r"config\.yaml says optim\.lr 0\.123, but the run was trained with"),
        ("batch_size", 7, r"config\.yaml says batch_size 7, but the run was trained with 256"),
        ("seed", 7, r"config\.yaml says seed 7, but the run was trained with 0"),
    ],
)
def test_an_edited_setting_is_named(key, value, says, run):
    run.write_text("config.yaml", dump_yaml(with_values(run.config, {key: value})))
    with pytest.raises(Refusal, match=says):
        resumed(run)


def test_an_edit_that_changes_no_weights_is_carried_out_and_told(run, capsys):
    path = run.folder / "config.yaml"
    path.write_text(dump_yaml(with_values(run.config, {"log_every": 3})))
    danlu.train(resume=run.folder, console=Console(width=400))
    told = capsys.readouterr().out
    assert f"note: {path} was edited since danlu wrote it; it is read as it is now" in told
    assert "config.yaml was edited: log_every is 3, and was 2" in told
    assert not run.edited


def test_another_number_of_threads_is_told(run, capsys):
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        danlu.train(resume=run.folder, console=Console(width=200))
    finally:
        torch.set_num_threads(before)
    told = f"resumed with threads {before + 1} instead of {before}: results may differ in their last bits"
    assert told in capsys.readouterr().out


def test_a_run_killed_while_it_wrote_its_report_writes_it(run):
    resumed(run)
    assert run.stage is RunStage.FINISHED
    assert not previous_state(run.state).exists()
    run.report.unlink()
    assert run.stage is RunStage.MEASURED
    resumed(run)
    assert run.stage is RunStage.FINISHED


def test_a_run_killed_while_it_read_its_data_is_resumed(whole, tmp_path):
    run = Run.create(str(tmp_path / "run"))
    run.unlock()
    asked = with_values(Config(), {"data.path": "digits", **SETTINGS})
    run.write_text("config.yaml", dump_yaml(asked))
    assert same(state_of(resumed(run)), state_of(whole))


def write_images(folder, seeds):
    from PIL import Image

    for name, seed in seeds.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = torch.randint(0, 256, (24, 24, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(path)


def test_the_fingerprint_follows_contents_not_paths(tmp_path):
    seeds = {"cat/1": 1, "cat/2": 2, "dog/1": 3, "dog/2": 4}
    prints = []
    for number, swapped in enumerate([{}, {}, {"cat/2": 4, "dog/2": 2}]):
        folder = tmp_path / str(number)
        write_images(folder, seeds | swapped)
        prints.append(fingerprint(open_dataset(DataConfig(path=str(folder)), "classify")))
    assert prints[0] == prints[1] != prints[2]


def test_the_fingerprint_sees_one_value_of_a_table(tmp_path):
    rows = [f"{i},{i % 3},{i * 0.5}" for i in range(40)]
    prints = []
    for changed in (None, "39,0,99.5"):
        path = tmp_path / "table.csv"
        path.write_text("\n".join(["a,b,price", *rows[:-1], changed or rows[-1]]))
        prints.append(fingerprint(open_dataset(DataConfig(path=str(path), target="b"), "classify")))
    assert prints[0] != prints[1]
