"""Pictures that were ordered in the shape of OpenAI's image API: their jobs, their files, their events."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dimrt.errors import Cancelled
from dimrt.events import Event, PhaseStarted, Preview
from dimrt.photo.read import Photo
from dimrt.result import EditResult
from dimrt.serve.errors import HttpError, as_http
from dimrt.serve.feed import Feed
from dimrt.serve.pictures import Size, encode, encode_preview, size_within
from dimrt.serve.service import Edit, Service

USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "total_tokens": 0,
}
"""Clients expect it; nothing is billed here, so nothing is counted."""


@dataclass(frozen=True)
class Order:
    """What one request asks for.

    Attributes:
        event: beginning of the names of its streamed events.
        photo: what is edited, or None.
        edits: the work of each picture.
        format, quality, fit: of the files.
        partials: unfinished pictures of each, at most.
    """

    event: str
    photo: Photo | None
    edits: list[Edit]
    format: str
    quality: int
    fit: Size | None
    partials: int


def submit(service: Service, order: Order) -> list[Feed[Event]]:
    """A job for each picture; all or none."""
    feeds: list[Feed[Event]] = []
    try:
        for work in order.edits:
            feeds.append(Feed(service.jobs.submit(work), _seen))
    except BaseException:
        for feed in feeds:
            feed.cancel()
        raise
    return feeds


def _seen(event: Event) -> Event | None:
    """What a stream needs to know of a job."""
    return event if isinstance(event, Preview | PhaseStarted) else None


async def pictures(service: Service, order: Order) -> list[dict[str, Any]]:
    """Every picture of an order as JSON; one is encoded while the next one is painted.

    When this is cancelled the jobs are.

    Raises:
        HttpError: what stopped the first that failed.
    """
    feeds = submit(service, order)
    encodings = [asyncio.ensure_future(_picture(service, order, feed)) for feed in feeds]
    try:
        return list(await asyncio.gather(*encodings))
    finally:
        for feed, encoding in zip(feeds, encodings, strict=True):
            feed.cancel()
            encoding.cancel()


async def _picture(service: Service, order: Order, feed: Feed[Event]) -> dict[str, Any]:
    """A finished picture as JSON.

    Raises:
        DimrtError: what the job raised.
    """
    async for _ in feed.follow():
        pass
    if isinstance(feed.error, Cancelled):  # nobody but the server's end cancels what somebody waits for
        raise HttpError(503, "the server stopped before the picture was done", code="stopped")
    if feed.error is not None:
        raise as_http(feed.error)
    result = feed.take()
    width, height = size_within(result.image, order.fit)
    file = await service.encoding(lambda: encode(result, order.photo, order.format, order.quality, order.fit))
    return {
        "b64_json": base64.b64encode(file).decode("ascii"),
        "revised_prompt": None if result.blueprint is None else result.blueprint.text,
        "background": "transparent" if result.image.shape[2] == 4 and order.format != "jpeg" else "opaque",
        "size": f"{width}x{height}",
        "dimrt": _facts(result),
    }


def _facts(result: EditResult) -> dict[str, Any]:
    """How the picture came to be."""
    return {
        "plan": None if result.blueprint is None else result.blueprint.text,
        "seed": result.seed,
        "steps": result.steps,
        "guidance_scale": result.guidance_scale,
        "composite": result.composite,
        "bundle": result.bundle,
        "provider": result.provider,
    }


class PictureStream(StreamingResponse):
    """A stream of events whose jobs are cancelled when it ends, however it ends."""

    def __init__(self, service: Service, order: Order) -> None:
        """Submit the jobs of an order."""
        feeds = submit(service, order)
        super().__init__(
            _stream(service, order, feeds), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )
        self._feeds = feeds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            for feed in self._feeds:
                feed.cancel()


async def _stream(service: Service, order: Order, feeds: list[Feed[Event]]) -> AsyncIterator[str]:
    for feed in feeds:
        sent, steps = 0, 1
        async for item in feed.follow(heartbeat=service.settings.heartbeat):
            match item:
                case None:
                    yield ": still there\n\n"
                case (_, PhaseStarted(phase="paint", total=total)):
                    steps = total or 1
                case (_, Preview(step, image)) if _is_due(step, steps, sent, order.partials):
                    file = await service.encoding(partial(encode_preview, image, order.format))
                    yield _event(order, "partial_image", _partial(file, image, sent))
                    sent += 1
        try:
            picture = await _picture(service, order, feed)
        except HttpError as error:
            yield f"event: error\ndata: {json.dumps({'type': 'error', **error.document()})}\n\n"
            return
        yield _event(order, "completed", {**picture, "usage": USAGE})


def _is_due(step: int, steps: int, sent: int, wanted: int) -> bool:
    """Whether the preview after a step is sent: they are spread over the steps, the last step brings the picture."""
    return sent < wanted and step * (wanted + 1) >= (sent + 1) * steps


def _partial(file: bytes, image: Any, number: int) -> dict[str, Any]:
    height, width = image.shape[:2]
    return {
        "b64_json": base64.b64encode(file).decode("ascii"),
        "partial_image_index": number,
        "background": "opaque",
        "size": f"{width}x{height}",
    }


def _event(order: Order, name: str, fields: dict[str, Any]) -> str:
    """One event, in the form of OpenAI's."""
    kind = f"{order.event}.{name}"
    shared = {"type": kind, "created_at": int(time.time()), "output_format": order.format, "quality": "high"}
    return f"event: {kind}\ndata: {json.dumps({**shared, **fields})}\n\n"
