"""The web application: images in, the JSON of `danlu predict` out."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from danlu import __version__
from danlu.data.image_file import UNREADABLE, reason_of
from danlu.data.images import image_size
from danlu.inference.image_predictor import ImagePredictor
from danlu.report.document import asset
from danlu.serving.batching import Batcher, Overloaded
from danlu.serving.counters import Counters
from danlu.serving.limits import MAX_IMAGE_BYTES, MAX_IMAGES, MAX_PIXELS, BodyLimit

PAGE = Path(__file__).with_name("page.html")
READERS = 4  # threads that decode images


class BadRequest(Exception):
    """Wrong input of a client, as one sentence."""


def make_app(predictor: ImagePredictor) -> FastAPI:
    """Application for one run."""

    def work(items: Any) -> Any:
        names, images = zip(*items)
        return predictor.predict(images, names)

    batcher, counters = Batcher(work), Counters()
    reading = asyncio.Semaphore(READERS)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()

    signature = predictor.signature
    app = FastAPI(
        title=f"danlu: {predictor.run.name}", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.add_middleware(BodyLimit)

    async def answer(name: str, content: bytes) -> dict[str, Any]:
        async with reading:
            image = await asyncio.to_thread(_read, predictor, name, content)
        return (await batcher.result_of((name, image))).to_json()

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> str:
        return PAGE.read_text(encoding="utf-8").replace("/* page.css */", asset("page.css"))

    @app.get("/about")
    def about() -> dict[str, Any]:
        """Task, network and classes."""
        facts = {"task": signature.task, "model": signature.model, "classes": list(signature.classes)}
        return {"run": predictor.run.name, "danlu_version": __version__} | facts

    @app.get("/health")
    def health() -> dict[str, str]:
        """Return whether the service answers."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """Counters in the text format of Prometheus."""
        return counters.text(batcher)

    @app.post("/predict")
    async def predict(request: Request) -> JSONResponse:
        """Predict images: files of a form (any field names), or one image as the body."""
        began = time.perf_counter()
        try:
            images = await _images(request)
            rows = await asyncio.gather(*(answer(name, content) for name, content in images))
            status, content = 200, {"predictions": rows}
        except BadRequest as wrong:
            status, content = 400, {"error": str(wrong)}
        except ClientDisconnect:  # while it sent its images: the answer is for the counters
            status, content = 400, {"error": "the client has gone"}
        except Overloaded:
            status, content = 503, {"error": "too many images are waiting; try again later"}
        counters.count(status, time.perf_counter() - began)
        return JSONResponse(content, status)

    return app


async def _images(request: Request) -> list[tuple[str, bytes]]:
    """Name and content of each image of a request. Raises BadRequest if there is none, or one is too large."""
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        try:
            form = await request.form(max_files=MAX_IMAGES, max_fields=MAX_IMAGES)
        except Exception as error:  # of starlette and of the parser
            if type(error).__name__ in ("HTTPException", "MultiPartException", "MultipartParseError"):
                detail = getattr(error, "detail", None) or error
                raise BadRequest(f"the form cannot be read: {' '.join(str(detail).split())[:200]}") from None
            raise
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        images = [(file.filename or "image", await file.read()) for file in files]
    else:
        body = await request.body()
        images = [("image", body)] if body else []
    if not images:
        raise BadRequest("the request must hold at least one image, as a file of a form or as its body")
    for name, content in images:
        if len(content) > MAX_IMAGE_BYTES:
            raise BadRequest(f"{_short(name)} must be at most {MAX_IMAGE_BYTES >> 20} MiB")
    return images


def _read(predictor: ImagePredictor, name: str, content: bytes) -> Any:
    """Decode an image through a temporary file with its extension, as `danlu predict` reads it."""
    suffix = Path(name).suffix[:8]
    suffix = suffix if suffix[1:].isalnum() and suffix.isascii() else ""
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(content)
        file.flush()
        try:
            height, width = image_size(file.name)
            if height * width > MAX_PIXELS:
                raise BadRequest(f"{_short(name)} must have at most {MAX_PIXELS // 1_000_000} million pixels")
            return predictor.read(Path(file.name))
        except UNREADABLE as error:
            reason = reason_of(error, file.name).replace(file.name, _short(name))
            raise BadRequest(f"{_short(name)} cannot be read as an image: {reason}") from None


def _short(name: str) -> str:
    name = "".join(character if character.isprintable() else "?" for character in name)
    return name if len(name) <= 100 else f"{name[:100]}..."
