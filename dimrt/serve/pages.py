"""The page and its files, and what anybody may know of this server."""

import mimetypes
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dimrt.serve.errors import HttpError
from dimrt.serve.jobs_api import service_of
from dimrt.serve.service import Service
from dimrt.version import __version__

PAGE = Path(__file__).parent / "page"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


async def index(_request: Request) -> Response:
    """GET /."""
    return _file("index.html")


async def page_file(request: Request) -> Response:
    """GET /page/{name}: a file that lies in the folder of the page, by its plain name."""
    return _file(request.path_params["name"])


async def favicon(_request: Request) -> Response:
    """GET /favicon.ico: what browsers ask for on their own."""
    return Response(status_code=204)


async def health(request: Request) -> Response:
    """GET /health."""
    return JSONResponse(describe(service_of(request)))


async def models(request: Request) -> Response:
    """GET /v1/models: the one bundle that is loaded, as OpenAI's list of models."""
    name = service_of(request).editor.bundle.manifest.name
    model = {"id": name, "object": "model", "created": 0, "owned_by": "dimrt"}
    return JSONResponse({"object": "list", "data": [model]})


def describe(service: Service) -> dict[str, Any]:
    """What runs here and what it allows."""
    facts, settings = service.editor.bundle.manifest, service.settings
    return {
        "status": "ok",
        "version": __version__,
        "bundle": facts.name,
        "task": facts.painter.task,
        "provider": service.editor.provider,
        "plan_styles": list(facts.designer.prompt.requests),
        "queue": {"waiting": service.jobs.waiting, "limit": settings.queue},
        "limits": {"upload_bytes": settings.max_upload, "pixels": settings.max_pixels},
    }


def _file(name: str) -> Response:
    """A file of the page. Only names that the folder lists are opened."""
    if PAGE.is_dir():
        for path in PAGE.iterdir():
            if path.name == name and path.is_file():
                kind = TYPES.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
                return Response(path.read_bytes(), media_type=kind, headers={"cache-control": "no-cache"})
    raise HttpError(404, "there is no such page", code="not_found")
