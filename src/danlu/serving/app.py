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
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from danlu import __version__
from danlu.data.files.image_file import UNREADABLE, reason_of
from danlu.data.images import image_size
from danlu.inference.image_predictor import ImagePredictor
from danlu.inference.segment import class_masks
from danlu.message import translated
from danlu.serving.batching import Batcher, Overloaded
from danlu.serving.counters import Counters
from danlu.serving.interface import DESCRIPTION, wrong_address
from danlu.serving.limits import MAX_IMAGE_BYTES, MAX_IMAGES, MAX_PIXELS, BodyLimit
from danlu.serving.upload_page import page

READERS = 4  # threads that decode images


class BadRequest(Exception):
    """Wrong input of a client, as one sentence."""


class Service:
    """Answers requests with the predictions of one run, in batches."""

    def __init__(self, predictor: ImagePredictor) -> None:
        self.predictor, self.counters = predictor, Counters()
        self.batcher = Batcher(self._predict_batch)
        self._reading = asyncio.Semaphore(READERS)

    def _predict_batch(self, items: Any) -> Any:
        names, images = zip(*items)
        return self.predictor.predict(images, names)

    def about(self) -> dict[str, Any]:
        """Run, version, task, network and classes."""
        signature = self.predictor.signature
        facts = {"task": signature.task, "model": signature.model, "classes": list(signature.classes)}
        return {"run": self.predictor.run.name, "danlu_version": __version__} | facts

    async def answer(self, request: Request) -> JSONResponse:
        """Predict the images of a request and count it."""
        began = time.perf_counter()
        try:
            images = await _images(request)
            rows = await asyncio.gather(*(self._row(name, content) for name, content in images))
            status, content = 200, {"predictions": rows}
        except BadRequest as wrong:
            status, content = 400, {"error": str(wrong)}
        except ClientDisconnect:  # while it sent its images: the answer is for the counters
            status, content = 400, {"error": translated("serving.refuse.gone", "the client has gone")}
        except Overloaded:
            text = "too many images are waiting; try again later"
            status, content = 503, {"error": translated("serving.refuse.waiting", text)}
        self.counters.count(status, time.perf_counter() - began)
        return JSONResponse(content, status)

    async def _row(self, name: str, content: bytes) -> dict[str, Any]:
        """The prediction for one image, as JSON."""
        async with self._reading:
            image = await asyncio.to_thread(_read, self.predictor, name, content)
        found = await self.batcher.result_of((name, image))
        row = found.to_json()
        if found.label_map is not None:
            row["masks"] = await asyncio.to_thread(class_masks, found.label_map, self.predictor.signature.classes)
        return row

    @contextlib.asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Start the batches, and finish those that wait at the end."""
        self.batcher.start()
        yield
        await self.batcher.stop()


def make_app(predictor: ImagePredictor) -> FastAPI:
    """Application for one run."""
    service = Service(predictor)
    title = f"danlu: {predictor.run.name}"
    app = FastAPI(title=title, version=__version__, docs_url=None, redoc_url=None, lifespan=service.running)
    app.add_middleware(BodyLimit)
    app.add_exception_handler(HTTPException, wrong_address)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def show_page() -> str:
        return page()

    @app.get("/about")
    def about() -> dict[str, Any]:
        """Task, network and classes."""
        return service.about()

    @app.get("/health")
    def health() -> dict[str, str]:
        """Return whether the service answers."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """Counters in the text format of Prometheus."""
        return service.counters.text(service.batcher)

    @app.post("/predict", openapi_extra=DESCRIPTION)
    async def predict(request: Request) -> JSONResponse:
        """Predict images: files of a form (any field names), or one image as the body."""
        return await service.answer(request)

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
                detail = " ".join(str(detail).split())[:200]
                text = "the form cannot be read: {detail}"
                raise BadRequest(translated("serving.refuse.form", text, detail=detail)) from None
            raise
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        images = [(file.filename or "image", await file.read()) for file in files]
    else:
        body = await request.body()
        images = [("image", body)] if body else []
    if not images:
        text = "the request must hold at least one image, as a file of a form or as its body"
        raise BadRequest(translated("serving.refuse.no_image", text))
    for name, content in images:
        if len(content) > MAX_IMAGE_BYTES:
            text = "{name} must be at most {limit} MiB"
            raise BadRequest(
                translated("serving.refuse.large_file", text, name=_short(name), limit=MAX_IMAGE_BYTES >> 20)
            )
    return images


def _read(predictor: ImagePredictor, name: str, content: bytes) -> Any:
    """Decode an image through a temporary file with its extension, as `danlu predict` reads it."""
    suffix = Path(name).suffix[:8]
    suffix = suffix if suffix[1:].isalnum() and suffix.isascii() else ""
    with tempfile.TemporaryDirectory() as folder:  # Windows does not open a NamedTemporaryFile twice
        file = Path(folder, f"image{suffix}")
        file.write_bytes(content)
        try:
            height, width = image_size(file)
            if height * width > MAX_PIXELS:
                text, million = "{name} must have at most {limit} million pixels", MAX_PIXELS // 1_000_000
                raise BadRequest(translated("serving.refuse.pixels", text, name=_short(name), limit=million))
            return predictor.read(file)
        except UNREADABLE as error:
            reason = str(reason_of(error, file)).replace(str(file), _short(name))
            text = "{thing} cannot be read as an image: {reason}"
            raise BadRequest(
                translated("inference.refuse.cannot_read_image", text, thing=_short(name), reason=reason)
            ) from None


def _short(name: str) -> str:
    name = "".join(character if character.isprintable() else "?" for character in name)
    return name if len(name) <= 100 else f"{name[:100]}..."
