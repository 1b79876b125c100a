"""A wrong value of any flag is refused before work begins: exit 2, one sentence, nothing left in the current folder.

`tests/test_bad_input.py` checks the sentences of wrong files and settings; this table checks that no verb has a flag
whose wrong value is accepted, fails late or leaves something behind. The commands run in an empty folder.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from danlu.cli import main

FAST = "--epochs 1 --precision fp32 --channels-last false"
HUGE = 10**15
# {run}: a trained run of digits; {rows}: a csv file; {image}: an image file; {objects}: images with boxes.
COMMANDS = f"""
# Empty text.
train ''
train digits --out ''
train digits --config ''
train --resume ''
train digits --val ''
train digits --test ''
train digits --split ''
train digits --data.cache ''
train digits --device ''
train digits --model ''
train digits --model.norm ''
train digits --model.init ''
train digits --init ''
train digits --freeze ''
train digits --optimizer ''
train digits --lr ''
train digits --epochs ''
train digits --lang ''
train {{rows}} --target ''
train {{rows}} --format ''
train shapes --task detect --backbone ''
evaluate ''
evaluate {{run}} ''
evaluate {{run}} --part ''
evaluate {{run}} --weights ''
evaluate {{run}} --device ''
predict '' {{image}}
predict {{run}} ''
predict {{run}} {{image}} ''
predict {{run}} {{image}} --out ''
predict {{run}} {{image}} --top ''
predict {{run}} {{image}} --score ''
predict {{run}} {{image}} --weights ''
predict {{run}} {{image}} --tta ''
describe ''
describe digits --out ''
describe digits --seed ''
describe digits --task ''
convert '' --to coco
convert digits --to ''
convert digits --to folder --out ''
export '' --format onnx
export {{run}} --format ''
export {{run}} --format onnx --out ''
export {{run}} --batch ''
export {{run}} --batch 0
export {{run}} --batch \u00b2
diagnose ''
diagnose {{run}} --lang ''
diagnose {{run}} --out ''
diagnose digits --model ''
inspect ''
inspect lenet --input ''
inspect lenet --classes ''
inspect lenet --plot ''
inspect lenet --time ''
inspect --compare lenet ''
report ''
report {{run}} --lang ''
watch ''
watch --out '' script.py
watch --lang '' script.py
watch --budget '' script.py

tune ''
tune digits --search ''
tune digits --space ''
tune digits --method ''
tune digits --prune ''
tune digits --trials ''
tune digits --out ''
tune --resume ''
runs ''
runs . --sort ''
runs . --where ''
runs . --limit ''
compare '' {{run}}
compare {{run}} {{run}} --out ''
share ''
share {{run}} --out ''
share {{run}} --weights ''
serve ''
serve {{run}} --host ''
serve {{run}} --port ''
serve {{run}} --device ''

# Verbs over runs, and files that they cannot use.
tune digits --search nothing
tune digits --search lr,lr
tune digits --space missing.yaml
tune digits --method best
tune digits --prune never
tune digits --trials 0
tune digits --trials -1
tune digits --trials \u00b2
tune digits --budget 0
tune digits --budget nan
tune digits --top 0
tune digits --seeds 0
tune digits --folds 1
tune nowhere
tune --resume {{run}}
runs nowhere
runs {{image}}
runs . --sort nothing
runs . --limit 0
runs . --limit -1
runs . --limit \u00b2
runs . --where lr
compare {{run}}
compare {{run}} nowhere
compare {{run}} {{image}}
compare {{run}} {{run}} --out nowhere/page.html
compare {{run}} {{run}} --out page.pdf
compare {{run}} {{run}} --out page
share nowhere
share {{image}}
share {{run}} --out nowhere/run.zip
share {{run}} --weights middle
serve nowhere
serve {{image}}
serve {{run}} --port -1
serve {{run}} --port 65536
serve {{run}} --port {HUGE}
serve {{run}} --port \u00b2
serve {{run}} --host nowhere.invalid
serve {{run}} --weights middle
export nowhere
export {{image}}
export {{run}} --format onnx --weights middle

# Objects of the user that are none.
evaluate {{run}} --model nothing
evaluate {{run}} --loss focal
evaluate {{run}} --metrics accuracy
evaluate {{run}} --transform nothing.py
predict {{run}} {{image}} --model '"'
predict {{run}} {{image}} --transform ''
export {{run}} --model lenet
share {{run}} --model ²
serve {{run}} --model own:lenet
report {{run}} --features --model linear

# Devices, whose content never ends.
train /dev/zero
train digits --val /dev/zero
train digits --test /dev/urandom
train digits --config /dev/zero
tune digits --space /dev/zero
tune --resume /dev/zero
describe /dev/zero
convert /dev/zero --to coco
diagnose /dev/zero
evaluate /dev/zero
evaluate {{run}} /dev/zero
predict {{run}} /dev/zero
report /dev/zero
runs /dev/zero
share /dev/zero
export /dev/zero
serve /dev/zero
compare {{run}} /dev/zero

# Values of thousands of characters, of which the sentence shows a part.
train digits --precision {"x" * 5000}
train digits --epochs {"9" * 5000}
train digits --lr {"9" * 5000}
train {"x" * 5000}
train {"x/" * 2500}
train digits --out {"x" * 5000}
train digits --config {"x" * 5000}
train --{"x" * 5000} 3
evaluate {"x" * 5000}
evaluate {{run}} --part {"x" * 5000}
predict {{run}} {"x" * 5000}
diagnose {"x" * 5000}
inspect {"x" * 5000}
{"x" * 5000} digits

# Numbers that are none, or out of range.
train digits --epochs \u00b2
train digits --epochs {10**30}
train digits --batch-size -1
train digits --batch-size {HUGE}
train digits --batch-size 0x10
train digits --workers 1000000000
train digits --workers -1
train digits --seed {2**32}
train digits --seed 1.5
train digits --folds {HUGE}
train digits --devices 1000000000
train digits --devices 0
train digits --log-every 0
train digits --save-every 0
train digits --save-every nan
train digits --lr 1e999
train digits --optim.beta1 1
train digits --optim.ema 1
train digits --optim.accumulate 0
train digits --model.dropout 1
train digits --doctor.budget 1
train digits --doctor.budget nan
train digits --val nan
train digits --val 1e400
train digits --data.limit 0
train digits --schedule step --schedule.milestones 3,2,1
train digits --schedule step --schedule.milestones 1,1
train digits --schedule step --schedule.milestones 0,1
train digits --schedule.factor 1
train digits --augment.area 1,0.5
train digits --augment.area 0,1
train digits --augment.area 0.5,2
train digits --augment.ratio 2,1
train digits --augment.ratio 0,1
train digits --augment.hue 0.6
train digits --augment.pad -1
train digits --augment.pad {HUGE}
train digits --augment.zoom-out 0.5
train digits --data.window 255,0
train digits --data.window 7,7
train digits --data.window 1
evaluate {{run}} --device cuda:1000
predict {{run}} {{image}} --top \u00b2
predict {{run}} {{image}} --top -1
predict {{run}} {{image}} --top 1.5
predict {{run}} {{image}} --top 1e3
predict {{run}} {{image}} --score 2
predict {{run}} {{image}} --score nan
describe digits --seed -1
describe digits --data.size 0
diagnose {{run}} --heal --seeds 0
diagnose {{run}} --heal --seeds \u00b2
diagnose {{run}} --heal --seeds {HUGE}
diagnose {{run}} --heal --budget 0
diagnose {{run}} --heal --budget nan
diagnose {{run}} --heal --budget -5
diagnose {{run}} --landscape --directions up
inspect lenet --classes \u00b2
inspect lenet --classes 0
inspect lenet --classes {HUGE}
inspect lenet --batch-size {HUGE}
inspect lenet --input 1x{HUGE}x{HUGE}
inspect lenet --input 1x28
inspect lenet --input \u00b2x28x28
inspect mlp --model.width {HUGE}
inspect mlp --model.width 0
watch --budget 0 script.py
watch --budget nan script.py
watch --budget -1 script.py
watch --budget 5 script.py

# Sizes that overflow or do not fit in memory.
train digits --size 100000000
train digits --size {10**30}
train digits --size 60000 {FAST}
train digits --size 20000 --data.memory true {FAST}
train digits --model mlp --model.width 10000000000 {FAST}
train digits --model mlp --model.width 900000,900000 {FAST}
train digits --model mlp --model.width {10**30} {FAST}
train {{objects}} --task detect --detect.width 100000000 {FAST}
train {{objects}} --task detect --size 64 --model faster-rcnn --detect.hidden 100000000 {FAST}
train {{objects}} --task segment --size 64 --detect.mask-width 100000000 {FAST}
train {{objects}} --task detect --size 65504 --data.memory false {FAST}
describe digits --data.size 60000
diagnose digits --data.size 60000

# Detectors of another task, and settings without effect.
train shapes --task segment --model yolo-nano
train shapes --task detect --model mask-rcnn
train {{objects}} --task classify
train digits --detect.width 64
export {{run}} --format tflite
train digits --refit all
train digits --data.fold 1
train digits --pretrained nowhere
diagnose digits --heal
diagnose digits --seeds 3
inspect lenet --compare alexnet --batch-size 3
"""
CASES = [line for line in COMMANDS.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def files(drawn_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("files")
    settings = f"train digits --model linear --data.limit 200 {FAST} --json"
    assert main([*settings.split(), "--out", str(home / "run")]) == 0
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(home / "image.png")
    (home / "rows.csv").write_text("a,b\n" + "1,x\n2,y\n" * 20)
    return {"run": str(home / "run"), "image": str(home / "image.png"), "rows": str(home / "rows.csv")} | {
        "objects": str(drawn_coco)
    }


@pytest.mark.parametrize("command", CASES)
def test_refused_before_work_begins(
    command: str,
    files: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main([word.format(**files) for word in shlex.split(command)])
    out, err = capsys.readouterr()
    assert code == 2, err
    assert err.startswith("danlu: ")
    assert err.count("\n") == 1, err
    assert len(err) < 1000, err
    assert not out
    assert not list(tmp_path.iterdir())


def test_the_table_is_long_and_has_no_line_twice() -> None:
    assert len(set(CASES)) == len(CASES) >= 120
