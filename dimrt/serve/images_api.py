"""The shape of OpenAI's image API: edits and generations, whole or as a stream of events."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dimrt.photo.read import Photo
from dimrt.request import MAX_SEED
from dimrt.serve.errors import HttpError
from dimrt.serve.fields import IMAGE_EDIT, IMAGE_GENERATE, options_in, read_fields
from dimrt.serve.jobs_api import one_file, service_of
from dimrt.serve.orders import USAGE, Order, PictureStream, pictures
from dimrt.serve.pictures import parse_size
from dimrt.serve.service import Edit, Service, edit_of, generation_of
from dimrt.serve.upload import read_form

Value = TypeVar("Value")


async def edits(request: Request) -> Response:
    """POST /v1/images/edits."""
    service = service_of(request)
    async with service.uploading():
        form = await read_form(request, service.settings)
        values = read_fields(form, IMAGE_EDIT, ("image", "mask"))
        if len(form.files.get("image", ())) > 1:
            raise HttpError(400, "image: one photo is edited at a time", param="image", code="invalid_value")
        stored = await service.decoded(one_file(form, "image"))
        mask = await service.mask(one_file(form, "mask"), stored.photo) if "mask" in form.files else None
    del form
    prompt = [values["prompt"]]
    service.check_instructions(prompt)
    works = []
    for asked in _each(service, values):
        works.append(edit_of(stored, prompt, service.options(asked, stored.photo, mask)))
    return await _answer(request, service, _order("image_edit", stored.photo, works, values), values)


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
    if values.get("stream", False):
        return PictureStream(service, order)
    done = await _unless_gone(request, pictures(service, order))
    data = [{key: picture[key] for key in ("b64_json", "revised_prompt", "dimrt")} for picture in done]
    return JSONResponse(
        {
            "created": int(time.time()),
            "data": data,
            "background": done[0]["background"],
            "output_format": order.format,
            "quality": "high",
            "size": done[0]["size"],
            "usage": USAGE,
        }
    )


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Value]) -> Value:
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
