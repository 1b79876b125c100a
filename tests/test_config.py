"""The tree of settings: equal by flag, YAML and Python, validated in one place."""

import subprocess
import sys
from dataclasses import is_dataclass

import pytest
import yaml

from danlu.config import (
    SHORT,
    Config,
    ResolvedConfig,
    changed,
    dump_yaml,
    from_dict,
    get,
    keys,
    load_yaml,
    resolve,
    to_dict,
    unresolved,
    with_values,
)
from danlu.config.settings import FORMER
from danlu.console.flags import normalised
from danlu.refuse import Refusal
from danlu.run.signature import Signature

OTHER = {
    "lr": 0.25,
    "model": "lenet",
    "model.width": "256,128",
    "augment.area": "0.08,1",
    "loss.class_weights": [1, 2, 3],
    "val": 0.2,
    "test": 100,
    "tta": "true",
    "epochs": "7",
    "seed": 3,
    "data.path": "mnist",
}


def test_yaml_and_back(tmp_path):
    config = with_values(Config(), OTHER)
    file = tmp_path / "config.yaml"
    file.write_text(dump_yaml(config), encoding="utf-8")
    assert load_yaml(file) == config
    assert from_dict(to_dict(config)) == config
    assert to_dict(config) == yaml.safe_load(dump_yaml(config))


def test_an_empty_file_is_the_defaults(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_yaml(tmp_path / "empty.yaml") == Config()


def test_dotted_nested_and_short_names_are_equal():
    dotted = with_values(Config(), {"optim.lr": 0.3, "model.name": "mlp", "data.folds": 3})
    assert with_values(Config(), {"optim": {"lr": 0.3}, "model": {"name": "mlp"}, "data": {"folds": 3}}) == dotted
    assert with_values(Config(), {"lr": 0.3, "model": "mlp", "folds": 3}) == dotted


@pytest.mark.parametrize("name", SHORT)
def test_every_short_name_leads_to_a_setting(name):
    assert SHORT[name] in keys()


@pytest.mark.parametrize("key", keys())
def test_every_default_is_valid_and_described(key):
    field = keys()[key]
    assert get(from_dict(to_dict(Config())), key) == field.default
    assert field.text.strip()
    assert not is_dataclass(field.default)
    if field.default is not None:  # what the tree holds may also be said
        assert get(with_values(Config(), {key: field.default}), key) == field.default


def test_text_from_the_command_line_becomes_what_the_setting_is():
    config = with_values(Config(), OTHER)
    assert config.model.width == (256, 128)
    assert config.augment.area == (0.08, 1.0)
    assert config.tta is True
    assert config.epochs == 7


@pytest.mark.parametrize(
    ("given", "part"), [("0.2", 0.2), ("100", 100), ("0", 0), (0, 0), (50.0, 50), ("more/images", "more/images")]
)
def test_split_sizes_are_fractions_counts_or_paths(given, part):
    found = with_values(Config(), {"val": given}).data.val
    assert found == part
    assert type(found) is type(part)


@pytest.mark.parametrize(("former", "key"), FORMER.items())
def test_former_names_are_read(former, key, tmp_path):
    section, option = former.split(".")
    (tmp_path / "config.yaml").write_text(f"{section}: {{{option}: 0.3}}\n")
    for config in (load_yaml(tmp_path / "config.yaml"), with_values(Config(), {former: 0.3})):
        assert get(config, key) == 0.3
    flag, dashed = f"--{key}".replace("_", "-"), f"--{former}".replace("_", "-")
    assert normalised([f"--{former}", "0.3", f"{dashed}=0.4"]) == [flag, "0.3", f"{flag}=0.4"]
    kept = Signature("detect", "rcnn", options={option: 0.3, "regions": 8})
    assert Signature.from_json(kept.to_json()).options == {key.split(".")[1]: 0.3, "regions": 8}


def test_values_are_laid_over_without_touching_the_rest():
    base = with_values(Config(), {"optim.momentum": 0.5, "lr": 1.0})
    over = with_values(base, {"lr": 2.0})
    assert (over.optim.momentum, over.optim.lr) == (0.5, 2.0)
    assert base.optim.lr == 1.0


def test_changed_names_what_differs_from_the_defaults():
    assert changed(Config()) == {}
    assert changed(with_values(Config(), {"lr": 0.25, "seed": 0, "model": "mlp"})) == {
        "optim.lr": 0.25,
        "model.name": "mlp",
    }


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"optim.momentun": 1}, "unknown setting 'optim.momentun'; did you mean 'optim.momentum'"),
        ({"optim": {"lrr": 1}}, "'optim.lr'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"lr": float("nan")}, "optim.lr must be"),
        ({"lr": float("inf")}, "optim.lr must be a finite number, got inf"),
        ({"val": float("inf")}, "data.val must be a fraction"),
        ({"val": -3}, "data.val must be a fraction"),
        ({"val": 1.5}, "data.val must be a fraction"),
        ({"modle": "lenet"}, "'modle'; did you mean 'model'"),
        ({"early_stopping": 3}, "did you mean 'regularise.patience'"),
        ({"precision": "bf61"}, "did you mean 'bf16'"),
        ({"augment.area": [0.1, 0.5, 1]}, "augment.area must be 2 values"),
        ({"loss.class_weights": "blanced"}, "did you mean 'balanced'"),
        ({"tta": "perhaps"}, "tta must be true or false, got 'perhaps'"),
        ({"data.path": 3}, "data.path must be text, got 3"),
    ],
)
def test_wrong_values_are_refused_in_the_house_form(values, says):
    with pytest.raises(Refusal, match=says):
        with_values(Config(), values)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "line 1 must be YAML"),
        ("- 1", "must be a YAML mapping of settings, got 'list'"),
        ("when: 2024-13-45", "must be YAML"),
        ("[" * 5000, "must be YAML of settings: lists or mappings are nested"),
        ("1: 2", "unknown setting '1' in .*c.yaml; `danlu train --help all` lists all"),
        ("seed: !!python/object/apply:os.getcwd []", "must be YAML: could not determine a constructor"),
        ("optim: {lr: quick}", r"optim\.lr in .*c\.yaml must be a number, got 'quick'"),
    ],
)
def test_wrong_files_are_refused_with_their_place(tmp_path, text, says):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(Refusal, match=says):
        load_yaml(tmp_path / "c.yaml")


COMPLETE = {
    "task": "classify", "model": "mlp", "epochs": 3, "batch_size": 32, "lr": 0.1, "optimizer": "sgd",
    "optim.weight_decay": 0.0, "schedule": "constant", "augment": "none", "precision": "fp32", "channels_last": False,
    "data.memory": True, "workers": 0,
}  # fmt: skip


def test_a_complete_config_is_resolved_and_keeps_every_value():
    config = with_values(Config(), COMPLETE)
    resolved = resolve(config)
    assert isinstance(resolved, ResolvedConfig)
    assert dump_yaml(resolved) == dump_yaml(config)
    assert resolve(resolved) is resolved
    assert unresolved(resolved) == config
    assert type(unresolved(resolved).optim) is type(config.optim)


@pytest.mark.parametrize("name", COMPLETE)
def test_an_open_setting_is_not_resolved(name):
    key = {"model": "model.name", "schedule": "schedule.name", "augment": "augment.preset"}.get(
        name, SHORT.get(name, name)
    )
    config = with_values(Config(), COMPLETE | {name: None})
    with pytest.raises(Refusal, match=f"but {key} is open"):
        resolve(config)


@pytest.mark.parametrize(
    ("key", "choices", "is_switch", "is_list", "length"),
    [
        ("tta", (), True, False, None),
        ("channels_last", (), True, False, None),
        ("optim.lr", (), False, False, None),
        ("data.path", (), False, False, None),
        ("precision", ("fp32", "bf16", "fp16"), False, False, None),
        ("augment.area", (), False, True, 2),
        ("model.width", (), False, True, None),
        ("schedule.milestones", (), False, True, None),
        ("transfer.freeze", (), False, True, None),
        ("loss.class_weights", ("balanced", "root"), False, True, None),
    ],
)
def test_the_kind_of_a_setting_is_read_from_its_type(key, choices, is_switch, is_list, length):
    setting = keys()[key]
    assert (setting.choices, setting.is_switch, setting.is_list, setting.length) == (
        choices,
        is_switch,
        is_list,
        length,
    )


def test_the_tree_needs_no_torch():
    code = "import sys, danlu.config; assert not {'torch', 'numpy', 'pandas'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
