"""Cost of `danlu train --live` in the training process: python benchmarks/live.py [--epochs 30] [--batches 60].

One training of LeNet on MNIST (random images of its shape where $DANLU_DATA has none), with a page that follows it and
a reader of its events, as a browser is one. In every second epoch both are stopped, so that the two kinds of epochs see
the same drift of the machine. Prints the ratio of the medians of time and of processor time per epoch, with and without
the page.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from material import write_arrays
from rich.console import Console

import danlu

BATCH = 128
WARM = 4  # epochs before the first measured one: the doctor works most at the start
STREAM = "import sys, urllib.request\nfor line in urllib.request.urlopen(sys.argv[1]): pass"


class Turns(danlu.Callback):
    """Starts the page at the first epoch; lets it run in every second epoch, and measures both kinds.

    folder: of the run. seconds: [without, with] the page -> (seconds, processor seconds of this process) by epoch.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
        self.followers: list[subprocess.Popen[str]] = []
        self.follows = True

    def on_epoch_end(self, state: danlu.TrainingState) -> None:
        if not self.followers:
            self.followers = follow(self.folder)
        elif state.epoch > WARM + 1:
            self.seconds[self.follows].append((time.perf_counter() - self.began, time.process_time() - self.worked))
        self.follows = not self.follows
        for one in self.followers:
            one.send_signal(signal.SIGCONT if self.follows else signal.SIGSTOP)
        self.began, self.worked = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """End the processes of the page."""
        for one in self.followers:
            one.send_signal(signal.SIGCONT)
            one.terminate()
            one.wait(60)


def follow(folder: Path) -> list[subprocess.Popen[str]]:
    """Processes of the page and of a reader of its events, as a browser is one."""
    words = [sys.executable, "-u", "-m", "danlu", "live", str(folder), "--port", "0"]
    page = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert page.stdout is not None
    url = next(word for line in page.stdout for word in line.split() if word.startswith("http://"))
    return [page, subprocess.Popen([sys.executable, "-c", STREAM, f"{url.rstrip('/')}/events"], text=True)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=30, help="measured epochs, half of them with the page")
    parser.add_argument("--batches", type=int, default=60, help="of an epoch")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data, turns = Path(place) / "mnist.npz", Turns(Path(place) / "run")
        samples = given.batches * BATCH
        print(write_arrays("mnist", 28, 1, samples * 10 // 9, data))
        try:
            danlu.train(
                data,
                model="lenet",
                batch_size=BATCH,
                epochs=given.epochs + WARM + 1,
                out=turns.folder,
                device="cpu",
                callbacks=turns,
                console=Console(quiet=True),
                **{"data.limit": samples * 10 // 9, "data.val": samples // 9, "data.test": 0},
            )
        finally:
            turns.end()
    without, beside = turns.seconds
    for kind, name in enumerate(("time", "processor time of the training")):
        a, b = (median(one[kind] for one in half) for half in (without, beside))
        spread = sorted(one[kind] / a for one in beside)
        print(f"{name} per epoch: {a:.3f} s without the page, {b:.3f} s with it, ratio of medians {b / a:.3f}")
        print(f"  with / median without: {spread[0]:.3f} to {spread[-1]:.3f}; {os.getloadavg()[0]:.1f} load")


if __name__ == "__main__":
    main()
