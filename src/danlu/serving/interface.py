"""Description of `POST /predict` for /openapi.json, and answers to requests that no address takes."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from danlu.message import translated
from danlu.serving.limits import MAX_BODY_BYTES, MAX_IMAGES

ADDRESSES = ("/predict", "/about", "/health", "/metrics", "/openapi.json", "/")
IMAGE = {"type": "string", "format": "binary"}
FORM = {"type": "object", "properties": {"file": {"type": "array", "items": IMAGE, "maxItems": MAX_IMAGES}}}
ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
PREDICTIONS = {
    "type": "object",
    "properties": {"predictions": {"type": "array", "items": {"type": "object"}}},
    "required": ["predictions"],
}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


DESCRIPTION = {
    "requestBody": {
        "required": True,
        "description": "One image as the body, or several as files of a form with any field names.",
        "content": {"multipart/form-data": {"schema": FORM}, "image/*": {"schema": IMAGE}},
    },
    "responses": {
        "200": _answer("One prediction per image, as `danlu predict --json` gives it", PREDICTIONS),
        "400": _answer("A file that is no image", ERROR),
        "413": _answer(f"More than {MAX_BODY_BYTES >> 20} MiB", ERROR),
        "503": _answer("Too many images are waiting", ERROR),
    },
}


async def wrong_address(request: Request, error: Any) -> JSONResponse:
    """Answer to an unknown address, or to a method that an address does not take: one sentence."""
    path = request.url.path
    if error.status_code == 405:
        takes = (error.headers or {}).get("Allow", "GET")
        text = "{path} takes {takes}, not {method}"
        sentence = translated("serving.refuse.method", text, path=path, takes=takes, method=request.method)
    elif error.status_code == 404:
        text = "there is no {path}; choose from {addresses}"
        sentence = translated("serving.refuse.address", text, path=path, addresses=ADDRESSES)
    else:
        sentence = str(error.detail)
    return JSONResponse({"error": sentence}, error.status_code, headers=error.headers)
