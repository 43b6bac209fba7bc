"""The OpenAPI 3.1 description, made of the same tables that read the requests."""

from collections.abc import Iterable
from typing import Any

from dimrt.request import MAX_SEED
from dimrt.serve.field import Field
from dimrt.serve.fields import IMAGE_EDIT, IMAGE_GENERATE, JOB
from dimrt.serve.jobs_api import FORMAT, LONGEST, PHOTO_ID, QUALITY
from dimrt.version import __version__

Json = dict[str, Any]
FILE: Json = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}


def description() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dimrt",
            "version": __version__,
            "description": "Edits photos by instruction, on the machine that serves this. /v1/images is the shape of "
            "OpenAI's image API; /v1/photos and /v1/jobs keep a photo for further edits and tell what happens.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": {**_open_paths(), **_image_paths(), **_photo_paths(), **_job_paths()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "Printed at the start."}},
            "schemas": _schemas(),
            "responses": {"Error": _json_response("Refused, or failed.", _ref("Error"))},
        },
    }


def _open_paths() -> Json:
    health = _operation(
        "health", "What runs here and what it allows.", {"200": _json_response("Well.", _ref("Health"))}
    )
    models = _operation("list_models", "The bundle that is loaded.", {"200": _json_response("One.", _ref("Models"))})
    document = _operation("openapi", "This document.", {"200": _json_response("OpenAPI 3.1.", {"type": "object"})})
    return {
        "/health": {"get": {**health, "security": []}},
        "/openapi.json": {"get": {**document, "security": []}},
        "/v1/models": {"get": models},
    }


def _image_paths() -> Json:
    done = {"200": {**_json_response("The pictures.", _ref("Images")), "description": "The pictures, or their events."}}
    done["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    files = {
        "image": {**FILE, "description": "The photo: JPEG, PNG, WebP, TIFF, AVIF and more. One."},
        "mask": {**FILE, "description": "Of the photo's size. Its transparent part is edited; without transparency, "
                 "its white part."},
    }  # fmt: skip
    edit = _operation("edit_image", "Edit a photo.", done)
    edit["requestBody"] = _body({"multipart/form-data": _fields(IMAGE_EDIT, files, required=("image",))})
    generate = _operation("generate_image", "Paint a picture from text, with a bundle made for that.", done)
    generate["requestBody"] = _body({"application/json": _fields(IMAGE_GENERATE)})
    return {"/v1/images/edits": {"post": edit}, "/v1/images/generations": {"post": generate}}


def _photo_paths() -> Json:
    files = {"photo": {**FILE, "description": "The photo."}}
    add = _operation("add_photo", "Upload a photo.", {"201": _json_response("It's kept.", _ref("Photo"))})
    add["requestBody"] = _body({"multipart/form-data": _fields((), files, required=("photo",))})
    drop = _operation("drop_photo", "Forget a photo.", {"204": {"description": "It's gone."}})
    return {
        "/v1/photos": {"post": add},
        "/v1/photos/{id}": {"parameters": [_id("photo")], "delete": drop},
        "/v1/photos/{id}/image": {"parameters": [_id("photo")], "get": _file("show_photo", "The photo, to look at.")},
    }


def _job_paths() -> Json:
    add = _operation(
        "add_job",
        "Edit a photo that was uploaded, or one that comes along.",
        {"202": _json_response("It waits or runs.", _ref("Job"))},
    )
    files = {"photo": {**FILE, "description": "The photo, or the id of one."},
             "mask": {**FILE, "description": "As for /v1/images/edits."}}  # fmt: skip
    add["requestBody"] = _body(
        {
            "application/json": _fields((PHOTO_ID, *JOB), required=("photo",)),
            "multipart/form-data": _fields(JOB, files, required=("photo",)),
        }
    )
    state = _operation("get_job", "Where a job is.", {"200": _json_response("Its state.", _ref("Job"))})
    stopped = {
        "202": _json_response("It will stop.", _ref("Job")),
        "204": {"description": "It was over and is forgotten."},
    }
    stop = _operation("drop_job", "Stop a job, or forget one that is over.", stopped)
    events = _operation(
        "follow_job",
        "What happens, as server-sent events with JSON data: phase_started, progress, plan_text, plan_ready, preview, "
        "phase_finished, and at the end done, failed or cancelled.",
        {
            "200": {"description": "The events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            "204": {"description": "The last event was told already."},
        },
    )
    events["parameters"] = [
        {"name": "Last-Event-ID", "in": "header", "description": "Go on after this event.",
         "schema": {"type": "string", "pattern": r"^\d{1,9}$"}}
    ]  # fmt: skip
    image = _file("get_image", "The finished picture, of the photo's size and with its metadata.")
    return {
        "/v1/jobs": {"post": add},
        "/v1/jobs/{id}": {"parameters": [_id("job")], "get": state, "delete": stop},
        "/v1/jobs/{id}/events": {"parameters": [_id("job")], "get": events},
        "/v1/jobs/{id}/image": {"parameters": [_id("job")], "get": image},
    }


def _file(name: str, summary: str) -> Json:
    """An operation that answers with a picture file."""
    content = {f"image/{kind}": {"schema": FILE} for kind in FORMAT.choices}
    operation = _operation(name, summary, {"200": {"description": "A file.", "content": content}})
    fields = (FORMAT, QUALITY, LONGEST)
    operation["parameters"] = [{"name": field.name, "in": "query", "schema": field.schema()} for field in fields]
    return operation


def _operation(name: str, summary: str, responses: Json) -> Json:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {**responses, "default": {"$ref": "#/components/responses/Error"}},
    }


def _body(kinds: dict[str, Json]) -> Json:
    return {"required": True, "content": {kind: {"schema": schema} for kind, schema in kinds.items()}}


def _fields(fields: Iterable[Field], files: Json | None = None, required: tuple[str, ...] = ()) -> Json:
    """An object of these fields and nothing else."""
    given = tuple(fields)
    return {
        "type": "object",
        "properties": {**(files or {}), **{field.name: field.schema() for field in given}},
        "required": [*required, *(field.name for field in given if field.required)],
        "additionalProperties": False,
    }


def _json_response(text: str, schema: Json) -> Json:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _id(what: str) -> Json:
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "description": f"Of the {what}.",
        "schema": {"type": "string"},
    }


def _object(required: Json, optional: Json | None = None) -> Json:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def _schemas() -> Json:
    text, whole, number = {"type": "string"}, {"type": "integer"}, {"type": "number"}
    maybe = {"type": ["string", "null"]}
    facts = {"seed": {**whole, "minimum": 0, "maximum": MAX_SEED}, "steps": whole, "guidance_scale": number,
             "composite": text, "bundle": text, "provider": text}  # fmt: skip
    plan = {**_object({"text": text, "style": maybe, "sections": {"type": "object"}}), "type": ["object", "null"]}
    result = _object(
        {"width": whole, "height": whole, "plan": plan, **facts,
         "seconds": {"type": "object", "additionalProperties": number}}
    )  # fmt: skip
    error = _object({"message": text, "type": text, "param": maybe, "code": maybe})
    picture = _object({"b64_json": text, "revised_prompt": maybe, "dimrt": _object({"plan": maybe, **facts})})
    states = ["queued", "running", "done", "failed", "cancelled"]
    return {
        "Error": _object({"error": error}),
        "Health": _object(
            {"status": {"const": "ok"}, "version": text, "bundle": text, "task": {"enum": ["edit", "generate"]},
             "provider": text, "plan_styles": {"type": "array", "items": text},
             "queue": _object({"waiting": whole, "limit": whole}),
             "limits": _object({"upload_bytes": whole, "pixels": whole})}
        ),
        "Models": _object(
            {"object": {"const": "list"},
             "data": {"type": "array", "items": _object({"id": text, "object": {"const": "model"}, "created": whole,
                                                         "owned_by": text})}}
        ),
        "Images": _object(
            {"created": whole, "data": {"type": "array", "items": picture}, "size": text, "output_format": text,
             "background": text, "quality": text, "usage": {"type": "object"}}
        ),
        "Photo": _object({"id": text, "width": whole, "height": whole, "depth": {"enum": [8, 16]},
                          "notes": {"type": "array", "items": text}}),
        "Job": _object({"id": text, "state": {"enum": states}}, {"position": whole, "photo": text, "result": result,
                                                                 "error": error}),
    }  # fmt: skip
