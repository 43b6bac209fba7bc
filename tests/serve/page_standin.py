"""A stand-in for the server, told what to do: for what the real one rarely does (wait, refuse, break off, forget)."""

import asyncio
import base64
import io
import json
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from PIL import Image, ImageOps
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dimrt.blueprint import Blueprint
from dimrt.serve.guard import SECURITY
from dimrt.serve.pages import PAGE, TYPES
from dimrt.wire import plan_json

TOKEN = "stand-in-token"
PLAN = {
    "Edit Instruction": "Give the photo the light of a late summer evening.",
    "Global Layout Perception": "A cup of coffee on a saucer stands in the middle of a wooden table, seen from above. "
    "A spoon lies to its left; the table's grain runs from corner to corner.",
    "Local Object Perception": "The cup is white porcelain with a brown rim of foam. The spoon is steel and mirrors "
    "the window. The table is dark, oiled wood.",
    "Edit Area Localization": "The whole picture. Shapes, foam and grain stay where they are.",
    "Edited Image Imagination": "Warm, low light falls across the table from the left. The porcelain turns cream, "
    "the wood glows amber, and long soft shadows lie to the right of cup and spoon.",
}


def plan_text() -> str:
    """The plan as a designer writes it."""
    return "\n".join(f"{number}. {title}: {text}" for number, (title, text) in enumerate(PLAN.items(), 1))


@dataclass
class Job:
    """One job of the stand-in."""

    photo: str
    instructions: list[str]
    fields: dict[str, Any]
    mask: bytes | None = None
    state: str = "queued"
    position: int = 0
    frames: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class StandIn:
    """Serves the page and plays a script.

    Attributes:
        pause: seconds between two events.
        steps: painter steps.
        hold: a phase after whose start a job waits until it's cancelled or `release` is set; "written" is between the
            last word of the plan and its end.
        before: jobs that are in the queue before the next one; one leaves every `pause`.
        refuse: status, message and code with which the next job is refused.
        fail: message with which jobs fail while painting.
        break_after: after so many events the connection of the next stream is cut, once.
        deaf: whether every request is cut off, as if nobody listened.
        jobs, photos: what came.
        plan: the text of the plan.
    """

    def __init__(self) -> None:
        self.reset()
        self.port = 0
        self._server: uvicorn.Server | None = None

    def reset(self) -> None:
        """As new."""
        self.pause = 0.0
        self.steps = 4
        self.hold: str | None = None
        self.release = threading.Event()
        self.before = 0
        self.refuse: tuple[int, str, str] | None = None
        self.fail: str | None = None
        self.break_after: int | None = None
        self.deaf = False
        self.composite = "tone"
        self.token = TOKEN
        self.plan = plan_text()
        self.jobs: dict[str, Job] = {}
        self.photos: dict[str, bytes] = {}

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.origin}/#token={TOKEN}"

    def __enter__(self) -> "StandIn":
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(self._app(), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(10)

    def _app(self) -> Any:
        routes = [
            Route("/", self._index),
            Route("/page/{name}", self._page_file),
            Route("/health", self._health),
            Route("/v1/models", self._models),
            Route("/v1/photos", self._add_photo, methods=["POST"]),
            Route("/v1/photos/{id}", self._drop, methods=["DELETE"]),
            Route("/v1/photos/{id}/image", self._photo_image),
            Route("/v1/jobs", self._add_job, methods=["POST"]),
            Route("/v1/jobs/{id}", self._get_job),
            Route("/v1/jobs/{id}", self._cancel, methods=["DELETE"]),
            Route("/v1/jobs/{id}/events", self._events),
            Route("/v1/jobs/{id}/image", self._job_image),
        ]
        app = Starlette(routes=routes)

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            if self.deaf:
                send.__self__.transport.abort()  # of uvicorn's own object: there is no official way to hang up
                return
            headers = dict(scope["headers"])
            if scope["path"].startswith("/v1/") and headers.get(b"authorization") != f"Bearer {self.token}".encode():
                await _error(401, "the token is missing or wrong", "no_token")(scope, receive, send)
                return
            await app(scope, receive, send)

        return guarded

    async def _index(self, _request: Request) -> Response:
        return _file("index.html")

    async def _page_file(self, request: Request) -> Response:
        return _file(request.path_params["name"])

    async def _health(self, _request: Request) -> Response:
        return JSONResponse(
            {"status": "ok", "bundle": "stand-in", "provider": "none", "plan_styles": ["full", "brief"]}
        )

    async def _models(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "stand-in", "object": "model"}]})

    async def _add_photo(self, request: Request) -> Response:
        data = await (await request.form())["photo"].read()  # type: ignore[union-attr]
        try:
            size = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size
        except OSError:
            return _error(400, "this file is no photo that dimrt can read (a text file?)", "invalid_input")
        name = f"photo{len(self.photos)}"
        self.photos[name] = data
        return JSONResponse({"id": name, "width": size[0], "height": size[1], "depth": 8, "notes": []}, 201)

    async def _drop(self, request: Request) -> Response:
        self.photos.pop(request.path_params["id"], None)
        return Response(status_code=204)

    async def _photo_image(self, request: Request) -> Response:
        return self._jpeg(Image.open(io.BytesIO(self.photos[request.path_params["id"]])), request)

    async def _add_job(self, request: Request) -> Response:
        if self.refuse:
            refusal, self.refuse = self.refuse, None
            return _error(*refusal)
        mask = None
        if request.headers["content-type"].startswith("multipart/"):
            form = await request.form()
            fields: dict[str, Any] = {name: value for name, value in form.items() if isinstance(value, str)}
            fields["instructions"] = form.getlist("instructions")
            mask = await form["mask"].read()  # type: ignore[union-attr]
        else:
            fields = await request.json()
        if fields["photo"] not in self.photos:
            return _error(404, "there is no such photo (any more); upload it again", "no_such_photo")
        if "base" in fields and self.jobs[fields["base"]].state != "done":
            return _error(404, "base: there is no such job (any more)", "no_such_job")
        job = Job(fields["photo"], fields["instructions"], fields, mask, position=self.before)
        name = f"job{len(self.jobs)}"
        self.jobs[name] = job
        self._task = asyncio.ensure_future(self._play(job))
        return JSONResponse({"id": name, "state": job.state, "position": job.position}, 202)

    async def _play(self, job: Job) -> None:
        while job.position and not job.stop.is_set():
            await asyncio.sleep(max(self.pause, 0.05))
            job.position -= 1
        if not job.stop.is_set():
            job.state = "running"
            for kind, data in self._script(job):
                job.frames.append((kind, {"type": kind, **data}))
                await asyncio.sleep(self.pause if kind in ("plan_text", "preview") else 0)
                while _moment(kind, data) == self.hold is not None and not self.release.is_set():
                    if job.stop.is_set():
                        break
                    await asyncio.sleep(0.01)
                if job.stop.is_set():
                    break
                if self.fail and (kind, data.get("phase")) == ("phase_started", "paint"):
                    job.frames.append(("failed", {"error": {"message": self.fail, "type": "server_error"}}))
                    job.state = "failed"
                    return
        if job.stop.is_set():
            job.frames.append(("cancelled", {"error": {"message": "the edit was cancelled"}}))
            job.state = "cancelled"
            return
        job.frames.append(("done", self._result(job)))
        job.state = "done"

    def _script(self, job: Job) -> list[tuple[str, dict[str, Any]]]:
        words = self.plan.split(" ")
        script: list[tuple[str, dict[str, Any]]] = [("phase_started", {"phase": "vision", "total": None})]
        script += [("phase_started", {"phase": "plan", "total": 512})]
        script += [("plan_text", {"text": word + " "}) for word in words]
        script += [("progress", {"phase": "plan", "done": len(words)})]
        script += [("plan_ready", plan_json(Blueprint.parse(self.plan), "full") or {})]
        script += [("phase_started", {"phase": "paint", "total": self.steps})]
        photo = Image.open(io.BytesIO(self.photos[job.photo])).convert("RGB")
        for step in range(1, self.steps + 1):
            small = _warm(photo, step / self.steps)
            small.thumbnail((200, 200))
            script += [("progress", {"phase": "paint", "done": step})]
            script += [
                ("preview", {"step": step, "image": _data_url(small), "width": small.width, "height": small.height})
            ]
        return [*script, ("phase_started", {"phase": "composite", "total": None})]

    def _result(self, job: Job) -> dict[str, Any]:
        photo = Image.open(io.BytesIO(self.photos[job.photo]))
        return {
            "width": photo.width,
            "height": photo.height,
            "plan": plan_json(Blueprint.parse(self.plan), "full"),
            "seed": job.fields.get("seed", 0),
            "steps": self.steps,
            "guidance_scale": 7.5,
            "composite": self.composite,
            "seconds": {"vision": 0.4, "plan": 3.4, "paint": 12.4, "composite": 0.9},
        }

    async def _events(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["id"])
        if job is None:
            return _error(404, "there is no such job (any more)", "no_such_job")
        start = int(request.headers.get("last-event-id", -1)) + 1
        return StreamingResponse(self._frames(job, start), media_type="text/event-stream")

    async def _frames(self, job: Job, start: int) -> AsyncIterator[str]:
        yield ": hello\n\n"
        number = start
        while True:
            while number < len(job.frames):
                if self.break_after is not None and number >= self.break_after:
                    self.break_after = None
                    raise ConnectionResetError
                kind, data = job.frames[number]
                yield f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
                number += 1
            if job.state in ("done", "failed", "cancelled") and number == len(job.frames):
                return
            await asyncio.sleep(0.005)

    async def _get_job(self, request: Request) -> Response:
        job = self.jobs[request.path_params["id"]]
        return JSONResponse({"id": request.path_params["id"], "state": job.state, "position": job.position})

    async def _cancel(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["id"])
        if job is None:
            return _error(404, "there is no such job (any more)", "no_such_job")
        job.stop.set()
        return Response(status_code=202)

    async def _job_image(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["id"])
        if job is None:
            return _error(404, "there is no such job (any more)", "no_such_job")
        return self._jpeg(_warm(Image.open(io.BytesIO(self.photos[job.photo])).convert("RGB"), 1), request)

    def _jpeg(self, picture: Image.Image, request: Request) -> Response:
        if "max" in request.query_params:
            longest = int(request.query_params["max"])
            picture.thumbnail((longest, longest))
        return Response(_encoded(picture), media_type="image/jpeg")


def _moment(kind: str, data: dict[str, Any]) -> str | None:
    """Where a job can be held."""
    if kind == "progress" and data["phase"] == "plan":
        return "written"
    return data["phase"] if kind == "phase_started" else None


def _warm(photo: Image.Image, share: float) -> Image.Image:
    red, green, blue = photo.split()
    warm = Image.merge("RGB", [red.point(lambda v: min(255, v * 1.12)), green, blue.point(lambda v: v * 0.66)])
    return Image.blend(photo, warm, share)


def _encoded(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=88)
    return file.getvalue()


def _data_url(picture: Image.Image) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(_encoded(picture)).decode()


def _error(status: int, message: str, code: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "error", "param": None, "code": code}}, status)


def _file(name: str) -> Response:
    path = PAGE / name
    return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers=SECURITY)
