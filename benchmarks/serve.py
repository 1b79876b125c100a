"""Load test of `danlu serve` on loopback: python benchmarks/serve.py RUN FOLDER [--requests 10000] [--clients 32].

Prints requests per second beside a loop of `danlu predict` over the same images, the 50th and 99th percentile of the
time per request, wrong answers, and the memory of the service before and after. One request in 20 is no image.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np

import danlu

BROKEN_EVERY = 20  # requests


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("folder")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=32)
    given = parser.parse_args()
    files = sorted(path for path in Path(given.folder).rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    files = files[:200]
    run = danlu.load(given.run)
    expected = {row.path: row.to_json() for row in run.predict(*files, device="cpu")}
    began = time.perf_counter()
    for file in files:
        run.predict(file, device="cpu")
    print(f"loop of predict: {len(files) / (time.perf_counter() - began):.0f} images/s")
    words = [sys.executable, "-u", "-m", "danlu", "serve", given.run, "--port", "0", "--device", "cpu"]
    service = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    asyncio.run(load(address(service), service.pid, files, expected, given.requests, given.clients))
    service.send_signal(signal.SIGTERM)
    print(f"exit code after SIGTERM: {service.wait(60)}")


def address(service: subprocess.Popen[str]) -> str:
    """Address that the service prints when it is ready."""
    assert service.stdout is not None
    for line in service.stdout:
        if found := re.search(r"http://\S+:\d+", line):
            return found[0]
    raise SystemExit("the service did not start")


def memory(pid: int) -> float:
    """Resident memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else float("nan")


def _names(row: dict) -> object:
    """The class, the labels or the classes of the objects of an answer; None for no answer."""
    if "labels" in row:
        return {name for name, _ in row["labels"]}
    return row.get("class", [one["class"] for one in row["objects"]] if "objects" in row else None)


async def load(url: str, pid: int, files: list[Path], expected: dict, requests: int, clients: int) -> None:
    contents = [file.read_bytes() for file in files]
    seconds, wrong, lost = [], 0, 0
    numbers = iter(range(requests))

    async def client(http: httpx.AsyncClient) -> None:
        nonlocal wrong, lost
        for i in numbers:
            broken, k = i % BROKEN_EVERY == BROKEN_EVERY - 1, i % len(files)
            began = time.perf_counter()
            try:
                reply = await http.post("/predict", content=b"no image" if broken else contents[k])
            except httpx.TransportError:
                lost += 1
                continue
            seconds.append(time.perf_counter() - began)
            if broken:
                wrong += reply.status_code != 400
            else:
                row = reply.json()["predictions"][0] if reply.status_code == 200 else {}
                wrong += not row or _names(row) != _names(expected[str(files[k])])

    async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=clients)) as http:
        await asyncio.gather(*(http.post("/predict", content=contents[0]) for _ in range(clients)))
        before, began = memory(pid), time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(clients)))
        took = time.perf_counter() - began
        p50, p99 = np.percentile(seconds, (50, 99)) * 1000
        print(f"service: {requests / took:.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, {clients} clients")
        print(f"{wrong} wrong answers, {lost} lost; memory {before:.0f} MB before, {memory(pid):.0f} MB after")
        metrics = (await http.get("/metrics")).text
    images, batches = (int(re.search(rf"danlu_{n}_total (\d+)", metrics)[1]) for n in ("images", "batches"))
    print(f"{images} images in {batches} batches ({images / batches:.1f} each)")


if __name__ == "__main__":
    main()
