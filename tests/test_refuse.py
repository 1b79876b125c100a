"""The form of refusals, and the nearest choices for misspelt words."""

import errno
import pickle
import socket
from pathlib import Path

import pytest

from danlu.message import speaking
from danlu.refuse import NOTHING, Failure, Refusal, blame, nearest, one_of, refusal, system_reason


@pytest.mark.parametrize(
    ("word", "choices", "best"),
    [
        ("resnt20", ["resnet20", "resnet50", "lenet"], ["resnet20"]),
        ("RESNET", ["resnet20", "lenet"], ["resnet20"]),  # a word that begins a choice
        ("RUM", ["RUN", "kept"], ["RUN"]),  # capitals do not count, on either side
        ("lenet-mnist", ["lenet", "mlp"], ["lenet"]),  # a word that contains one
        ("xyz", ["resnet20", "lenet"], []),
        ("", ["resnet20"], []),
        ("digits", [], []),
        (3, ["30", "x"], ["30"]),
    ],
)
def test_nearest(word, choices, best):
    assert nearest(word, choices) == best


def test_at_most_three_are_near():
    assert len(nearest("model", [f"model{i}" for i in range(9)])) == 3


def test_a_refusal_names_thing_place_and_choice():
    said = str(refusal("--model", "a known model", "resnt20", near=["resnet20", "lenet"]))
    assert said == "--model must be a known model, got 'resnt20'; did you mean 'resnet20'?"


def test_choices_are_listed_without_near_match():
    said = str(refusal("--model", "a known model", "xyz", near=["b", "a"], do="or write your own"))
    assert said == "--model must be a known model, got 'xyz'; choose from a, b; or write your own"


def test_choices_that_were_named_already_are_not_listed_again():
    assert (
        str(refusal("--weights", "best or last", "xyz", near=["best", "last"]))
        == "--weights must be best or last, got 'xyz'"
    )


def test_long_lists_are_cut():
    said = str(refusal("--model", "a known model", "!", near=[f"m{i:02d}" for i in range(30)]))
    assert said.endswith("m10, m11 and 18 more")


def test_refusals_are_value_errors_and_failures_are_not():
    assert isinstance(refusal("a", "b", "c"), ValueError)
    assert not isinstance(Failure("full"), ValueError)


def test_a_refusal_comes_back_whole_from_another_process():
    back = pickle.loads(pickle.dumps(refusal("optim.lr", "a number", "fast")))
    assert (str(back), back.thing) == ("optim.lr must be a number, got 'fast'", "optim.lr")


def test_choose():
    assert one_of("--x", "a", {"a": 1, "b": 2}, "a letter") == "a"
    with pytest.raises(Refusal, match="--x must be a letter, got 'aa'; did you mean 'a'"):
        one_of("--x", "aa", ["a", "b"], "a letter")


def test_file_errors_are_refusals_unless_the_disk_fails():
    missing = blame(FileNotFoundError(errno.ENOENT, "No such file or directory", "a.csv"))
    assert isinstance(missing, Refusal)
    assert str(missing) == "a.csv cannot be used: no such file or directory"
    full = blame(OSError(errno.ENOSPC, "No space left on device"), "--out here")
    assert isinstance(full, Failure)
    assert str(full) == "--out here could not be read or written: no space left on device"


def test_reasons_of_the_system_are_in_the_language_of_the_reader() -> None:
    with pytest.raises(FileNotFoundError) as missing:
        Path("nowhere/at/all").read_bytes()
    assert str(system_reason(missing.value)) == "no such file or directory"
    with pytest.raises(socket.gaierror) as unknown:
        socket.getaddrinfo("nowhere.invalid", 80)
    rare = OSError(errno.EDOM, "Numerical argument out of domain")
    with speaking("zh"):
        assert str(system_reason(missing.value)) == "没有这个文件或文件夹"
        assert str(system_reason(unknown.value)) == "没有这个地址"
        assert str(system_reason(rare)) == "numerical argument out of domain"
    assert str(system_reason(ValueError("embedded null byte"))) == "embedded null byte"


def test_missing_input_is_named_in_the_language_of_the_sentence() -> None:
    refused = refusal("DATA", "a file", NOTHING)
    assert str(refused) == "DATA must be a file, got nothing"
    with speaking("zh"):
        assert "nothing" not in str(refused)
