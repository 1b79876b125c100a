"""COCO results of any system: the metrics equal pycocotools', and errors name file and key."""

import json

import numpy as np
import pytest

import danlu
from danlu import cli
from danlu.inference.coco_results import evaluate_results

NUMBERS = [
    "mAP",
    "mAP50",
    "mAP75",
    "mAP_small",
    "mAP_medium",
    "mAP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Annotations with gaps among their ids, a crowd, an id 0; detections near them. No image lies beside."""
    root, rng = tmp_path_factory.mktemp("results"), np.random.default_rng(0)
    images = [{"id": 10 + 3 * i, "file_name": f"p{i}.jpg", "height": 400, "width": 400} for i in range(20)]
    content = {"images": images, "annotations": [], "categories": [{"id": k, "name": f"c{k}"} for k in (90, 2, 18)]}
    found = []
    for image in images:
        for _ in range(rng.integers(0, 6)):
            x, y = rng.uniform(0, 250, 2).round(2).tolist()
            w, h = (150 * rng.random(2) ** 2 + 8).round(2).tolist()
            label = int(rng.choice([2, 18, 90]))
            one = {"id": len(content["annotations"]) + 1, "image_id": image["id"], "category_id": label}
            crowd = int(rng.random() < 0.1)
            ring = [x, y, x + w, y, x + w, y + h, x, y + h]
            content["annotations"].append(
                one | {"bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd, "segmentation": [ring]}
            )
            for _ in range(3):
                box = np.array([x, y, w, h]) + rng.normal(0, 4, 4)
                said = label if rng.random() < 0.8 else 2
                box = box.clip(1).round(2).tolist()
                found.append({"image_id": image["id"], "category_id": said, "bbox": box, "score": float(rng.random())})
    (root / "truth.json").write_text(json.dumps(content))
    (root / "found.json").write_text(json.dumps(found))
    return root


def peer(files, kind="bbox"):
    """pycocotools' twelve numbers, by our names."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    truth = coco.COCO(str(files / "truth.json"))
    judge = cocoeval.COCOeval(truth, truth.loadRes(str(files / "found.json")), kind)
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return dict(zip(NUMBERS, judge.stats))


def test_the_twelve_numbers_are_those_of_pycocotools(files):
    found = danlu.evaluate(files / "found.json", files / "truth.json")
    assert found["metrics"]["test"] == pytest.approx(peer(files), abs=1e-9)
    assert (found["task"], found["samples"]) == ("detect", 20)
    assert {row["name"] for row in found["per_class"]} == {"c2", "c18", "c90"}


def test_masks_too(files, tmp_path):
    """Rectangles as run lengths against rectangles as polygons."""
    from danlu.metrics.detection import run_lengths

    torch = pytest.importorskip("torch")
    entries = []
    for one in json.loads((files / "found.json").read_text())[:40]:
        mask = torch.zeros(1, 400, 400, dtype=torch.uint8)
        x, y, w, h = map(round, one["bbox"])
        mask[0, y : y + h, x : x + w] = 1
        counts = run_lengths(mask)[0]["counts"].decode()
        entries.append(
            {k: v for k, v in one.items() if k != "bbox"} | {"segmentation": {"size": [400, 400], "counts": counts}}
        )
    (tmp_path / "truth.json").write_bytes((files / "truth.json").read_bytes())
    (tmp_path / "found.json").write_text(json.dumps(entries))
    found = danlu.evaluate(tmp_path / "found.json", tmp_path / "truth.json")
    wanted = {f"mask_{name}": value for name, value in peer(tmp_path, "segm").items() if value >= 0}
    assert found["metrics"]["test"] == pytest.approx(wanted, abs=1e-6)


def test_no_detections_at_all_are_worth_nothing(files, tmp_path):
    (tmp_path / "none.json").write_text("[]")
    assert evaluate_results(tmp_path / "none.json", files / "truth.json")["metrics"]["test"]["mAP"] == 0


def test_no_segmentation_is_no_mask(files, tmp_path):
    """Some systems write null beside boxes; the outlines of the annotations are then ignored."""
    truth = json.loads((files / "truth.json").read_text())
    truth["annotations"][0]["segmentation"] = [["odd"]]
    found = [one | {"segmentation": None} for one in json.loads((files / "found.json").read_text())]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps(found))
    boxes = evaluate_results(tmp_path / "found.json", tmp_path / "truth.json")["metrics"]["test"]
    assert boxes == evaluate_results(files / "found.json", files / "truth.json")["metrics"]["test"]


def test_file_name_takes_precedence_over_the_id(tmp_path):
    """Two images of one name: the folder tells them apart, and where it does not, the id does."""
    box = {"bbox": [10, 10, 20, 20], "category_id": 1}
    images = [{"id": i, "file_name": f"set/{'ab'[i]}/1.jpg", "height": 50, "width": 50} for i in range(2)]
    truth = {"images": images, "categories": [{"id": 1, "name": "road/sign"}, {"id": 2, "name": "sign"}]}
    truth["annotations"] = [box | {"id": 1, "image_id": 0}, box | {"id": 2, "image_id": 1, "bbox": [1, 1, 9, 9]}]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    for named, image, hits in (
        ("C:\\there\\set\\a\\1.jpg", 1, True),
        ("a/1.jpg", 1, True),
        ("b/1.jpg", 0, False),
        ("1.jpg", 0, True),
        ("1.jpg", 1, False),
        (None, 0, True),
    ):
        found = box | {"image_id": image, "score": 0.5, "file_name": named, "category": "road/sign"}
        (tmp_path / "found.json").write_text(json.dumps([found]))
        recall = evaluate_results(tmp_path / "found.json", tmp_path / "truth.json")["metrics"]["test"]["AR100"]
        assert (recall > 0) == hits, (named, image)


def test_the_command_prints_them(files, capfd):
    assert cli.main(["eval", str(files / "found.json"), str(files / "truth.json")]) == 0
    out = capfd.readouterr().out
    assert all(f"{name} " in out for name in NUMBERS)
    assert cli.main(["eval", str(files / "found.json"), str(files / "truth.json"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["metrics"]["test"]["mAP"] > 0.1


GOOD = {"image_id": 10, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"image_id": 10, ', "not valid json"),
        ("", "not valid json"),
        ('{"image_id": 10}', "a list of detections"),
        ('{"images": [], "annotations": []}', "contains annotations, not detections"),
        ("[3]", r"\[0\] must be an object"),
        (json.dumps([GOOD, GOOD | {"image_id": 11}]), r"\[1\]\.image_id must be the id of an image"),
        (json.dumps([GOOD | {"image_id": [1]}]), r"image_id must be"),
        (json.dumps([GOOD | {"category_id": 3}]), r"category_id must be the id of a class"),
        (json.dumps([{k: v for k, v in GOOD.items() if k != "score"}]), r"\[0\]\.score must be a finite number, got None"),
        (json.dumps([GOOD | {"score": float("nan")}]), "score must be a finite number"),
        (json.dumps([GOOD | {"score": 10**400}]), "score must be a finite number"),
        (json.dumps([GOOD | {"bbox": [1, 2, 3]}]), "bbox must be four numbers"),
        (json.dumps([GOOD | {"bbox": [1, 2, 3, "4"]}]), "bbox must be a finite number"),
        (json.dumps([GOOD | {"segmentation": {"size": [400, 400], "counts": "0"}}]), "runs of 160000 pixels"),
        (json.dumps([GOOD | {"segmentation": {"size": [400, 400], "counts": "\u00e9"}}]), r"counts must be run lengths"),
        (json.dumps([GOOD | {"segmentation": {"size": [400, 400], "counts": [1, 2]}}]), "runs of 160000 pixels in all"),
        (json.dumps([GOOD | {"segmentation": {"size": [400, 400], "counts": [-1, 160001]}}]), "runs of 160000 pixels"),
        (json.dumps([GOOD | {"segmentation": {"size": [400, 400], "counts": [1, "2"]}}]), "counts must be run lengths"),
        (json.dumps([GOOD | {"segmentation": {"size": [40, 40], "counts": [1600]}}]), r"height and width, \[400, 400\]"),
        (json.dumps([GOOD | {"segmentation": [[1, 2, 3, 4]]}]), "segmentation must be polygons"),
        (json.dumps([GOOD | {"segmentation": [[1, 2, 3, 4, 5, None]]}]), "segmentation must be a finite number"),
        (json.dumps([GOOD | {"segmentation": []}]), "segmentation must be polygons"),
        (json.dumps([GOOD, GOOD | {"segmentation": [[1, 2, 3, 4, 5, 6]]}]), r"in every detection or in none, got 1 of 2, and none in \[0\]"),
        (json.dumps([GOOD | {"bbox": [1, 2, 3, 10**400]}]), r"\[0\]\.bbox must be a finite number, got"),
        (json.dumps([GOOD] * 9 + [GOOD | {"bbox": [1, True, 3, 4]}]), r"\[9\]\.bbox must be a finite number, got True"),
        (json.dumps([GOOD] * 9 + [GOOD | {"category_id": True}]), r"\[9\]\.category_id must be the id of a class"),
    ],
)  # fmt: skip
def test_wrong_results_are_one_sentence(files, tmp_path, text, said):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(danlu.Refusal, match=said) as refused:
        danlu.evaluate(tmp_path / "bad.json", files / "truth.json")
    assert "bad.json" in str(refused.value)


def test_wrong_places_are_one_sentence(files, tmp_path):
    found, truth = files / "found.json", files / "truth.json"
    (tmp_path / "cut.json").write_text(truth.read_text()[:500])
    (tmp_path / "no_classes.json").write_text('{"images": [], "annotations": [], "categories": []}')
    (tmp_path / "empty.json").write_text('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}')
    several = tmp_path / "several"
    several.mkdir()
    for name in ("a.json", "b.json"):
        (several / name).write_text(truth.read_text())
    for run, data, settings, said in (
        (found, None, {}, "DATA must be the COCO annotations"),
        (files / "fuond.json", truth, {}, r"RESULTS must be an existing file.*did you mean .*found\.json"),
        (found, files / "nothing.json", {}, "DATA must be an existing file"),
        (found, several, {}, "DATA must be a COCO annotation file"),
        (found, tmp_path / "cut.json", {}, "cut.json is not valid json"),
        (found, tmp_path / "no_classes.json", {}, "must define at least one class of objects in categories, got none"),
        (found, tmp_path / "empty.json", {}, "must contain objects, got none"),
        (found, found, {}, "a list, as of results"),
        (found, truth, {"part": "val"}, "^part must be omitted if detections are given"),
        (found, truth, {"tta": True}, "^tta must be omitted"),
    ):
        with pytest.raises(danlu.Refusal, match=said):
            danlu.evaluate(run, data, **settings)


@pytest.fixture(scope="module")
def shaped(files, tmp_path_factory):
    """Detections whose outlines are polygons of one or several rings, and run lengths, compressed and not, in turn."""
    mask = pytest.importorskip("pycocotools.mask")
    root, rng = tmp_path_factory.mktemp("shaped"), np.random.default_rng(1)
    entries, same = [], []
    for i, one in enumerate(json.loads((files / "found.json").read_text())[:60]):
        x, y, w, h = one["bbox"]
        corners = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)]) + rng.normal(0, 1, (4, 2))
        rings = [corners, *(rng.uniform((x, y), (x + w, y + h), (i % 5, 5, 2)))]
        rings = [ring.round(2).ravel().tolist() for ring in rings]
        runs = mask.merge(mask.frPyObjects(rings, 400, 400))
        compressed = {"size": [400, 400], "counts": runs["counts"].decode()}
        plain = {"size": [400, 400], "counts": run_counts(mask.decode(runs))}
        assert mask.frPyObjects(plain, 400, 400) == runs
        kept = {k: v for k, v in one.items() if k != "bbox"}
        entries.append(kept | {"segmentation": (rings, plain, compressed)[i % 3]})
        same.append(kept | {"segmentation": compressed})
    (root / "truth.json").write_bytes((files / "truth.json").read_bytes())
    (root / "mixed.json").write_text(json.dumps(entries))
    (root / "found.json").write_text(json.dumps(same))
    return root


def run_counts(pixels):
    """Lengths of the runs of zeros and ones in turn, column after column."""
    flat = pixels.ravel(order="F")
    ends = np.append(np.flatnonzero(np.diff(flat)) + 1, flat.size)
    return [0] * int(flat[0]) + np.diff(ends, prepend=0).tolist()


def test_outlines_in_any_of_cocos_forms_are_judged_alike(shaped):
    """By the form that pycocotools reads in results; it turns the others into it."""
    wanted = {f"mask_{name}": value for name, value in peer(shaped, "segm").items() if value >= 0}
    assert wanted["mask_mAP50"] > 0.05
    for name in ("found.json", "mixed.json"):
        found = danlu.evaluate(shaped / name, shaped / "truth.json")["metrics"]["test"]
        assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", ["found.json", "mixed.json", "truth.json"])
def test_no_mutation_gives_a_traceback(files, shaped, tmp_path, mutate, name):
    """Mutations of detections with boxes, of those with outlines of all forms, and of the annotations."""
    folder = files if name == "found.json" else shaped
    content = (folder / name).read_text()
    if name != "truth.json":
        content = json.dumps(json.loads(content)[:9])
    results, truth = shaped / "mixed.json", folder / "truth.json"
    changed, rng = tmp_path / "changed.json", np.random.default_rng(0)
    read_well, sentences = 0, []
    for _ in range(200):
        changed.write_bytes(mutate(content.encode(), rng))
        pair = (results, changed) if name == "truth.json" else (changed, truth)
        try:
            numbers = evaluate_results(*pair)["metrics"]["test"]
        except danlu.Refusal as refused:
            sentences.append(str(refused))
            continue
        read_well += 1
        assert all(0 <= value <= 1 for value in numbers.values())
    assert 0 < read_well < 190
    assert not [one for one in sentences if "\n" in one or len(one) > 400 or "changed.json" not in one]
