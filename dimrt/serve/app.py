"""The application: routes, errors, and the guard around them."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dimrt.errors import DimrtError
from dimrt.serve import images_api, jobs_api, openapi, pages
from dimrt.serve.errors import HttpError, as_http
from dimrt.serve.guard import Guard
from dimrt.serve.service import Service


async def described(_request: Request) -> Response:
    """GET /openapi.json."""
    return JSONResponse(openapi.description())


ROUTES = (
    ("GET", "/", pages.index),
    ("GET", "/page/{name}", pages.page_file),
    ("GET", "/favicon.ico", pages.favicon),
    ("GET", "/health", pages.health),
    ("GET", "/openapi.json", described),
    ("GET", "/v1/models", pages.models),
    ("POST", "/v1/images/edits", images_api.edits),
    ("POST", "/v1/images/generations", images_api.generations),
    ("POST", "/v1/photos", jobs_api.add_photo),
    ("GET", "/v1/photos/{id}/image", jobs_api.show_photo),
    ("DELETE", "/v1/photos/{id}", jobs_api.drop_photo),
    ("POST", "/v1/jobs", jobs_api.add_job),
    ("GET", "/v1/jobs/{id}", jobs_api.get_job),
    ("DELETE", "/v1/jobs/{id}", jobs_api.drop_job),
    ("GET", "/v1/jobs/{id}/events", jobs_api.get_events),
    ("GET", "/v1/jobs/{id}/image", jobs_api.get_image),
)
"""Method, path and endpoint of everything that is answered."""


def make_app(service: Service) -> ASGIApp:
    """The ASGI application of a service."""
    routes = [Route(path, endpoint, methods=[method]) for method, path, endpoint in ROUTES]
    handlers = {HttpError: _refused, DimrtError: _refused, HTTPException: _no_route, ClientDisconnect: _gone}
    handlers[Exception] = _broken
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.state.service = service
    return Guard(app, service.settings)


async def _refused(_request: Request, error: Exception) -> Response:
    return as_http(error).response()


async def _no_route(_request: Request, error: Exception) -> Response:
    """Starlette's own refusals: 404 and 405."""
    assert isinstance(error, HTTPException)
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    return HttpError(error.status_code, str(error.detail), code=code, headers=error.headers).response()


async def _broken(_request: Request, _error: Exception) -> Response:
    """A mistake of ours; the guard logs it."""
    return HttpError(500, "an error inside the server", code="internal_error").response()


async def _gone(_request: Request, _error: Exception) -> Response:
    """The client left while it was sending; nobody reads this."""
    return Response(status_code=400)
