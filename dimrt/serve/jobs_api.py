"""Photos and jobs: upload once, edit again and again, follow what happens, fetch the result."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dimrt.result import EditResult
from dimrt.serve.errors import HttpError
from dimrt.serve.field import Field
from dimrt.serve.fields import JOB, options_in, read_fields
from dimrt.serve.photos import StoredPhoto
from dimrt.serve.pictures import KINDS, Size, encode, encode_shown
from dimrt.serve.records import Record
from dimrt.serve.service import Service, edit_of
from dimrt.serve.upload import Form, read_form

PHOTO_ID = Field("photo", "text", "Id of an uploaded photo (in a form also the photo itself).", 1, 64)
FORMAT = Field("format", "choice", "Format of the file.", choices=tuple(KINDS), default="png")
LONGEST = Field("max", "whole", "The longer side at most, in pixels; the picture is made smaller.", 16, 1 << 20)
QUALITY = Field("quality", "whole", "Quality of JPEG and WebP.", 1, 100, default=95)


def service_of(request: Request) -> Service:
    """The service that the application was made for."""
    service: Service = request.app.state.service
    return service


async def add_photo(request: Request) -> Response:
    """POST /v1/photos."""
    service = service_of(request)
    async with service.uploading():
        form = await read_form(request, service.settings)
        read_fields(form, (), ("photo",))
        stored = await service.decoded(one_file(form, "photo"))
    service.photos.keep(stored)
    return JSONResponse(describe_photo(stored), 201)


async def show_photo(request: Request) -> Response:
    """GET /v1/photos/{id}/image: for files that a browser can't show."""
    service, stored = service_of(request), service_of(request).photos.get(request.path_params["id"])
    if stored is None:
        raise _no_photo()
    name, quality, fit = _file_wish(request, "jpeg")
    data = await service.encoding(lambda: encode_shown(stored.photo, name, quality, fit))
    return Response(data, media_type=f"image/{name}")


async def drop_photo(request: Request) -> Response:
    """DELETE /v1/photos/{id}."""
    if not service_of(request).photos.remove(request.path_params["id"]):
        raise _no_photo()
    return Response(status_code=204)


async def add_job(request: Request) -> Response:
    """POST /v1/jobs."""
    service = service_of(request)
    async with service.uploading(request.headers.get("content-type", "")):
        form = await read_form(request, service.settings)
        values = read_fields(form, (PHOTO_ID, *JOB), ("photo", "mask"))
        if "photo" in form.files:
            stored = await service.decoded(one_file(form, "photo"))
            service.photos.keep(stored)
        else:
            stored = _stored(service, values)
        mask = await service.mask(one_file(form, "mask"), stored.photo) if "mask" in form.files else None
    service.check_instructions(values["instructions"])
    asked = {**options_in(values), "previews": values.get("previews", True)}
    options = service.options(asked, stored.photo, mask)
    work = edit_of(stored, values["instructions"], options, _base(service, values, stored))
    record = service.records.start(service.jobs.submit(work), stored)
    return JSONResponse({**record.describe(), "photo": stored.id}, 202, {"location": f"/v1/jobs/{record.id}"})


async def get_job(request: Request) -> Response:
    """GET /v1/jobs/{id}."""
    return JSONResponse(_record(request).describe())


async def drop_job(request: Request) -> Response:
    """DELETE /v1/jobs/{id}: stop it, or forget one that is over."""
    record = _record(request)
    if record.over:
        service_of(request).records.remove(record.id)
        return Response(status_code=204)
    record.cancel()
    return JSONResponse({"id": record.id, "state": record.state}, 202)


async def get_events(request: Request) -> Response:
    """GET /v1/jobs/{id}/events."""
    record = _record(request)
    last = request.headers.get("last-event-id", "")
    start = min(int(last) + 1, len(record.items)) if last.isascii() and last.isdigit() and len(last) < 10 else 0
    if record.over and start == len(record.items):
        return Response(status_code=204)  # what tells a browser's EventSource to stop asking
    frames = _event_stream(record, start, service_of(request).settings.heartbeat)
    return StreamingResponse(frames, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def get_image(request: Request) -> Response:
    """GET /v1/jobs/{id}/image."""
    service, record = service_of(request), _record(request)
    name, quality, fit = _file_wish(request)
    result = record.result
    if result is None:
        raise HttpError(409, f"the job is {record.state}: it has no picture", code="no_picture")
    data = await service.encoding(lambda: encode(result, record.stored.photo, name, quality, fit))
    return Response(data, media_type=f"image/{name}")


async def _event_stream(record: Record, start: int, heartbeat: float) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    async for item in record.follow(start, heartbeat):
        if item is None:
            yield ": still there\n\n"
        else:
            number, (kind, text) = item
            yield f"id: {number}\nevent: {kind}\ndata: {text}\n\n"


def _file_wish(request: Request, usual: str = "png") -> tuple[str, int, Size | None]:
    """Format, quality and box of the file that a query asks for."""
    wishes = {"format": usual, "quality": "95", **request.query_params}
    unknown = wishes.keys() - {"format", "quality", "max"}
    if unknown:
        name = min(unknown)[:64]
        raise HttpError(400, f"unknown parameter {name!a}", param=name, code="unknown_parameter")
    longest = LONGEST.read(wishes["max"], False) if "max" in wishes else None
    fit = None if longest is None else (longest, longest)
    return FORMAT.read(wishes["format"], False), QUALITY.read(wishes["quality"], False), fit


def describe_photo(stored: StoredPhoto) -> dict[str, Any]:
    """An uploaded photo as JSON."""
    width, height = stored.photo.size
    return {
        "id": stored.id,
        "width": width,
        "height": height,
        "depth": 8 * stored.photo.pixels.itemsize,
        "notes": list(stored.photo.notes),
    }


def one_file(form: Form, name: str) -> bytes:
    """The only file of that name.

    Raises:
        HttpError: 400, none or several.
    """
    given = form.files.get(name, [])
    if len(given) != 1:
        problem = "is missing: send it as a file" if not given else "is given more than once"
        raise HttpError(
            400, f"{name} {problem}", param=name, code="missing_parameter" if not given else "invalid_value"
        )
    return given[0]


def _stored(service: Service, values: dict[str, Any]) -> StoredPhoto:
    name = values.get("photo")
    if name is None:
        raise HttpError(400, "photo is missing", param="photo", code="missing_parameter")
    stored = service.photos.get(name)
    if stored is None:
        raise _no_photo()
    return stored


def _base(service: Service, values: dict[str, Any], stored: StoredPhoto) -> EditResult | None:
    """The result that is to be edited in place of the photo.

    Raises:
        HttpError: 404 there is no such job; 400 it has no picture, or one of another photo or size.
    """
    if "base" not in values:
        return None
    record = service.records.get(values["base"])
    if record is None:
        raise HttpError(404, "base: there is no such job (any more)", param="base", code="no_such_job")
    result = record.result
    if record.stored is not stored or result is None or result.image.shape[1::-1] != stored.photo.size:
        raise HttpError(
            400,
            "base: give a finished job of this photo, with a result of its size",
            param="base",
            code="invalid_value",
        )
    return result


def _no_photo() -> HttpError:
    return HttpError(404, "there is no such photo (any more); upload it again", param="photo", code="no_such_photo")


def _record(request: Request) -> Record:
    record = service_of(request).records.get(request.path_params["id"])
    if record is None:
        raise HttpError(404, "there is no such job (any more)", code="no_such_job")
    return record
