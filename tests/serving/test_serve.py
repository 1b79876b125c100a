"""The web service as a real process: answers of `danlu predict`, batches, limits, wrong input, and a clean end."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from danlu.cli import main
from danlu.inference.image_predictor import ImagePredictor
from danlu.inference.loaded_run import LoadedRun
from danlu.message import speaking
from danlu.metrics.detection import run_lengths
from danlu.serving import batching
from danlu.serving.app import make_app
from danlu.serving.batching import Batcher
from danlu.serving.counters import Counters
from danlu.serving.limits import MAX_BODY_BYTES
from tests.browser import Browser


class Service:
    """`danlu serve` in a process of its own."""

    def __init__(self, run: LoadedRun) -> None:
        words = [sys.executable, "-m", "danlu", "serve", str(run.folder), "--port", "0", "--device", "cpu"]
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "300"}
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.url = ""
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.url = found[0]
                break
        assert self.url, self.process.stderr.read()
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def service(coloured_run):
    made = Service(coloured_run)
    yield made
    if made.process.poll() is None:
        made.end()


def png(colour: tuple[int, int, int], side: int = 20) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(content, "PNG")
    return content.getvalue()


def test_answers_are_those_of_danlu_predict(service, coloured_run, coloured):
    files = sorted((coloured / "red").iterdir())[:5] + sorted((coloured / "blue").iterdir())[:5]
    reply = service.client.post("/predict", files=[("images", (str(file), file.read_bytes())) for file in files])
    assert reply.status_code == 200
    ours = [row.to_json() for row in danlu.predict(coloured_run, *files)]
    for one, other in zip(reply.json()["predictions"], ours, strict=True):
        assert (one["path"], one["class"]) == (other["path"], other["class"])
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)
    (alone,) = service.client.post("/predict", content=files[0].read_bytes()).json()["predictions"]
    assert (alone["path"], alone["class"]) == ("image", ours[0]["class"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no image", "cannot be read as an image: not an image"),
        (png((1, 2, 3))[:60], "cannot be read as an image"),
        (b"", "must hold at least one image"),
    ],
)
def test_what_is_no_image_is_400_with_one_sentence(content, said, service):
    for reply in (
        service.client.post("/predict", content=content),
        service.client.post("/predict", files={"a": ("odd.png", content)}),
    ):
        assert reply.status_code == 400
        text = reply.json()["error"]
        assert said in text or "empty file" in text or "not an image" in text
        assert "\n" not in text
        assert "/tmp" not in text


def test_other_requests(service):
    assert service.client.post("/predict", data={"a": "b"}).status_code == 400
    broken = {"content-type": "multipart/form-data"}
    assert service.client.post("/predict", content=b"xyz", headers=broken).status_code == 400
    refused = service.client.get("/predict")
    assert (refused.status_code, refused.json()) == (405, {"error": "/predict takes POST, not GET"})
    refused = service.client.get("/nothing")
    assert refused.status_code == 404
    assert refused.json()["error"].startswith("there is no /nothing; choose from /predict, ")
    assert service.client.get("/health").json() == {"status": "ok"}
    assert service.client.get("/about").json()["classes"] == ["blue", "green", "red"]
    described = service.client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert set(described["requestBody"]["content"]) == {"multipart/form-data", "image/*"}
    assert {"200", "400", "413", "503"} <= set(described["responses"])
    page = service.client.get("/").text
    assert "Drop images here" in page
    assert not re.search(r"(src|href)=.?https?:", page)  # works offline


def test_large_bodies_are_refused_by_header_and_while_they_arrive(service):
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), 60) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")

    def pieces():
        for _ in range((MAX_BODY_BYTES >> 20) + 2):
            yield b"0" * (1 << 20)

    refused = service.client.post("/predict", content=pieces())
    assert (refused.status_code, refused.json()) == (413, {"error": "the request must be at most 64 MiB"})
    assert service.client.get("/health").status_code == 200


def test_the_page_and_the_errors_are_in_the_language_of_the_command(coloured_run):
    async def ask() -> list[httpx.Response]:
        app = make_app(ImagePredictor(coloured_run, "cpu"))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            none, wrong = await client.post("/predict"), await client.post("/predict", content=b"no image")
            return [none, wrong, await client.get("/predict"), await client.get("/")]

    with speaking("zh"):
        *errors, shown = asyncio.run(ask())
    assert [one.status_code for one in errors] == [400, 400, 405]
    assert all(re.search("[一-鿿]", one.json()["error"]) for one in errors)
    assert '<html lang="zh">' in shown.text
    assert "把图像拖到这里" in shown.text
    assert not re.search(r"@\w+@|Drop images|metrics</a>", shown.text)


@pytest.mark.slow
def test_many_requests_with_broken_ones_lose_nothing(service, coloured_run):
    images = [png((r, 60, 90)) for r in range(0, 250, 25)]
    expected = [row.label for row in coloured_run.predict(*[Image.open(io.BytesIO(one)) for one in images])]

    def ask(i: int) -> tuple[int, str]:
        if i % 20 == 7:
            reply = service.client.post("/predict", content=b"broken")
            return reply.status_code, ""
        reply = service.client.post("/predict", content=images[i % 10])
        return reply.status_code, reply.json()["predictions"][0]["class"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(200)))
    for i, (status, label) in enumerate(answers):
        assert (status, label) == ((400, "") if i % 20 == 7 else (200, expected[i % 10]))
    text = service.client.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert int(values['danlu_requests_total{status="400"}']) >= 10
    assert int(values["danlu_images_total"]) > int(values["danlu_batches_total"]) > 0
    assert values["danlu_images_waiting"] == "0"


@pytest.mark.slow
def test_sigterm_finishes_what_was_accepted(coloured_run):
    service = Service(coloured_run)
    large = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), dtype=np.uint8)).save(large, "PNG")

    def ask(_: int) -> int:
        return service.client.post("/predict", content=large.getvalue()).status_code

    with ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(ask, i) for i in range(8)]
        while "danlu_requests" in (text := service.client.get("/metrics").text) and not replies[0].done():
            if 'status="200"' in text:
                break
            time.sleep(0.01)
        time.sleep(0.3)
        code = service.end()
        done = [reply.exception() or reply.result() for reply in replies]
    assert code == 0
    assert done == [200] * 8
    assert "Traceback" not in service.process.stderr.read()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--port high", "--port must be an integer from 0 to 65535, got 'high'"),
        ("--port 70000", "--port must be an integer from 0 to 65535"),
        ("--host 203.0.113.9 --port 0", "--host must be an address of this computer, got 203.0.113.9"),
    ],
)
def test_wrong_flags_are_one_sentence(flags, said, digits_run, capsys):
    assert main(["serve", str(digits_run.folder), *flags.split()]) == 2
    written = capsys.readouterr().err
    assert said in written
    assert written.count("\n") == 1


def test_networks_of_rows_are_refused(houses_run, capsys):
    assert main(["serve", str(houses_run.folder), "--port", "0"]) == 2
    assert "RUN must be a network of images" in capsys.readouterr().err


def test_batches_are_filled_and_errors_reach_their_own_items():
    sizes = []

    def work(items):
        sizes.append(len(items))
        if 99 in items:
            raise ValueError("bad batch")
        return [2 * item for item in items]

    async def ask() -> list:
        batcher = Batcher(work)
        batcher.start()
        found = await asyncio.gather(*(batcher.result_of(i) for i in range(70)))
        wrong = await asyncio.gather(batcher.result_of(99), return_exceptions=True)
        after = await batcher.result_of(5)
        await batcher.stop()
        return [found, wrong, after]

    found, wrong, after = asyncio.run(ask())
    assert found == [2 * i for i in range(70)]
    assert isinstance(wrong[0], ValueError)
    assert after == 10
    assert sizes[:3] == [32, 32, 6]


def test_too_many_waiting_images_are_turned_away(monkeypatch):
    monkeypatch.setattr(batching, "MAX_WAITING", 3)

    async def ask() -> list:
        batcher = Batcher(lambda items: (time.sleep(0.05), items)[1])
        batcher.start()
        answers = await asyncio.gather(*(batcher.result_of(i) for i in range(5)), return_exceptions=True)
        await batcher.stop()
        return answers

    answers = asyncio.run(ask())
    assert [type(one) for one in answers[3:]] == [batching.Overloaded] * 2
    assert answers[:3] == [0, 1, 2]


def test_counters_are_cumulative():
    counters = Counters()
    for seconds in (0.001, 0.02, 3.0):
        counters.count(200, seconds)
    text = counters.text(Batcher(list))
    assert 'danlu_request_seconds_bucket{le="0.005"} 1' in text
    assert 'danlu_request_seconds_bucket{le="0.025"} 2' in text
    assert 'danlu_request_seconds_bucket{le="+Inf"} 3' in text
    assert "danlu_request_seconds_sum 3.021000" in text


def test_a_client_that_goes_while_it_sends_is_counted_as_wrong_input(service) -> None:
    """Not as a fault of the service, which would print a traceback and count nothing."""

    def wrong() -> int:
        found = re.search(r'requests_total{status="400"} (\d+)', service.client.get("/metrics").text)
        return int(found[1]) if found else 0

    before, port = wrong(), int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nbegin")
    until = time.monotonic() + 20
    while wrong() == before:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_page_draws_the_answer_in_a_browser(service, coloured, tmp_path) -> None:
    """An image is chosen on a phone; a file that is none gets its sentence; masks are decoded as danlu wrote them."""
    (tmp_path / "none.png").write_bytes(b"no image")
    mask = np.random.default_rng(0).random((7, 5)) < 0.5
    runs = run_lengths(torch.from_numpy(mask.astype(np.uint8))[None])[0]
    found = json.dumps({"size": [7, 5], "counts": runs["counts"].decode()})
    with Browser(tmp_path, width=420) as browser:
        browser.open(service.url)
        browser.wait("!!document.getElementById('title')?.textContent.includes('small-cnn')")
        browser.choose_files("#file", coloured / "red" / "00.png", tmp_path / "none.png")
        browser.wait("document.querySelectorAll('.answer canvas').length === 1")
        browser.wait("document.querySelectorAll('.answer .error').length === 1")
        assert "red" in browser.run("document.querySelector('.found').textContent")
        assert "none.png cannot be read as an image" in browser.run("document.querySelector('.error').textContent")
        assert browser.beyond() == []
        assert all("400" in one for one in browser.messages)
        cells = "[...answerOf({areas: {road: 0.75, sky: 0.25}})[0].querySelectorAll('td')].map((e) => e.textContent)"
        assert browser.run(cells) == ["road", "0.750", "", "sky", "0.250", ""]
        drawn = browser.run(f"[...maskOf({found}, '#ff0000').getContext('2d').getImageData(0, 0, 5, 7).data]")
    assert (np.array(drawn).reshape(7, 5, 4)[:, :, 3] > 0).tolist() == mask.tolist()
