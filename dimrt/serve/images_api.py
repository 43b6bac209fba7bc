"""The shape of OpenAI's image API: edits and generations, whole or as a stream of events."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dimrt.events import Event, PhaseStarted, Preview
from dimrt.photo.read import Photo
from dimrt.request import MAX_SEED
from dimrt.result import EditResult
from dimrt.serve.errors import HttpError, as_http
from dimrt.serve.feed import Feed
from dimrt.serve.fields import IMAGE_EDIT, IMAGE_GENERATE, options_in, read_fields
from dimrt.serve.jobs_api import one_file, service_of
from dimrt.serve.photos import StoredPhoto
from dimrt.serve.pictures import Size, encode, encode_preview, parse_size, size_within
from dimrt.serve.service import Edit, Service, edit_of, generation_of
from dimrt.serve.upload import read_form

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


async def edits(request: Request) -> Response:
    """POST /v1/images/edits."""
    service = service_of(request)
    async with service.uploading():
        form = await read_form(request, service.settings)
        values = read_fields(form, IMAGE_EDIT, ("image", "mask"))
        if len(form.files.get("image", ())) > 1:
            raise HttpError(400, "image: one photo is edited at a time", param="image", code="invalid_value")
        photo = await service.decoded(one_file(form, "image"))
    mask = one_file(form, "mask") if "mask" in form.files else None
    del form
    stored, prompt = StoredPhoto(photo), [values["prompt"]]
    service.check_instructions(prompt)
    works = []
    for asked in _each(service, values):
        works.append(edit_of(stored, prompt, service.options(asked, photo, mask)))
    return await _answer(request, service, _order("image_edit", photo, works, values), values)


async def generations(request: Request) -> Response:
    """POST /v1/images/generations."""
    service = service_of(request)
    values = read_fields(await read_form(request, service.settings), IMAGE_GENERATE)
    service.check_instructions([values["prompt"]])
    works = []
    for asked in _each(service, values):
        works.append(generation_of(values["prompt"], service.options(asked, None, None)))
    return await _answer(request, service, _order("image_generation", None, works, values), values)


def _each(service: Service, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The options of each of the `n` pictures: their seeds follow one another."""
    seed = values.get("seed", service.editor.bundle.manifest.schedule.seed)
    previews = values.get("stream", False) and values.get("partial_images", 0) > 0
    return [
        {**options_in(values), "seed": (seed + number) % (MAX_SEED + 1), "previews": previews}
        for number in range(values.get("n", 1))
    ]


def _order(event: str, photo: Photo | None, works: list[Edit], values: dict[str, Any]) -> Order:
    return Order(
        event,
        photo,
        works,
        values.get("output_format", "png"),
        values.get("output_compression", 95),
        parse_size(values.get("size", "auto")),
        values.get("partial_images", 0),
    )


async def _answer(request: Request, service: Service, order: Order, values: dict[str, Any]) -> Response:
    feeds = _submit(service, order)
    if values.get("stream", False):
        return _Stream(_stream(service, order, feeds), feeds)
    try:
        pictures = await _unless_gone(request, _pictures(service, order, feeds))
    finally:
        for feed in feeds:
            feed.cancel()
    data = [{key: picture[key] for key in ("b64_json", "revised_prompt", "dimrt")} for picture in pictures]
    return JSONResponse(
        {
            "created": int(time.time()),
            "data": data,
            "background": pictures[0]["background"],
            "output_format": order.format,
            "quality": "high",
            "size": pictures[0]["size"],
            "usage": USAGE,
        }
    )


def _submit(service: Service, order: Order) -> list[Feed[Event]]:
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


async def _pictures(service: Service, order: Order, feeds: list[Feed[Event]]) -> list[dict[str, Any]]:
    """Every picture; one is encoded while the next one is painted."""
    encodings = [asyncio.ensure_future(_picture(service, order, feed)) for feed in feeds]
    try:
        return list(await asyncio.gather(*encodings))
    finally:
        for encoding in encodings:
            encoding.cancel()


async def _picture(service: Service, order: Order, feed: Feed[Event]) -> dict[str, Any]:
    """A finished picture as JSON.

    Raises:
        DimrtError: what the job raised.
    """
    async for _ in feed.follow():
        pass
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


async def _unless_gone(request: Request, work: Awaitable[Any]) -> Any:
    """Wait for the work, but not for a caller who went away.

    Raises:
        HttpError: nobody is there to read it.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise HttpError(499, "the caller went away", code="cancelled")
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Stream(StreamingResponse):
    """A stream of events whose jobs are cancelled when it ends, however it ends."""

    def __init__(self, content: AsyncIterator[str], feeds: list[Feed[Event]]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        self._feeds = feeds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            for feed in self._feeds:
                feed.cancel()


async def _stream(service: Service, order: Order, feeds: list[Feed[Event]]) -> AsyncIterator[str]:
    for feed in feeds:
        partial, steps = 0, 1
        async for item in feed.follow(heartbeat=service.settings.heartbeat):
            match item:
                case None:
                    yield ": still there\n\n"
                case (_, PhaseStarted(phase="paint", total=total)):
                    steps = total or 1
                case (_, Preview(step, image)) if _is_due(step, steps, partial, order.partials):
                    picture = await service.encoding(lambda image=image: encode_preview(image, order.format))
                    yield _event(order, "partial_image", _partial(picture, image, partial))
                    partial += 1
        try:
            picture = await _picture(service, order, feed)
        except HttpError as error:
            yield f"event: error\ndata: {json.dumps(error.document())}\n\n"
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


Endpoint = Callable[[Request], Awaitable[Response]]
