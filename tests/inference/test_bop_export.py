"""Poses as BOP's results file, and the lines of an evaluation that found nothing."""

from __future__ import annotations

import math
from pathlib import Path

from danlu.inference.bop_export import write_bop_results
from danlu.inference.prediction import Detection, Prediction
from danlu.printing.results import figures, nothing_found

TURN = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


def read(folder: Path, label: str, classes: tuple[str, ...]) -> list[list[str]]:
    """Entries of the written file, read as BOP's toolkit does: seven fields, integers and numbers between spaces."""
    found = Detection(label, 0.5, [0, 0, 1, 1], pose={"rotation": TURN, "translation": [0.1, -0.02, 0.7]})
    write_bop_results(folder, [Prediction("test/000002/rgb/000003.png", objects=[found])], classes)
    header, *lines = (folder / "poses.csv").read_text(encoding="utf-8").splitlines()
    assert header == "scene_id,im_id,obj_id,score,R,t,time"
    return [line.split(",") for line in lines]


def test_a_line_has_the_seven_fields_of_bop(tmp_path: Path) -> None:
    ((scene, image, number, score, rotation, translation, time),) = read(tmp_path, "obj_000012", ("obj_000012",))
    assert (int(scene), int(image), int(number), float(score), float(time)) == (2, 3, 12, 0.5, -1)
    assert [float(v) for v in rotation.split()] == [v for row in TURN for v in row]
    assert [float(v) for v in translation.split()] == [100, -20, 700]


def test_objects_with_names_have_the_number_of_their_class(tmp_path: Path) -> None:
    # Digits at the end of a name are no number in BOP's sense: two names may have the same.
    assert read(tmp_path, "cube", ("prism2", "cube"))[0][2] == "2"
    assert read(tmp_path, "prism2", ("prism2", "cube2"))[0][2] == "1"


def test_undefined_errors_are_not_printed() -> None:
    metrics = {"loss": 1.25, "found": 0.0, "rotation": math.nan}
    assert figures(metrics) == "loss 1.2500  found 0.0000"
    assert "no object was found" in str(nothing_found(metrics))
    assert nothing_found({"loss": 1.25, "found": 0.5}) is None
    assert nothing_found({"loss": 1.25}) is None
