"""Predictions of detectors equal those of the evaluation, in pixels of each image, drawn and as COCO results."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from danlu import cli
from danlu.config import with_values
from danlu.data.sources.named.shapes import draw
from danlu.inference import video
from danlu.inference.coco_export import coco_results
from danlu.inference.detect import ImageDetector
from danlu.inference.prediction import Detection, Prediction
from danlu.tasks.detect import MIN_SCORE


def test_written_detections_are_worth_what_the_evaluation_says(drawn_run, drawn_coco, tmp_path):
    """Two ways over the same images: the loop of the evaluation, and files to a COCO results file and back."""
    danlu.predict(drawn_run, drawn_coco / "images", out=tmp_path, score=MIN_SCORE)
    by_file = danlu.evaluate(tmp_path / "detections.json", drawn_coco)["metrics"]["test"]
    by_run = danlu.evaluate(drawn_run, drawn_coco)["metrics"]["test"]
    assert by_run["mAP50"] > 0.05
    # The evaluation takes a box's area for its object's, the file gives that of the mask: sizes differ by that alone.
    whole = [name for name in by_file if not name.endswith(("small", "medium", "large"))]
    assert len(whole) == 6
    assert {n: by_file[n] for n in whole} == pytest.approx({n: by_run[n] for n in whole}, abs=2e-3)


def test_objects_are_inside_the_image_and_sorted_by_score(drawn_run, drawn_coco):
    found = drawn_run.predict(drawn_coco / "images", score=0.05)
    assert len(found) == 40
    assert any(row["objects"] for row in found)
    for row in found:
        scores = [one["score"] for one in row["objects"]]
        assert scores == sorted(scores, reverse=True)
        assert all(score >= 0.05 for score in scores)
        for one in row["objects"]:
            assert {*one} == {"class", "score", "box"}
            left, top, right, bottom = one["box"]
            assert 0 <= left <= right <= 90
            assert 0 <= top <= bottom <= 64
    more = drawn_run.predict(drawn_coco / "images", score=0.01)
    assert sum(len(row["objects"]) for row in more) > sum(len(row["objects"]) for row in found)


def test_arrays_images_and_files_are_told_alike(drawn_run, drawn_coco):
    file = drawn_coco / "images" / "0004.png"
    with Image.open(file) as opened:
        image = opened.copy()
    several = np.stack([np.asarray(image)] * 2)
    found = danlu.predict(drawn_run, file, image, np.asarray(image), several, score=0.02)
    assert [row["path"] for row in found] == [str(file), *(f"array {i}" for i in range(4))]
    for row in found[1:]:
        assert [one["class"] for one in row["objects"]] == [one["class"] for one in found[0]["objects"]]
        for one, other in zip(row["objects"], found[0]["objects"]):
            assert one["box"] == pytest.approx(other["box"], abs=0.05)


def test_a_larger_image_has_larger_boxes(drawn_run, drawn_coco):
    with Image.open(drawn_coco / "images" / "0007.png") as opened:
        small = opened.copy()
    large = small.resize((360, 256), Image.Resampling.NEAREST)
    first, others = (danlu.predict(drawn_run, p, score=0.02)[0]["objects"] for p in (small, large))
    distances = [np.abs(np.array(other["box"]) / 4 - first[0]["box"]).max() for other in others]
    assert min(distances) < 3  # the order and class of a detector of 30 epochs depend on the machine


def test_drawings_have_the_size_of_their_files_and_boxes_on_them(drawn_run, drawn_coco, tmp_path):
    (tmp_path / "in" / "more").mkdir(parents=True)
    for place in (tmp_path / "in", tmp_path / "in" / "more"):
        shutil.copy(drawn_coco / "images" / "0001.png", place / "a b.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG nothing")
    found = danlu.predict(drawn_run, tmp_path / "in", out=tmp_path / "out", score=0.02)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a b.png", "a b-2.png", "detections.json"}
    assert [("error" in row) for row in found] == [False, True, False]
    with Image.open(tmp_path / "out" / "a b.png") as drawn, Image.open(tmp_path / "in" / "a b.png") as plain:
        assert drawn.size == plain.size
        assert (np.asarray(drawn) != np.asarray(plain)).any()
    entries = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert len(entries) == sum(len(row.get("objects", [])) for row in found)


def test_results_are_named_by_number_where_the_file_is():
    box = Detection("bee", 0.5, [1.0, 2.0, 11.0, 22.0])
    rows = [Prediction(f"in/{name}", objects=[box]) for name in ("000000000139.jpg", "yard.jpg")]
    one, other = coco_results([*rows, Prediction("x.png", error="not an image")], ("ant", "bee"))
    assert (one["image_id"], other["image_id"]) == (139, "yard")
    assert (one["category_id"], one["bbox"], one["score"]) == (2, [1, 2, 10, 20], 0.5)


def test_results_tell_images_of_one_name_apart():
    """In sub-folders, of one name and two formats, frames of a video, and from places without a folder in common."""

    def told(*paths):
        box = Detection("bee", 0.5, [1.0, 2.0, 11.0, 22.0])
        entries = coco_results([Prediction(path, objects=[box]) for path in paths], ("ant", "bee"))
        return [(one["image_id"], one["file_name"]) for one in entries]

    assert told("in/a/1.jpg", "in/b/1.jpg") == [("a/1.jpg", "a/1.jpg"), ("b/1.jpg", "b/1.jpg")]
    assert told("./in/a/1.jpg", "in/b/2.jpg") == [(1, "a/1.jpg"), (2, "b/2.jpg")]
    assert told("in/1.jpg", "in/1.png") == [("1.jpg", "1.jpg"), ("1.png", "1.png")]
    assert told("clip.mp4 frame 1", "clip.mp4 frame 2")[1] == ("clip.mp4 frame 2", "clip.mp4 frame 2")
    assert told("/far/1.jpg", "near/2.jpg", "array 0") == [(1, "1.jpg"), (2, "2.jpg"), ("array 0", "array 0")]
    assert told() == []


def test_images_in_sub_folders_are_judged_as_themselves(drawn_run, drawn_coco, tmp_path):
    content = json.loads((drawn_coco / "annotations.json").read_text())
    for i, one in enumerate(content["images"]):
        name = f"{'ab'[i % 2]}/{i // 2}.png"
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn_coco / "images" / one["file_name"], tmp_path / "images" / name)
        one["file_name"] = name
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    found = []
    for data, out in ((drawn_coco, tmp_path / "flat"), (tmp_path, tmp_path / "deep")):
        danlu.predict(drawn_run, data / "images", out=out, score=MIN_SCORE)
        found.append(danlu.evaluate(out / "detections.json", data)["metrics"]["test"])
    assert found[0] == pytest.approx(found[1])


@pytest.mark.slow
def test_masks_are_those_of_the_evaluation(drawn_coco, tmp_path):
    settings = {"size": 96, "epochs": 3, "batch_size": 8, "precision": "fp32", "channels_last": False, "device": "cpu"}
    quiet = danlu.train(drawn_coco, task="segment", out=str(tmp_path / "run"), **settings)
    found = danlu.predict(quiet, drawn_coco / "images", out=tmp_path / "out", score=MIN_SCORE)
    masks = [one["mask"] for row in found for one in row["objects"]]
    assert masks
    assert all(mask["size"] == [64, 90] for mask in masks)
    by_file = danlu.evaluate(tmp_path / "out" / "detections.json", drawn_coco)
    by_run = danlu.evaluate(quiet, drawn_coco)["metrics"]["test"]
    assert by_file["task"] == "segment"
    for name in ("mAP", "mask_mAP", "mask_mAP50", "mask_AR100"):
        assert by_file["metrics"]["test"][name] == pytest.approx(by_run[name], abs=2e-3)


def test_with_mirror_images_a_image_and_its_mirror_image_show_the_same(drawn_run):
    trained = danlu.load(drawn_run)
    mirrored = {"tta": True, "augment.flip": "lr", "detect.score": MIN_SCORE}
    detector = ImageDetector(trained.network, torch.device("cpu"), with_values(trained.config, mirrored))
    image = draw(1, 64, seed=5)[0][0].permute(1, 2, 0).numpy()
    one, other = detector([detector.place(image), detector.place(np.ascontiguousarray(image[:, ::-1]))])
    assert len(one) == len(other) > 0
    torch.testing.assert_close(one.scores, other.scores, atol=1e-4, rtol=0)
    sure = one.scores.diff() < -1e-3  # the order of equal scores is undefined
    first = int(sure.long().cumprod(0).sum())
    left, top, right, bottom = other.boxes[:first].unbind(1)
    back = torch.stack([64 - right, top, 64 - left, bottom], 1)
    torch.testing.assert_close(one.boxes[:first], back, atol=0.05, rtol=0)


def test_the_command_prints_a_table_or_one_object(drawn_run, drawn_coco, capfd):
    file = str(drawn_coco / "images" / "0001.png")
    assert cli.main(["predict", drawn_run.name, file, "--score", "0.02"]) == 0
    out = capfd.readouterr().out
    assert "objects" in out
    assert any(name in out for name in drawn_run.signature.classes)
    assert cli.main(["predict", drawn_run.name, file, "--score", "0.02", "--json"]) == 0
    (row,) = json.loads(capfd.readouterr().out)["predictions"]
    assert row["path"] == file


def test_unusable_input_is_refused_in_one_sentence(drawn_run, digits_run, drawn_coco, tmp_path):
    file = drawn_coco / "images" / "0001.png"
    (tmp_path / "no.png").write_bytes(b"\x89PNG nothing")
    (tmp_path / "empty").mkdir()
    for given, settings, said in (
        ((file,), {"score": 1.5}, "detect.score must be"),
        ((file,), {"score": "high"}, "detect.score must be a number"),
        ((tmp_path / "no.png",), {}, r"no\.png cannot be read as an image: not an image"),
        ((b"no.png",), {}, "PATH must be a file, a folder, an array or an image, got one of bytes"),
        ((np.zeros((5, 5, 7)),), {}, "array 0 cannot be read as an image: shape"),
        ((tmp_path / "empty",), {}, "a folder with images"),
        ((drawn_coco / "images" / "001.png",), {}, r"did you mean .*0001\.png"),
        ((file,), {"out": file}, "^out must be a folder"),
    ):
        with pytest.raises(danlu.Refusal, match=said):
            danlu.predict(drawn_run, *given, **settings)
    with pytest.raises(danlu.Refusal, match=r"^score must be omitted for tasks without objects"):
        danlu.predict(digits_run, np.zeros((8, 8), np.uint8), score=0.5)


def test_a_video_needs_pyav(drawn_run, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    try:
        import av  # noqa: F401
    except ImportError:
        said = "only PyAV reads: `pip install av`"
    else:
        said = "cannot be read as a video"
    with pytest.raises(danlu.Refusal, match=said):
        danlu.predict(drawn_run, tmp_path / "clip.mp4")


def test_every_frame_of_a_video_is_seen(drawn_run, drawn_coco, tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: no video was read")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 90, 64, "yuv420p"
        for i in range(5):
            with Image.open(drawn_coco / "images" / f"{i:04}.png") as image:
                container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    found = danlu.predict(drawn_run, tmp_path / "clip.mp4", out=tmp_path / "out", score=0.02)
    assert [row["path"].rpartition(" ")[2] for row in found] == ["1", "2", "3", "4", "5"]
    assert len(list(video.video_frames(tmp_path / "out" / "clip.mp4"))) == 5
