"""Wrong input is answered by one sentence with the thing, the place and the nearest valid choice.

Each case has a name, the command line, texts that the message must contain, and a function that creates the needed
files. Commands run in a new folder; RUN and ROWS are copies of trained runs, of images and of table rows, that the case
may damage.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import load_file, save_file

import danlu
from danlu.cli import main

QUICK = "--epochs 1 --precision fp32 --channels-last false"
TRIPWIRE = Path("code-ran")  # made by the code in a dangerous file, should it ever run


@dataclass(frozen=True)
class Case:
    name: str
    command: str
    says: tuple[str, ...]
    make: Callable[[], object] = lambda: None


CASES: list[Case] = []


def case(name: str, command: str, *says: str, make: Callable[[], object] = lambda: None) -> None:
    CASES.append(Case(name, command, says, make))


# --- files that cases need ---------------------------------------------------------------------------------------


class Dangerous:
    """A pickle of it runs code when an ordinary unpickler reads it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(TRIPWIRE),)


def write(path: str, content: str | bytes) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def cut(path: str, keep: float = 0.6) -> None:
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * keep)])


def image(side: int = 8, seed: int = 0) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def images(root: str = "images", bad: int = 0, **counts: int) -> None:
    """A folder per class; the first `bad` images of each are cut short."""
    for name, count in (counts or {"cat": 8, "dog": 8}).items():
        Path(root, name).mkdir(parents=True)
        for i in range(count):
            data = image(seed=i)
            write(f"{root}/{name}/{i}.png", data[:100] if i < bad else data)


def idx(images: int = 12, labels: int = 12, magic: int = 8, folder: str = "idx") -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (images, 8, 8), dtype=np.uint8)
    head = bytes([0, 0, magic, 3]) + np.array([images, 8, 8], ">u4").tobytes()
    write(f"{folder}/train-images-idx3-ubyte", head + pixels.tobytes())
    marks = np.arange(labels, dtype=np.uint8) % 3
    write(
        f"{folder}/train-labels-idx1-ubyte", bytes([0, 0, 8, 1]) + np.array([labels], ">u4").tobytes() + marks.tobytes()
    )


def cifar(labels: object = None, data: object = None, extra: object = None) -> None:
    batch = {"data": np.zeros((10, 3072), np.uint8), "labels": list(range(10))}
    batch |= {k: v for k, v in {"labels": labels, "data": data, "extra": extra}.items() if v is not None}
    write("cifar/data_batch_1", pickle.dumps(batch))


def table(text: str = "", name: str = "table.csv", rows: int = 40) -> None:
    lines = [f"{i % 7},{i % 3},{i // 4},{'yes' if i % 2 else 'no'},{i * 0.37:.2f}" for i in range(rows)]
    write(name, text or "\n".join(["size,weight,owner,label,price", *lines]) + "\n")


def arrays(**given: np.ndarray) -> None:
    random = np.random.default_rng(0)
    usual = {"x": random.integers(0, 256, (12, 8, 8), dtype=np.uint8), "y": np.arange(12) % 2}
    np.savez("set.npz", **(given if "x_train" in given else usual | given))


def edit_yaml(old: str, new: str) -> None:
    file = Path("RUN/config.yaml")
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def reweight(change: Callable[[dict[str, torch.Tensor]], object] = lambda state: None, **signature: object) -> None:
    """Write the best weights again, with other tensors or another signature (danlu=None: none)."""
    path = Path("RUN/weights/best.safetensors")
    old, state = danlu.load("RUN").signature, load_file(path)
    change(state)
    text = signature["danlu"] if "danlu" in signature else json.dumps(json.loads(old.to_json()) | signature)
    save_file(state, path, {"danlu": str(text)} if text is not None else None)


def resummarise(**values: object) -> None:
    file = Path("RUN/summary.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def restate(change: Callable[[dict], object]) -> None:
    state = torch.load("RUN/state.pt", weights_only=True)
    change(state)
    torch.save(state, "RUN/state.pt")


# fmt: off
# --- verbs and flags ---------------------------------------------------------------------------------------------

case("verb misspelt", "trian digits", "unknown verb 'trian'", "'train'")
case("verb version", "version", "unknown verb 'version'", "'--version'")
case("flag misspelt before a verb", "--verion", "a verb must come before '--verion'", "'--version'")
case("verb unknown", "fly", "unknown verb 'fly'", "evaluate, predict, describe, convert, render, export, share, serve, diagnose, inspect, formats, networks, watch, report")
case("verb missing before a flag", "--epochs 3", "a verb must come before '--epochs'",
    "evaluate, predict, describe, convert, render, export, share, serve, diagnose, inspect, formats, networks, watch, report")
case("nothing to inspect", "inspect", "MODEL must be a network, or --compare with several")
case("one network compared", "inspect --compare lenet", "--compare must be two networks or more")
case("compared network misspelt", "inspect --compare lenet alexnte", "did you mean 'alexnet'?")
case("comparison drawn", "inspect lenet --compare alexnet --plot x.png", "--plot must be omitted with --compare")
case("nothing for the doctor", "doctor /nowhere", "RUN|LOG|DATA must be a run folder, the log of another tool, or data: a file, a folder or the name of a known dataset")
case("run misspelt for the doctor", "doctor RUM",
    "RUN|LOG|DATA must be a run folder, the log of another tool, or data: a file, a folder or the name of a known dataset", "'RUM'", "'RUN'")
case("known set misspelt for the doctor", "doctor digts", "RUN|LOG|DATA must be", "'digits'")
case("setting of a run for the doctor", "doctor RUN --size 4",
    "--size must be omitted for a run, which has its own, got '4'")
case("language", "train digits --lang fr", "--lang must be one of en, zh, got 'fr'")
case("language of the doctor", "doctor digits --lang fr", "--lang must be one of en, zh, got 'fr'")
case("network to inspect misspelt", "inspect lennet", "MODEL must be a known network", "'lenet'")
case("image too small to inspect", "inspect vgg11 --input 3x8x8", "--input must be at least 32 for vgg11, got 8")
case("task to look at data for", "data digits --task detect", "digits is data for the task classify, not detect")
case("detector misspelt", "train shapes --task detect --model yolo-nan", "did you mean 'yolo-nano'?")
case("detector's size", "train shapes --task detect --size 100", "--size must be a multiple of 32 for yolo-nano")
case("backbone misspelt", "train shapes --task detect --backbone lennet", "must be a known network")
case("backbone of a classifier", "train digits --backbone lenet", "omitted for tasks without objects")
case("mosaic of digits", "train digits --augment.mosaic 0.5", "--augment.mosaic must be 0 except for detection")
case("boxes turned", "train shapes --task detect --augment.rotate 10", "--augment.rotate must be 0 for detection")
case("loss of a detector", "train shapes --task detect --loss focal", "--loss must be omitted for detectors")
case("task of other data", "train digits --task detect", "digits is data for the task classify, not detect")
case("flag misspelt", "train digits --epoch 3", "unknown flag '--epoch' of danlu train", "'--epochs'")
case("flag nested misspelt", "train digits --optim.momentun 0.8", "'--optim.momentun'", "'--optim.momentum'")
case("flag of another tool", "train digits --learning-rate 3", "unknown flag '--learning-rate' of danlu train", "did you mean '--lr'?")
case("flag of another tool, short", "train digits --bs 3", "unknown flag '--bs' of danlu train", "did you mean '--batch-size'?")
case("flag of another verb", "eval RUN --epochs 3", "unknown flag '--epochs' of danlu evaluate")
case("last word of a setting", "train digits --limit 3", "unknown flag '--limit' of danlu train; did you mean '--data.limit'?")
case("flag of another verb is named", "train digits --heal", "unknown flag '--heal' of danlu train; it is one of danlu diagnose")
case("flag without a value", "train digits --epochs", "--epochs must be followed by a value", "danlu train --help")
case("flag in the value's place", "train digits --lr --seed 3", "--lr must be followed by a value")
case("argument too many", "train digits wine", "unexpected argument 'wine' of danlu train")
case("argument missing", "eval", "RUN", "danlu evaluate --help")
case("data missing", "train", "DATA must be a file, a folder or the name of a known dataset", "danlu train digits")
case("data empty", "train ''", "DATA must be text that is not empty, got ''")
case("integer wanted", "train digits --epochs ten", "--epochs must be an integer, got 'ten'")
case("integer wanted, fraction given", "train digits --epochs 2.5", "--epochs must be an integer, got '2.5'")
case("integer of thousands of digits", f"train digits --epochs {'9' * 5000}", "--epochs must be an integer, got")
case("number wanted", "train digits --lr fast", "--lr must be a number, got 'fast'")
case("decimal comma", "train digits --lr 0,001", "--lr must be a number, got '0,001'; did you mean '0.001'?")
case("value left out", "train digits --pretrained", "--pretrained must be followed by a value: weights to start from")
case("weights without network", "train digits --init timm:pretrained", "--init timm/NAME names the network and its")
case("unknown weights", "train digits --init pretrained", "timm/NAME (published weights) or efficientnet-lite0")
case("not a number", "train digits --lr nan", "--lr must be", "'nan'")
case("infinite", "train digits --optim.weight-decay inf", "--optim.weight-decay must be", "'inf'")
case("truth wanted", "train digits --tta=maybe", "--tta must be true or false, got 'maybe'")
case("too small", "train digits --epochs 0", "--epochs must be at least 1, got '0'")
case("too large", "train digits --optim.momentum 1", "--optim.momentum must be less than 1, got '1'")
case("negative rate", "train digits --lr -0.1", "--lr must be greater than 0, got '-0.1'")
case("seed out of range", "train digits --seed -1", "--seed must be at least 0")
case("choice misspelt", "train digits --data.last kepe", "--data.last must be", "keep, drop, carry", "'keep'")
case("list of the wrong length", "train digits --augment.area 0.5", "augment.area must be 2 values")
case("list with a word", "train digits --model.width 64,many", "model.width must be an integer", "'many'")
case("reversed range", "train digits --augment.area 1,0.08", "augment.area", "0.08")
case("--folds with --data.fold", "train digits --folds 3 --data.fold 0", "--data.fold")
case("--refit without --folds", "train digits --refit best", "--refit must be omitted without --folds, got 'best'")
case("--resume with DATA", "train digits --resume RUN", "--resume must be used without DATA", "'digits'")
case("--resume with another model", "train --resume RUN --model mlp", "--model must be omitted with --resume, which keeps the run's", "'mlp'",
    "epochs")
case("--resume with fewer epochs", "train --resume RUN --epochs 1",
    "--epochs must be at least 2, the epochs that the run has trained, got 1",
    make=lambda: resummarise(epochs=2))
case("--val with --folds", "train digits --folds 3 --val 0.2", "--val must be omitted with --folds", "0.2")
case("fold without folds", "train digits --config a.yaml", "--data.fold must be omitted without --folds, got 1",
    make=lambda: write("a.yaml", "data: {fold: 1}"))
case("--part with DATA", "eval RUN digits --part val", "--part must be omitted if other DATA are given", "'val'")
case("--part unknown", "eval RUN --part vall", "--part must be train, val or test", "'val'")
case("--weights unknown", "eval RUN --weights first", "--weights must be best or last, got 'first'")
case("predict without a run", "predict digit.png", "PATH must be given: danlu predict RUN PATH...")
case("evaluate without a run", "evaluate empty", "RUN must be a run folder (one that holds config.yaml), got 'empty'; choose from",
    make=lambda: os.mkdir("empty"))
case("--top of zero", "predict RUN digit.png --top 0", "--top must be an integer of at least 1, got '0'")
case("masks of a detector without them", "train shapes --task segment --model yolo-nano --out NEW",
    "--model must be a network for --task segment (", "mask-rcnn", "got 'yolo-nano'")
case("boxes of a detector with masks", "train shapes --task detect --model mask-rcnn --out NEW",
    "--model must be a network for --task detect (", "got 'mask-rcnn'")
case("a network for whole images as a detector", "train shapes --task detect --model resnet18 --out NEW",
    "--model must be a network for --task detect (yolo-nano", "it can be the backbone: --model yolo-nano --backbone resnet18")
case("a detector for whole images", "train digits --model yolo-nano --out NEW",
    "--model must be a network for --task classify, got 'yolo-nano'; yolo-nano is for --task detect")
case("a network for label maps as a detector", "train shapes --task pose --model unet --out NEW",
    "--model must be a network for --task pose (pose-crop", "got 'unet'; unet is for --task semantic")
case("a detector for label maps", "train shapes --task semantic --model ssd --out NEW",
    "--model must be a network for --task semantic (fpn", "got 'ssd'; ssd is for --task detect")
case("--live of a word", "train digits --live abc --out NEW", "--live must be an integer, or nothing, got 'abc'")
case("a switch of a word", "train digits --compile maybe --out NEW", "--compile must be true or false, or nothing, got 'maybe'")
case("--top of a superscript", "predict RUN digit.png --top \u00b2", "--top must be an integer of at least 1, got '\u00b2'")
case("--tta of predict", "predict RUN digit.png --tta=perhaps", "tta must be true or false, got 'perhaps'")

# --- paths -------------------------------------------------------------------------------------------------------

case("known set misspelt", "train digts", "DATA must be", "'digts'", "did you mean 'digits'")
case("file misspelt", "train tabel.csv", "'tabel.csv'", "'table.csv'", make=table)
case("path far from anything", "train /nowhere/at/all", "DATA must be", "'/nowhere/at/all'", "known datasets: ")
case("empty folder", "train empty", "empty must be data in a known format, got an empty folder",
    make=lambda: os.mkdir("empty"))
case("folder of text", "train notes", "notes must be data in a known format, got a folder of 1 .md file",
    make=lambda: write("notes/a.md", "hello"))
case("file of no known format", "train a.xyz", "a.xyz must be data in a known format", "ending in .xyz",
    make=lambda: write("a.xyz", "?"))
case("file that cannot be read", "train mem.csv", "mem.csv must be readable",
    make=lambda: os.symlink("/proc/self/mem", "mem.csv"))
case("folder in a file's place", "train table.csv", "table.csv must be data in a known format, got an empty folder",
    make=lambda: os.mkdir("table.csv"))
case("link to nowhere", "train lost.csv",
    "DATA lost.csv must be an existing file or folder, got a link to nowhere, which does not exist",
    make=lambda: os.symlink("nowhere", "lost.csv"))
case("name with a zero byte", "train 'a\0b'", "DATA must be")
case("name that is too long", f"train {'x' * 5000}", "xxx...", "file name too long")

# --- formats -----------------------------------------------------------------------------------------------------

IDX = "idx/train-images-idx3-ubyte"
case("idx truncated", "train idx", f"{IDX} must be 784 bytes long as its header says, got 470",
    make=lambda: (idx(), cut(IDX)))
case("idx of another magic", "train idx", f"{IDX} must be an idx file of bytes", "00 00 0d 03",
    make=lambda: idx(magic=13))
case("idx counts differ", "train idx", f"{IDX} has 12 images but", "9 labels", make=lambda: idx(labels=9))
case("idx without labels", "train idx", "train-labels-idx1-ubyte",
    make=lambda: (idx(), os.remove("idx/train-labels-idx1-ubyte")))
case("idx empty", "train idx", f"{IDX} must be", "nothing", make=lambda: (idx(), write(IDX, b"")))
case("idx.gz truncated", "train idx", f"{IDX}.gz is a truncated or damaged gzip file",
    make=lambda: (idx(), write(IDX + ".gz", gzip.compress(Path(IDX).read_bytes())[:300]), os.remove(IDX)))
case("cifar truncated", "train cifar", "cifar/data_batch_1 must be a pickle of numpy arrays", "truncated",
    make=lambda: (cifar(), cut("cifar/data_batch_1")))
case("cifar label out of range", "train cifar", "labels of cifar/data_batch_1 must be between 0 and 9, got 12",
    make=lambda: cifar(labels=[*range(9), 12]))
case("cifar labels missing", "train cifar", "labels of cifar/data_batch_1 must be 10 integers", "4 values",
    make=lambda: cifar(labels=[0, 1, 2, 3]))
case("cifar of another shape", "train cifar", "data of cifar/data_batch_1 must be a uint8 array of 3072 columns",
    "(10, 100)",
    make=lambda: cifar(data=np.zeros((10, 100), np.uint8)))
case("cifar no dictionary", "train cifar", "must be a dictionary with data and labels, got 'list'",
    make=lambda: write("cifar/data_batch_1", pickle.dumps([1])))
case("cifar with code in it", "train cifar", "cifar/data_batch_1 must be a pickle of numpy arrays and plain values",
    "could run code",
    make=lambda: cifar(extra=Dangerous()))
case("cifar names with code in them", "train cifar", "cifar/batches.meta", "could run code",
    make=lambda: (cifar(), write("cifar/batches.meta", pickle.dumps({"label_names": Dangerous()}))))
case("cifar names damaged", "train cifar",
    "cifar/batches.meta must be a dictionary with a list label_names, got 'list'",
    make=lambda: (cifar(), write("cifar/batches.meta", pickle.dumps(["cat"]))))
case("cifar binary truncated", "train cifar",
    "data_batch_1.bin must be a multiple of 3073 bytes (rows of label and image), got 3000 bytes",
    make=lambda: write("cifar/data_batch_1.bin", bytes(3000)))
case("csv without target", "train table.csv", "table.csv needs --target COLUMN, one of a, b",
    make=lambda: table("a,b\n1,2\n3,4\n"))
case("csv target misspelt", "train table.csv --target prise", "--target must be a column of table.csv, got 'prise'",
    "'price'",
    make=table)
case("target where none can be chosen", "train digits --target label", "--target must be omitted", "digits", "'label'")
case("csv without names", "train table.csv --target price", "--target", "its first line seems to contain values",
    make=lambda: table("1,2,3\n4,5,6\n"))
case("csv ragged", "train table.csv --target b", "table.csv line 3 must be 2 fields long, as the header is, got 3",
    make=lambda: table("a,b\n1,2\n3,4,5\n"))
case("csv empty", "train table.csv", "table.csv must be a table with a header line, got an empty file",
    make=lambda: write("table.csv", ""))
case("csv header only", "train table.csv --target a", "table.csv must be", "only a header",
    make=lambda: table("a,b\n"))
case("csv of bytes", "train table.csv", "table.csv must be a text file, got a binary file",
    make=lambda: write("table.csv", bytes(100)))
case("csv text to regress", "train table.csv --target label --task regress", "'label'", "numbers for --task regress",
    "'no'",
    make=table)
case("csv fractions to classify", "train table.csv --target price --task classify", "'price'",
    "integers or text for --task classify",
    make=table)
case("csv target without values", "train table.csv --target b", "column 'b' of table.csv must be a target",
    make=lambda: table("a,b\n1,\n2,\n"))
case("csv one class", "train table.csv --target b", "'b'", "at least two classes", "'x'",
    make=lambda: table("a,b\n1,x\n2,x\n"))
case("csv target alone", "train table.csv --target a", "table.csv must have input columns besides the target 'a'",
    make=lambda: table("a\nx\ny\n"))
case("csv number mistyped", "train table.csv --target b",
    "column 'b' of table.csv at line 3 must be a number as in the other lines, got '1O'",
    make=lambda: table("a,b\n1,1\n2,1O\n" + "3,4.5\n" * 20))
case("csv broken quotes", "train table.csv --target b", "table.csv cannot be read as a table",
    make=lambda: table('a,b\n1,"x\n2,y\n3,z\n'))
case("csv nothing to learn from", "train table.csv --target b", "must have a usable column", "'a'",
    make=lambda: table("a,b\n" + "1,x\n1,y\n" * 10))
case("csv two columns of one name", "train table.csv --target b", "table.csv", "'a'",
    make=lambda: table("a,a,b\n" + "1,2,x\n3,4,y\n" * 10))
case("npz truncated", "train set.npz", "set.npz must be an npz file, but it is truncated",
    make=lambda: (arrays(), cut("set.npz")))
case("npz objects", "train set.npz", "y in set.npz must be an array of numbers or text, got python objects",
    "could run code",
    make=lambda: arrays(y=np.array([Dangerous()] * 12, dtype=object)))
case("npz NaN", "train set.npz", "x in set.npz at row 3 must be finite numbers",
    make=lambda: arrays(x=np.where(np.arange(12)[:, None] == 3, np.nan, np.ones((12, 4)))))
case("npz target NaN", "train set.npz", "set.npz at row 1 must be a finite number, got nan",
    make=lambda: arrays(y=np.array([0.5, np.nan] * 6)))
case("npz of five dimensions", "train set.npz", "x in set.npz must be clips (N, T, C, H, W) of 1 or 3 channels", "(12, 2, 2, 2, 2)",
    make=lambda: arrays(x=np.zeros((12, 2, 2, 2, 2), np.uint8)))
case("npz of 1,100 channels", "train set.npz", "images x in set.npz must be of at most 1024 channels",
    make=lambda: arrays(x=np.zeros((12, 1100, 9, 9), np.uint8)))
case("npz counts differ", "train set.npz", "set.npz: x has 12 samples but y 5", make=lambda: arrays(y=np.arange(5)))
case("npz one class", "train set.npz", "set.npz must have at least two classes",
    make=lambda: arrays(y=np.zeros(12, int)))
case("npz of other names", "train set.npz", "the arrays of set.npz must be named x and y", "['a', 'b']",
    make=lambda: np.savez("set.npz", a=np.zeros(3), b=np.zeros(3)))
case("npz values out of range", "train set.npz", "images x in set.npz must be in [0, 1] or [0, 255]", "-3",
    make=lambda: arrays(x=np.full((12, 8, 8), -3.0)))
case("npz test of another shape", "train set.npz", "x_test in set.npz must be samples of shape (8, 8) as in training",
    make=lambda: arrays(x_train=np.zeros((6, 8, 8), np.uint8), y_train=np.arange(6) % 2,
                        x_test=np.zeros((6, 9, 9), np.uint8), y_test=np.arange(6) % 2))
case("npz no zip", "train set.npz", "set.npz must be an npz file", make=lambda: write("set.npz", "hello"))
case("folder with too many bad images", "train images",
    "images: 4 of 16 images (25%) cannot be used: cat/0.png (truncated)", "--on-bad skip",
    make=lambda: images(bad=2))
case("folder with an empty class", "train images", "images: class 'cow' has no usable training image",
    "--on-bad skip",
    make=lambda: (images(), os.mkdir("images/cow")))
case("folder with a class of test only", "train images", "images: class 'cow' has no usable training image",
    make=lambda: (images("images/train"), images("images/test", cow=2)))
case("folder of one class", "train images", "images must have at least two classes", "'cat'",
    make=lambda: images(cat=8))
case("folder wholly bad", "train images --on-bad skip", "images must have at least two classes",
    make=lambda: images(bad=8))
case("--task against the data", "train digits --task regress",
    "digits is data for the task classify, not regress")

# --- splits ------------------------------------------------------------------------------------------------------

case("no training samples left", "train digits --val 0.6 --test 0.6",
    "--val and --test must be small enough to leave training samples")
case("part larger than the set", "train digits --test 5000",
    "--val and --test must be small enough to leave training samples", "5000 for testing of 1797")
case("part infinite", "train digits --val inf", "--val must be a fraction between 0 and 1", "'inf'")
case("part negative", "train digits --val -1", "--val must be a fraction between 0 and 1, a number of samples", "'-1'")
case("part neither fraction nor count", "train digits --val 1.5", "--val must be a fraction between 0 and 1", "'1.5'")
case("part misspelt path", "train images --val imagse2", "--val must be a fraction, a count or an existing path",
    "'images2'",
    make=lambda: (images(), images("images2")))
case("part with an unknown class", "train images --val other",
    "each class of --val other must be one of images, got 'cow'",
    make=lambda: (images(), images("other", cat=2, cow=2)))
case("part of another format", "train images --test set.npz",
    "--test set.npz must be of the same format as images (folder), got 'npz'",
    make=lambda: (images(), arrays()))
case("split unknown", "train digits --split stratifed",
    "--split must be stratified, random, time:COLUMN or group:COLUMN", "'stratified'")
case("group column unknown", "train table.csv --target label --split group:onwer", "--split must be", "'onwer'",
    "'owner'",
    make=table)
case("time column unknown", "train table.csv --target label --split time:when", "--split must be", "table.csv",
    "'when'",
    make=table)
case("group without a column", "train table.csv --target label --split group:",
    "--split must be stratified, random, time:COLUMN", "'group:'",
    make=table)
case("group of images", "train digits --split group:owner",
    "--split must be stratified or random for data other than tables")
case("time that is text", "train table.csv --target price --split time:label",
    "column 'label' of --split must hold dates or numbers, got 'no'",
    make=table)
case("too many folds", "train table.csv --target price --folds 100", "--folds must be at most", "100", make=table)
case("one fold", "train digits --folds 1", "--folds must be at least 2")
case("batch larger than the set", "train images --batch-size 500", "--batch-size must be at most",
    "the training samples, got 500",
    make=images)

# --- model, optimiser, schedule, loss, augmentation --------------------------------------------------------------

case("model misspelt", f"train digits --model resnt20 {QUICK}", "--model must be", "'resnt20'", "'resnet20'")
case("timm model misspelt", f"train digits --model timm/resnet18x {QUICK}",
    "--model must be a network of timm, got 'resnet18x'", "'resnet18'")
case("torchvision model misspelt", f"train digits --model torchvision/resnet81 {QUICK}",
    "--model must be a network of torchvision, got 'resnet81'", "'resnet18'")
case("library unknown", f"train digits --model keras/resnet18 {QUICK}", "--model must be", "'keras/resnet18'")
case("option the model does not take", f"train digits --model linear --model.norm batch {QUICK}",
    "--model.norm must be omitted for linear", "'batch'")
case("option of an unknown value", f"train digits --model small-cnn --model.norm bacth {QUICK}", "model.norm must be",
    "'batch'")
case("norm unknown to a vit", f"train digits --model vit-mini --model.norm lyer {QUICK}", "model.norm must be", "'layer'")
case("norm unknown to lenet5", f"train digits --model lenet5 --size 28 --model.norm bach {QUICK}", "'batch'")
case("norm that lenet5 cannot take", f"train digits --model lenet5 --size 28 --model.norm spectral {QUICK}",
    "model.norm must be one of the activations for lenet5", "'spectral'")
case("init unknown to lenet5", f"train digits --model lenet5 --size 28 --model.init he:2 {QUICK}",
    "model.init must be default, xavier, he, normal:STD or zero", "'he:2'")
case("sparsity of another kind", f"train digits --model mlp --sparse 1:4 {QUICK}", "--sparse must be 2:4", "'1:4'")
case("sparse_refine alone", f"train digits --model mlp --model.sparse_refine 2e-4 {QUICK}",
    "--model.sparse-refine must be omitted without --sparse")
case("sparse_refine below zero", f"train digits --model mlp --sparse 2:4 --model.sparse_refine -1 {QUICK}",
    "--model.sparse-refine must be at least 0")
case("--sparse with weights that are computed", f"train digits --model mlp --sparse 2:4 --model.norm weight {QUICK}",
    "--model.norm must be other than weight and spectral with --sparse")
case("--sparse without a layer to prune", f"train digits --model softmax --sparse 2:4 {QUICK}",
    "--sparse must be omitted if no layer has")
case("init unknown", f"train digits --model mlp --model.init kaimimg {QUICK}", "model.init must be", "'kaimimg'")
case("size the model cannot take", f"train digits --model vgg11 {QUICK}", "vgg11", "at least 32", "8")
case("size too small", f"train digits --size 2 {QUICK}", "--size must be at least 4 pixels, got 2")
case("image model on a table", f"train table.csv --target label --model lenet {QUICK}",
    "--model must be a network for table rows", "'lenet'",
    make=table)
case("optimiser misspelt", "train digits --optimizer adamm", "--optimizer must be one of sgd, momentum", "'adam'")
case("schedule misspelt", "train digits --schedule cosin", "--schedule must be one of constant", "'cosine'")
case("warm-up without end", f"train digits --schedule.warmup 1 {QUICK}",
    "schedule.warmup must be less than the 1 epochs of the training, got 1")
case("loss misspelt", "train digits --loss cross-entrpy", "--loss must be one of cross-entropy", "'cross-entropy'")
case("loss of another task", f"train digits --loss huber {QUICK}", "--loss must be a loss for the task classify, got 'huber'",
    "cross-entropy")
case("loss setting of another loss", f"train digits --loss focal --loss.smoothing 0.1 {QUICK}",
    "loss.smoothing must be 0 with focal")
case("class weights of the wrong number", f"train digits --loss.class-weights 1,2,3 {QUICK}",
    "--loss.class-weights must be 10 numbers, one per class, got [1.0, 2.0, 3.0]")
case("class weights misspelt", "train digits --loss.class-weights blanced", "--loss.class-weights must be", "balanced",
    "'blanced'")
case("class weights to regress", f"train table.csv --target price --loss.class-weights balanced {QUICK}",
    "--loss.class-weights must be omitted if there are no exclusive classes",
    make=table)
case("augmentation misspelt", "train digits --augment lihgt", "--augment must be one of none, light, strong",
    "'light'")
case("balance without classes", f"train table.csv --target price --data.balance {QUICK}",
    "--data.balance must be omitted if there are no classes, as in table.csv",
    make=table)

# --- machine -----------------------------------------------------------------------------------------------------

case("device missing", "train digits --device tpu", "--device must be one that this machine has, got 'tpu'", "cpu")
case("device of eval missing", "eval RUN --device cuda:99", "--device must be one that this machine has, got 'cuda:99'")
case("fp16 on a cpu", "train digits --epochs 1 --precision fp16 --channels-last false --device cpu",
    "--precision must be fp32 or bf16 on a cpu, got 'fp16'")
case("precision misspelt", "train digits --precision bf61", "--precision must be one of fp32, bf16, fp16", "'bf16'")
case("too many processes", "train digits --device cpu --devices 1000",
    "--devices must be at most 64 processes on a cpu, got 1000")

case("cache in a file's place", f"train images --data.cache digit.png {QUICK}",
    "--data.cache digit.png cannot be used: file exists", make=images)

# --- config file -------------------------------------------------------------------------------------------------

case("config missing", "train digits --config no.yaml", "--config must be a readable file, got 'no.yaml'",
    "no such file")
case("config a folder", "train digits --config .", "--config must be a readable file, got '.'", "directory")
case("config not YAML", "train digits --config a.yaml", "a.yaml line 3 must be YAML",
    make=lambda: write("a.yaml", "optim:\n  lr: [1, 2\nseed: 3"))
case("config not text", "train digits --config a.yaml", "a.yaml must be YAML: it cannot be read as text",
    make=lambda: write("a.yaml", b"\xff\xfe\xfa\x80"))
case("config with a control sign", "train digits --config a.yaml", "a.yaml", "must be YAML",
    make=lambda: write("a.yaml", b"seed: \x00"))
case("config a list", "train digits --config a.yaml", "a.yaml must be a YAML mapping of settings, got 'list'",
    make=lambda: write("a.yaml", "- lr: 1"))
case("config key misspelt", "train digits --config a.yaml", "setting 'optim.momentun' in a.yaml", "'optim.momentum'",
    make=lambda: write("a.yaml", "optim: {momentun: 0.8}"))
case("config value of another type", "train digits --config a.yaml",
    "epochs in a.yaml must be an integer, got [1, 2]",
    make=lambda: write("a.yaml", "epochs: [1, 2]"))
case("config section in a value's place", "train digits --config a.yaml", "seed in a.yaml must be an integer",
    make=lambda: write("a.yaml", "seed: {value: 3}"))
case("config list in a section's place", "train digits --config a.yaml", "in a.yaml must be", "[0.1]",
    make=lambda: write("a.yaml", "optim: [0.1]"))
case("config that names code", "train digits --config a.yaml", "a.yaml line 1 must be YAML",
    make=lambda: write("a.yaml", "seed: !!python/object/apply:os.mkdir ['code-ran']"))
case("run's config edited: value", "eval RUN", "epochs in RUN/config.yaml must be an integer, got 'many'",
    make=lambda: edit_yaml("epochs: 1", "epochs: many"))
case("run's config edited: key", "predict RUN digit.png", "setting 'sed' in RUN/config.yaml", "'seed'",
    make=lambda: edit_yaml("\nseed:", "\nsed:"))
case("run's config edited: data gone", "eval RUN", "DATA must be", "'gone'",
    make=lambda: edit_yaml("path: digits", "path: gone"))
case("run's config edited: network", "train --resume RUN --epochs 2", "--resume RUN", "config.yaml says model.name mlp",
    make=lambda: edit_yaml("name: linear", "name: mlp"))
case("run's config edited: seed", "eval RUN", "RUN/config.yaml", "seed",
    make=lambda: edit_yaml("seed: 0", "seed: null"))

# --- run folder --------------------------------------------------------------------------------------------------

case("run missing", "eval runs/77", "RUN must be a run folder", "'runs/77'")
case("run misspelt", "eval RUM", "RUN must be a run folder", "'RUM'", "'RUN'",
    make=lambda: shutil.copytree("RUN", "kept"))
case("run a plain folder", "report .", "RUN must be a run folder", "'.'")
case("run a file", "predict digit.png digit.png", "RUN must be a run folder", "'digit.png'")
case("run in use", "train --resume RUN --epochs 2", "run folder RUN is in use by another process")
case("weights of a finished run gone", "eval RUN", "weights file RUN/weights/best.safetensors is missing", "trains it again",
    make=lambda: os.remove("RUN/weights/best.safetensors"))
case("run not begun", "eval RUN", "weights file RUN/weights/best.safetensors does not exist",
    make=lambda: [os.remove(f"RUN/{name}") for name in ("weights/best.safetensors", "summary.json")])
case("--out holds a run", f"train digits --out RUN {QUICK}", "--out must be a new folder, but RUN holds a run",
    "danlu train --resume RUN")
case("--out holds files", f"train digits --out full {QUICK}", "--out must be a new or empty folder, got 'full'",
    make=lambda: write("full/a", ""))
case("--out a file", f"train digits --out taken {QUICK}", "--out must be a folder, got 'taken'",
    make=lambda: write("taken", ""))
case("--out below a file", f"train digits --out taken/1 {QUICK}",
    "--out must be a folder that can be written, got taken/1",
    make=lambda: write("taken", ""))
case("--out unwritable", f"train digits --out /proc/danlu {QUICK}",
    "--out must be a folder that can be written, got /proc/danlu")
case("--out unwritable, with folds", "train digits --folds 2 --out /proc/danlu",
    "--out must be a folder that can be written, got /proc/danlu")
case("--out with a zero byte", f"train digits --model linear --out 'a\0b' {QUICK}", "--out", "null byte")

# --- checkpoints -------------------------------------------------------------------------------------------------

BEST = "RUN/weights/best.safetensors"
case("weights truncated", "eval RUN", f"weights file {BEST} is damaged or not a safetensors file: it was truncated", make=lambda: cut(BEST))
case("weights empty", "eval RUN", f"weights file {BEST} is damaged", make=lambda: write(BEST, b""))
case("weights a pickle with code", "eval RUN", f"weights file {BEST} is damaged or not a safetensors file",
    make=lambda: write(BEST, pickle.dumps(Dangerous())))
case("weights of a network without a tensor", "eval RUN", f"weights file {BEST} is of another network: it lacks tensor",
    make=lambda: reweight(lambda state: state.popitem()))
case("weights of a network with more", "eval RUN", f"{BEST} is of another network: it has an unknown tensor 'more'",
    make=lambda: reweight(lambda state: state.update(more=torch.ones(1))))
case("weights of another shape", "eval RUN", f"{BEST} is of another network", "(3, 3)",
    make=lambda: reweight(lambda state: state.update({next(iter(state)): torch.ones(3, 3)})))
case("weights of another run", "eval RUN",
    "the data of RUN, digits, have changed since the training: classes was no yes",
    make=lambda: shutil.copyfile("ROWS/weights/best.safetensors", BEST))
case("weights without signature", "eval RUN", f"weights file {BEST} has no danlu signature",
    make=lambda: reweight(danlu=None))
case("signature damaged", "predict RUN digit.png", f"weights file {BEST} has a damaged signature",
    make=lambda: reweight(danlu="{"))
case("signature with other fields", "predict RUN digit.png", f"weights file {BEST} has a damaged signature",
    make=lambda: reweight(colour="red"))
case("signature a list", "predict RUN digit.png", f"weights file {BEST} has a damaged signature",
    make=lambda: reweight(danlu="[1]"))
case("signature of the wrong type", "predict RUN digit.png", f"weights file {BEST} has a damaged signature: size",
    make=lambda: reweight(size="big"))
case("signature of an unknown network", "predict RUN digit.png",
    f"weights file {BEST} describes a network that cannot be built", "'resnt'",
    make=lambda: reweight(model="resnt"))
case("signature of another task", "predict RUN digit.png", f"{BEST} has a damaged signature: task",
    make=lambda: reweight(task="fly"))
case("signature of other channels", "predict RUN digit.png", f"{BEST} has a damaged signature: mean and std",
    make=lambda: reweight(mean=[0.1, 0.2]))
case("state missing", "train --resume RUN --epochs 2", "--resume RUN: the finished run was trained without --keep-state", "--init RUN",
    make=lambda: os.remove("RUN/state.pt"))
case("state truncated", "train --resume RUN --epochs 2", "RUN/state.pt is damaged and cannot be resumed from",
    make=lambda: cut("RUN/state.pt"))
case("state with code in it", "train --resume RUN --epochs 2", "RUN/state.pt is damaged and cannot be resumed from",
    make=lambda: torch.save(Dangerous(), "RUN/state.pt"))
case("state a bare pickle with code", "train --resume RUN --epochs 2",
    "RUN/state.pt is damaged and cannot be resumed from",
    make=lambda: write("RUN/state.pt", pickle.dumps(Dangerous())))
case("state of something else", "train --resume RUN --epochs 2",
    "RUN/state.pt is not a training state of danlu, it lacks 'progress'",
    make=lambda: torch.save([1, 2], "RUN/state.pt"))
case("state of another network", "train --resume RUN --epochs 2", "--resume RUN: state.pt does not fit config.yaml",
    make=lambda: restate(lambda state: state["model"].popitem()))
case("state that lacks a part", "train --resume RUN --epochs 2",
    "RUN/state.pt is not a training state of danlu, it lacks 'optimizer'",
    make=lambda: restate(lambda state: state.pop("optimizer")))
case("state without a fingerprint", "train --resume RUN --epochs 2", "it lacks 'fingerprint'",
    make=lambda: restate(lambda state: state.pop("fingerprint")))
case("state of other data", "train --resume RUN --epochs 2", "--resume RUN: the data has changed since",
    make=lambda: restate(lambda state: state.update(fingerprint="0")))

# --- predict -----------------------------------------------------------------------------------------------------

case("predict nothing", "predict RUN", "PATH", "danlu predict --help")
case("predict a path misspelt", "predict RUN digt.png", "PATH must be an existing file or folder, got 'digt.png'",
    "'digit.png'")
case("predict no image", "predict RUN note.png", "PATH note.png cannot be read as an image",
    make=lambda: write("note.png", "hello"))
case("predict a truncated image", "predict RUN short.png", "PATH short.png cannot be read as an image",
    make=lambda: write("short.png", image(64)[:3000]))
case("predict an empty folder", "predict RUN empty", "PATH must be a folder with images, got 'empty'",
    make=lambda: os.mkdir("empty"))
case("predict into a file", "predict RUN digit.png --out digit.png",
    "--out must be a folder that can be written, got digit.png")
case("predict into an unwritable place", "predict RUN digit.png --out /proc/danlu",
    "--out must be a folder that can be written, got /proc/danlu")
case("predict images by rows", "predict ROWS digit.png", "digit.png must be a text file, got a binary file")
case("predict rows by images", "predict RUN table.csv", "PATH table.csv cannot be read as an image", make=table)
case("predict rows that are missing", "predict ROWS tabel.csv", "PATH must be an existing csv file", "'tabel.csv'",
    "'table.csv'",
    make=table)
case("predict rows that lack columns", "predict ROWS less.csv", "less.csv", "lacks 'weight'",
    make=lambda: table("size,owner\n1,2\n", "less.csv"))
case("predict rows of a misspelt column", "predict ROWS other.csv", "other.csv", "is 'wieght' meant to be 'weight'?",
    make=lambda: table("size,wieght,owner,price\n1,2,3,4\n", "other.csv"))
case("predict rows of another type", "predict ROWS odd.csv",
    "column 'weight' of odd.csv must be numbers as in the training data, got 'heavy'",
    make=lambda: table("size,weight,owner,price\n1,heavy,3,4\n", "odd.csv"))
case("predict rows of an empty file", "predict ROWS none.csv",
    "none.csv must be a table with a header line, got an empty file",
    make=lambda: write("none.csv", ""))
case("predict rows: header only", "predict ROWS head.csv", "head.csv must be a table with rows below its header",
    make=lambda: table("size,weight,owner,price\n", "head.csv"))
case("predict rows into images", "predict ROWS table.csv --out here",
    "--out must be omitted for a network of table rows",
    make=table)

# --- eval, data, report ------------------------------------------------------------------------------------------

case("eval an unknown class", "eval RUN images",
    "class in images must be one that the run was trained on, got 'cat'",
    make=images)
case("eval missing data", "eval RUN digts", "DATA must be", "'digts'", "'digits'")
case("eval numbers by classes", "eval RUN diabetes",
    "diabetes is data for the task regress, not classify")
case("eval a table by images", "eval RUN table.csv", "DATA must be images, got table.csv, a table",
    make=lambda: table("a,target\n" + "1,0\n2,1\n" * 10))
case("eval images by rows", "eval ROWS images",
    "DATA must be a table of rows, got images, which has images",
    make=lambda: images(yes=2, no=2))
case("eval rows that lack columns", "eval ROWS less.csv", "must have the columns of the training data", "lacks 'weight'",
    make=lambda: table("size,label\n1,yes\n2,no\n", "less.csv"))
case("data missing for data", "data wnie", "DATA must be", "'wine'")
case("data into an unwritable place", "data digits --out /proc/danlu.png",
    "--out /proc/danlu.png cannot be used: no such file or directory")
case("data into no image", "data digits --out sheet.xyz",
    "--out must be the name of an image file, such as sheet.png, got 'sheet.xyz'")
case("data into a folder", "data digits --out .", "--out", "'.'")
case("data, flag of train", "data digits --epochs 3", "unknown flag '--epochs' of danlu describe")
case("report misspelt", "report runs/lst", "RUN must be a run folder", "'runs/lst'")
case("report, summary damaged", "report RUN", "RUN/summary.json must be readable JSON",
    make=lambda: cut("RUN/summary.json"))
case("report, summary of another kind", "report RUN", "RUN/summary.json must be JSON with an object, got 'list'",
    make=lambda: write("RUN/summary.json", "[1]"))
case("report, metrics damaged", "report RUN", "RUN/metrics.jsonl line 1 must be one JSON object",
    make=lambda: write("RUN/metrics.jsonl", "{broken\n{}\n"))
case("report, metrics of another kind", "report RUN", "RUN/metrics.jsonl line 1 must be one JSON object",
    make=lambda: write("RUN/metrics.jsonl", "3\n{}\n"))
case("report, metrics not text", "report RUN", "RUN/metrics.jsonl line 1",
    make=lambda: write("RUN/metrics.jsonl", b"\xff\xfe\n"))
case("eval, summary damaged", "eval RUN", "RUN/summary.json must be readable JSON",
    make=lambda: cut("RUN/summary.json"))

# fmt: on


# --- the test ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUN, of digits, and ROWS, of a table."""
    home = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(home)
    try:
        table()
        data = {"RUN": "digits --model linear --data.limit 200 --keep-state", "ROWS": "table.csv --target label"}
        for out, words in data.items():
            assert main(["train", *words.split(), *QUICK.split(), "--out", out, "--json"]) == 0
            os.remove(f"{out}/report.html")  # large, and made again from the rest
            os.remove(f"{out}/checksums.txt")  # without it, the contents themselves are judged
    finally:
        os.chdir(before)
    return home


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DANLU_DATA", str(tmp_path / "known-sets"))
    for name in ("RUN", "ROWS"):
        shutil.copytree(trained / name, name)
    write("digit.png", image())
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(case: Case, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case.make()
    capsys.readouterr()
    if case.name == "run in use":
        with FileLock("RUN/.lock"):
            code = main(shlex.split(case.command))
    else:
        code = main([*shlex.split(case.command)])
    out, err = capsys.readouterr()
    assert code == 2, err
    assert err.startswith("danlu: ")
    assert err.count("\n") == 1, err
    assert len(err) < 1000, err
    assert "Traceback" not in err
    for words in case.says:
        assert words in err
    assert "{" not in out, out
    assert not TRIPWIRE.exists()
    assert not list(Path().glob("runs/*")), "a refused training leaves no run folder"


def test_the_table_is_long_and_its_names_differ() -> None:
    assert len(CASES) >= 70
    assert len({case.name for case in CASES}) == len(CASES)
