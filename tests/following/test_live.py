"""The live page: rows of a file that grows, state of a run, a real server, and the page in a real browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import danlu
from danlu.cli import main
from danlu.config import dump_yaml
from danlu.following.epoch_predictions import SampleImages
from danlu.following.measurements import measurements_of
from danlu.following.server import LiveServer
from danlu.following.state import state_of
from danlu.following.tail import Tail
from danlu.listening import listen
from danlu.run.folder import Run
from tests.browser import Browser

ROW = {"kind": "epoch", "epoch": 1, "step": 10}


def line(**values: object) -> str:
    return json.dumps(ROW | values) + "\n"


def copied(run: Run, folder: Path, rows: int | None = None) -> Run:
    """A copy of a finished run; with `rows`, as if its process had been killed after this number of rows."""
    shutil.copytree(run.folder, folder)
    copy = Run(folder)
    if rows is not None:
        for name in ("summary.json", "report.html"):
            (folder / name).unlink()
        record = folder / "metrics.jsonl"
        copy.write_text(record.name, "".join(record.read_text().splitlines(keepends=True)[:rows]))
    return copy


class Served:
    """A server of a run or a folder of runs in a thread."""

    def __init__(self, target: Path, language: str | None = None) -> None:
        self.server = LiveServer(listen("127.0.0.1", 0), target, language)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def get(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, headers=headers)
        return connection.getresponse()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.end()


class Parts:
    """Parts of a page as a browser collects them from the stream of events."""

    def __init__(self, stream: http.client.HTTPResponse) -> None:
        self.stream = stream
        self.now: dict = {}

    def until(self, condition) -> dict:
        end = time.monotonic() + 30
        while not condition(self.now):
            assert time.monotonic() < end, self.now
            if (got := self.stream.readline()).startswith(b"data: "):
                self.now |= json.loads(got[6:])
        return self.now


def test_rows_are_read_as_they_are_appended(tmp_path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert not tail.poll()
    path.write_text(line() + line(epoch=2)[:9])  # the second row is being written
    assert tail.poll()
    assert [row["epoch"] for row in tail.rows] == [1]
    with path.open("a") as file:
        file.write(line(epoch=2)[9:] + line(kind="step", epoch=3))
    assert tail.poll()
    assert [row["epoch"] for row in tail.epochs] == [1, 2]
    assert not tail.poll()
    other = tmp_path / "other"
    other.write_text(line(epoch=7))
    other.replace(path)  # as a resumed run cuts its record
    assert tail.poll()
    assert [row["epoch"] for row in tail.rows] == [7]


def test_state_of_a_run(digits_run, tmp_path) -> None:
    """4 of 12 epochs took 20 s; 2 s after the last one, 8 x 5 - 2 = 38 s are left."""
    run = copied(digits_run, tmp_path / "run", rows=0)
    assert state_of(run, []).word == "stopped"
    rows = [ROW | {"epoch": n, "step": 10 * n, "seconds": 5.0 * n, "val.accuracy": n / 10} for n in (1, 2, 3, 4)]
    rows.append({"kind": "step", "epoch": 4, "step": 45})
    saved = run.weights("last").stat().st_mtime
    with run.locked():
        assert run.in_use
        assert state_of(run, []).word == "reading"
        state = state_of(run, rows, now=saved + 2)
    assert (state.word, state.done, state.epochs) == ("running", 4.5, 12)
    assert state.left == pytest.approx(38)
    assert (state.metric, state.best) == ("accuracy", 0.4)
    assert not run.in_use
    assert (state_of(run, rows).word, state_of(run, rows).left) == ("stopped", None)
    assert state_of(digits_run, rows).word == "finished"
    assert (state.seconds, state_of(digits_run, rows).seconds) == (20.0, digits_run.summary.seconds)


def test_looking_whether_a_run_is_in_use_changes_nothing(digits_run) -> None:
    before = {path: path.stat().st_mtime_ns for path in digits_run.folder.rglob("*")}
    assert not digits_run.in_use
    assert {path: path.stat().st_mtime_ns for path in digits_run.folder.rglob("*")} == before


def test_points_arrive_and_a_killed_run_is_shown_as_such(digits_run, tmp_path) -> None:
    run = copied(digits_run, tmp_path / "run", rows=8)
    record = run.folder / "metrics.jsonl"
    rest = (digits_run.folder / "metrics.jsonl").read_text().splitlines(keepends=True)[8:]
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    with Served(run.folder) as served:
        run.lock()
        page = Parts(served.get("/events"))
        parts = page.until(lambda now: now.get("word") == "running" and "chart:loss" in now)
        points = len(parts["chart:loss"]["figure"]["data"][-1]["x"])
        with record.open("a") as file:
            file.write("".join(rest) + '{"kind": "ep')
        page.until(lambda now: len(now["chart:loss"]["figure"]["data"][-1]["x"]) > points)
        run.unlock()  # as the kernel does when the process dies
        parts = page.until(lambda now: now["word"] == "stopped")
        assert "danlu train --resume" in parts["head"]
        parts = page.until(lambda now: now.get("images") and "chart:updates" in now)
        epochs = parts["images"]["epochs"]
        shown = served.get(f"/images?epoch={epochs[-1]}").read().decode()
        assert shown.count("<img") == 12
        assert served.get("/images?epoch=77").read() == b""
    after = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path != record}
    assert after == {path: content for path, content in before.items() if path != record}


def test_predictions_are_those_of_the_network(coloured, coloured_run, digits_run) -> None:
    samples = SampleImages(coloured_run)
    assert samples.predict(4)
    rows = samples._by_epoch[4]
    assert len(rows) == min(12, coloured_run.summary.data["counts"]["val"])
    files = [coloured / row["name"] for row in rows]
    found = coloured_run.predict(*files, weights="last", device="cpu")
    assert [row["predicted"] for row in rows] == [[one.label] for one in found]
    assert [row["true"] for row in rows] == [[Path(file).parent.name] for file in files]
    assert samples.html(4).count("<img") == len(rows)
    assert measurements_of(digits_run).epoch is None  # no checkpoint is left


@pytest.mark.slow
def test_true_and_found_objects_are_drawn_side_by_side(drawn_run) -> None:
    samples = SampleImages(drawn_run)
    assert samples.predict(60)
    assert samples.html(60).count("<svg") == 2 * len(samples._by_epoch[60])


def test_only_this_computer_reads_and_nothing_is_written(digits_run) -> None:
    with Served(digits_run.folder) as served:
        assert served.get("/", Host="evil.example").status == 403
        assert served.get("/../config.yaml").status == 404
        assert served.get("/?run=..").status == 404
        assert served.get("/", method="POST").status == 501
        page = served.get("/")
        assert "script-src 'self';" in page.headers["Content-Security-Policy"]
        assert "<script>" not in page.read().decode()


def test_all_runs_of_a_folder_and_one_that_appears(digits_run, tmp_path) -> None:
    copied(digits_run, tmp_path / "one")
    copied(digits_run, tmp_path / "<b>two", rows=5)
    with Served(tmp_path) as served:
        page = Parts(served.get("/events"))
        parts = page.until(lambda now: "runs" in now and "chart:val.accuracy" in now)
        assert len(parts["chart:val.accuracy"]["figure"]["data"]) == 2
        assert "&lt;b&gt;two" in parts["runs"]
        assert "<b>two" not in parts["runs"]
        copied(digits_run, tmp_path / "three")
        page.until(lambda now: len(now["chart:val.accuracy"]["figure"]["data"]) == 3)
        one = Parts(served.get("/events?run=one")).until(lambda now: "word" in now)
        assert one["word"] == "finished"


@pytest.mark.parametrize(("language", "expected"), [("zh", "zh"), (None, "en")])
def test_a_page_has_one_language(digits_run, tmp_path, language, expected) -> None:
    """That of the command for every run of a folder; without one, that in which the run was trained."""
    copied(digits_run, tmp_path / "one")
    with Served(tmp_path, language) as served:
        parts = Parts(served.get("/events?run=one")).until(lambda now: "word" in now and "chart:loss" in now)
        shown = served.get("/?run=one").read().decode()
        missing = served.get("/?run=two").read().decode()
    texts = [parts["title"], parts["head"], shown, missing]
    assert [bool(re.search("[一-鿿]", text)) for text in texts] == [expected == "zh"] * 4
    assert f'lang="{expected}"' in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["live", "runs/missing"], "RUN must be a run folder, or a folder of runs, got 'runs/missing'"),
        (["live", "{tmp}", "--port", "web"], "--port must be an integer from 0 to 65535"),
        (
            ["live", "{tmp}", "--port", "{taken}"],
            "--port must be a free port, got {taken} on 127.0.0.1: address already in use; 0 takes a free one",
        ),
        (["live", "{tmp}", "--host", "192.0.2.1"], "--host must be an address of this computer, got 192.0.2.1"),
        (["live", "{tmp}", "--lang", "fr"], "--lang must be one of en, zh"),
        (["train", "digits", "--live", "{taken}", "--out", "{tmp}/run"], "--live must be a free port"),
        (["train", "digits", "--live", "70000", "--out", "{tmp}/run"], "--live must be"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(words, said, tmp_path, capsys) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert main([word.format(tmp=tmp_path, taken=port) for word in words]) == 2
    error = capsys.readouterr().err
    assert said.format(taken=port) in error.replace("\n", " ")
    assert not (tmp_path / "run").exists()


def test_the_setting_is_not_kept_with_the_run(digits_run, tmp_path) -> None:
    assert danlu.load(digits_run).config.live is None
    config = replace(digits_run.config, live=True)
    assert "live: true" in dump_yaml(config)


def test_the_page_in_a_browser(digits_run, coloured_run, tmp_path) -> None:
    copied(digits_run, tmp_path / "runs" / "a", rows=8)
    copied(coloured_run, tmp_path / "runs" / "b")
    with Served(tmp_path / "runs") as served, Browser(tmp_path, width=420) as browser:
        browser.open(served.url)
        browser.wait("document.querySelectorAll('.main-svg').length > 3")
        assert browser.run("document.querySelectorAll('tbody tr').length") == 2
        assert browser.beyond() == []
        browser.open(f"{served.url}?run=b")
        browser.wait("document.querySelectorAll('#shown img').length")
        browser.wait("document.querySelectorAll('#layer-charts .main-svg').length")
        assert browser.run("document.body?.dataset.state") == "finished"
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert browser.beyond() == []
        assert browser.messages == []


@pytest.mark.slow
def test_a_real_training_is_followed_killed_and_resumed(tmp_path) -> None:
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "danlu", "train", "digits", "--model", "lenet", "--epochs", "400", "--live", "0"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "300"}
    training = subprocess.Popen([*words, "--out", str(folder)], stdout=subprocess.PIPE, text=True, env=environment)
    url = next(found[0] for got in training.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", got)))
    threading.Thread(target=training.stdout.read, daemon=True).start()
    with Browser(tmp_path) as browser:
        browser.open(url)
        browser.wait("document.body?.dataset.state === 'running' && !!document.querySelector('#shown img')", 120)
        first = int(browser.run("document.querySelector('#shown').dataset.epoch"))
        browser.wait(f"Number(document.querySelector('#shown').dataset.epoch) > {first}", 120)
        training.send_signal(signal.SIGKILL)
        training.wait()
        browser.wait("document.body?.dataset.state === 'stopped'", 60)
        assert "Killed" in browser.run("document.querySelector('#head').innerText")
        assert browser.messages == []
    port = int(url.rpartition(":")[2])
    until = time.monotonic() + 60
    while time.monotonic() < until:  # the server ends by itself
        with socket.socket() as other:
            if other.connect_ex(("127.0.0.1", port)):
                break
        time.sleep(0.5)
    else:
        raise AssertionError("the server of a killed training goes on")
    done = int(json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["epoch"])
    resume = [sys.executable, "-m", "danlu", "train", "--resume", str(folder), "--live", str(port)]
    resumed = subprocess.Popen(resume, stdout=subprocess.PIPE, text=True, env=environment)
    assert any(f"http://127.0.0.1:{port}" in got for got in resumed.stdout)
    with Served(folder) as served:
        Parts(served.get("/events")).until(lambda now: now.get("word") == "running")
    resumed.send_signal(signal.SIGTERM)
    assert resumed.wait(120) == 143
    assert "live: null" in (folder / "config.yaml").read_text()
    assert done >= 1
