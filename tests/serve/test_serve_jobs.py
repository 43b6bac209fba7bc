"""Jobs over HTTP: their events, their end in every way there is, their pictures."""

import io
import threading
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import BEARER, Running, code_of, pixels_of, png, running, wait_until
from standin_editor import PHASES, STEPS, StandInEditor

from dimrt.errors import InputError, ResourceError
from dimrt.options import EditOptions
from dimrt.serve.field import Field
from dimrt.serve.fields import OPTIONS
from dimrt.serve.photos import KEPT_SESSIONS


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with running(StandInEditor(), queue=3, heartbeat=0.05) as it:
        yield it


@pytest.fixture
def server(shared: Running) -> Iterator[Running]:
    """The shared server with a fresh editor, left idle."""
    shared.editor.reset()
    yield shared
    shared.editor.release.set()
    service = shared.server.service
    assert service is not None
    wait_until(lambda: shared.editor.started == shared.editor.ended and service.jobs.waiting == 0)


def hold(server: Running, phase: str = "paint") -> str:
    """A job that runs and waits in a phase."""
    server.editor.hold = phase
    job = server.add_job(server.add_photo())
    assert server.editor.reached.wait(30)
    return job


def test_an_edit_from_upload_to_picture(server: Running) -> None:
    data = png(40, 30)
    photo = server.add_photo(data)
    answer = server.client.post(
        "/v1/jobs", json={"photo": photo, "instructions": ["make it warmer", "add a cat"], "seed": 7}
    )
    assert answer.status_code == 202
    job = answer.json()
    assert set(job) == {"id", "state", "position", "photo"}
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    events = server.events(job["id"])
    assert [number for number, _, _ in events] == list(range(len(events)))
    assert all(data["type"] == kind for _, kind, data in events[:-1])
    assert [data["phase"] for _, kind, data in events if kind == "phase_finished"] == list(PHASES)
    assert "".join(data["text"] for _, kind, data in events if kind == "plan_text").endswith(
        "make it warmer and add a cat"
    )
    assert sum(kind == "preview" for _, kind, _ in events) == STEPS
    _, kind, result = events[-1]
    assert kind == "done"
    assert (result["width"], result["height"], result["seed"]) == (40, 30, 7)
    described = server.client.get(f"/v1/jobs/{job['id']}").json()
    assert described == {"id": job["id"], "state": "done", "position": 0, "result": result}
    picture = server.client.get(f"/v1/jobs/{job['id']}/image?format=png")
    assert picture.headers["content-type"] == "image/png"
    assert np.array_equal(pixels_of(picture.content), 255 - pixels_of(data))


def test_previews_can_be_left_out(server: Running) -> None:
    job = server.add_job(server.add_photo(), previews=False)
    assert "preview" not in {kind for _, kind, _ in server.events(job)}


def test_photo_and_mask_may_come_with_the_job(server: Running) -> None:
    mask = np.zeros((32, 48, 4), np.uint8)
    mask[:, 24:, 3] = 255
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    fields = {"instructions": ["make it warmer", "add a cat"], "steps": "1", "previews": "false", "feather": "2.5"}
    files = {"photo": ("p", png()), "mask": ("m", file.getvalue())}
    answer = server.client.post("/v1/jobs", data=fields, files=files)
    assert answer.status_code == 202, answer.text
    assert server.wait_over(answer.json()["id"]) == "done"
    (options,) = server.editor.seen
    assert np.array_equal(np.asarray(options.mask.share) == 255, mask[..., 3] == 0)
    assert (options.steps, options.previews, options.feather) == (1, False, 2.5)
    again = server.client.post("/v1/jobs", json={"photo": answer.json()["photo"], "instructions": ["x"]})
    assert again.status_code == 202


def test_a_result_can_be_edited_in_place_of_the_photo(server: Running) -> None:
    data = png()
    photo, other = server.add_photo(data), server.add_photo()
    first = server.add_job(photo)
    assert server.wait_over(first) == "done"
    second = server.add_job(photo, base=first)
    assert server.wait_over(second) == "done"
    assert np.array_equal(pixels_of(server.client.get(f"/v1/jobs/{second}/image").content), pixels_of(data))
    for fields, status in [({"photo": other, "base": first}, 400), ({"photo": photo, "base": "nothing"}, 404)]:
        refused = server.client.post("/v1/jobs", json={"instructions": ["x"], **fields})
        assert (refused.status_code, refused.json()["error"]["param"]) == (status, "base")


def test_what_was_computed_is_kept_for_the_photos_used_last(server: Running) -> None:
    service = server.server.service
    assert service is not None
    photos = [server.add_photo() for _ in range(KEPT_SESSIONS + 2)]
    for photo in (*photos, photos[1]):
        assert server.wait_over(server.add_job(photo)) == "done"
    opened = [stored.session is not None for stored in service.photos._kept.values()][-len(photos) :]
    assert opened == [False, False, *([True] * KEPT_SESSIONS)]
    assert server.wait_over(server.add_job(photos[0])) == "done"


@pytest.mark.parametrize("region", ["4,5,20,10", [4, 5, 20, 10], "25%,0,50%,100%"])
def test_a_region_reaches_the_editor_in_pixels(server: Running, region: object) -> None:
    assert server.wait_over(server.add_job(server.add_photo(), region=region)) == "done"
    assert server.editor.seen[0].region == ((12, 0, 24, 32) if "%" in str(region) else (4, 5, 20, 10))


@pytest.mark.parametrize("interval", ["0.25,0.75", [0.25, 0.75]])
def test_an_interval_of_guidance_reaches_the_editor(server: Running, interval: object) -> None:
    job = server.add_job(server.add_photo(), guidance_scale=3, guidance_interval=interval, schedule="teacher")
    assert server.wait_over(job) == "done"
    assert server.editor.seen[0].guidance_interval == (0.25, 0.75)


def test_every_option_of_the_editor_can_be_asked_for() -> None:
    given = {field.name for field in OPTIONS}
    assert given | {"mask", "previews"} == set(EditOptions.__dataclass_fields__)


def test_a_reader_goes_on_after_the_event_it_saw_last(server: Running) -> None:
    job = server.add_job(server.add_photo())
    events = server.events(job)
    for last in (0, 5, len(events) - 2):
        assert server.events(job, last) == events[last + 1 :]
    done = server.client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": str(len(events) - 1)})
    assert (done.status_code, done.content) == (204, b"")
    for strange in ("x", "-1", "9" * 30, ""):
        answer = server.client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": strange})
        assert answer.status_code == 200
        assert answer.text.count("id: ") == len(events)


def test_many_readers_see_the_same(server: Running) -> None:
    job = hold(server)
    seen: list[list[tuple[int, str, dict[str, object]]]] = []
    readers = [threading.Thread(target=lambda: seen.append(server.events(job))) for _ in range(5)]
    for reader in readers:
        reader.start()
    server.editor.release.set()
    for reader in readers:
        reader.join(30)
    assert len(seen) == 5
    assert all(events == seen[0] for events in seen)


def test_a_quiet_stream_gives_signs_of_life(server: Running) -> None:
    hold(server)
    waiting = server.add_job(server.add_photo())
    with server.client.stream("GET", f"/v1/jobs/{waiting}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        assert next(line for line in lines if line) == ": still there"
        server.editor.release.set()
        assert any(line == "event: done" for line in lines)


@pytest.mark.parametrize("phase", PHASES)
def test_a_job_is_cancelled_in_any_phase_and_the_next_one_runs(server: Running, phase: str) -> None:
    job = hold(server, phase)
    answer = server.client.delete(f"/v1/jobs/{job}")
    assert answer.status_code == 202
    events = server.events(job)
    assert events[-1][1] == "cancelled"
    assert events[-1][2]["error"]["code"] == "cancelled"
    assert not any(kind == "phase_finished" and data["phase"] == phase for _, kind, data in events)
    assert server.client.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    no_picture = server.client.get(f"/v1/jobs/{job}/image")
    assert (no_picture.status_code, code_of(no_picture)) == (409, "no_picture")
    server.editor.hold = None
    assert server.wait_over(server.add_job(server.add_photo())) == "done"


def test_a_waiting_job_is_cancelled_and_never_runs(server: Running) -> None:
    hold(server)
    waiting = server.add_job(server.add_photo())
    assert server.client.get(f"/v1/jobs/{waiting}").json()["position"] == 1
    server.client.delete(f"/v1/jobs/{waiting}")
    assert [kind for _, kind, _ in server.events(waiting)] == ["cancelled"]
    assert server.editor.started == 1


def test_a_finished_job_is_forgotten_when_it_is_deleted(server: Running) -> None:
    job = server.add_job(server.add_photo())
    server.wait_over(job)
    assert server.client.delete(f"/v1/jobs/{job}").status_code == 204
    for answer in (server.client.delete(f"/v1/jobs/{job}"), server.client.get(f"/v1/jobs/{job}/events")):
        assert (answer.status_code, code_of(answer)) == (404, "no_such_job")


def test_a_full_queue_is_a_429_that_says_when_to_come_back(server: Running) -> None:
    hold(server)
    photo = server.add_photo()
    waiting = [server.add_job(photo) for _ in range(3)]
    assert [server.client.get(f"/v1/jobs/{job}").json()["position"] for job in waiting] == [1, 2, 3]
    assert server.client.get("/health").json()["queue"] == {"waiting": 3, "limit": 3}
    refused = server.client.post("/v1/jobs", json={"photo": photo, "instructions": ["x"]})
    assert (refused.status_code, code_of(refused)) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) > 0
    form = {"files": {"image": ("x", png())}, "data": {"prompt": "x"}}
    assert server.client.post("/v1/images/edits", **form).status_code == 429
    server.editor.release.set()
    assert {server.wait_over(job) for job in waiting} == {"done"}


def test_pictures_that_do_not_all_fit_the_queue_are_refused_together(server: Running) -> None:
    hold(server)
    form = {"files": {"image": ("x", png())}, "data": {"prompt": "x", "n": "4"}}
    assert server.client.post("/v1/images/edits", **form).status_code == 429
    assert server.client.get("/health").json()["queue"]["waiting"] == 0


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(InputError("too long"), 400, "invalid_input"), (ResourceError("memory"), 503, "out_of_resources"),
     (RuntimeError("a secret"), 500, "internal_error")],
)  # fmt: skip
def test_an_edit_that_fails_says_why(server: Running, error: Exception, status: int, code: str) -> None:
    server.editor.fail = error
    job = server.add_job(server.add_photo())
    _, kind, data = server.events(job)[-1]
    assert (kind, data["error"]["code"]) == ("failed", code)
    assert "secret" not in str(data)
    described = server.client.get(f"/v1/jobs/{job}").json()
    assert (described["state"], described["error"]) == ("failed", data["error"])
    answer = server.client.post("/v1/images/edits", files={"image": ("x", png())}, data={"prompt": "x"})
    assert (answer.status_code, code_of(answer)) == (status, code)
    server.editor.fail = None
    assert server.wait_over(server.add_job(server.add_photo())) == "done"


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_caller_who_leaves_cancels_what_was_done_for_him(server: Running, stream: str) -> None:
    server.editor.hold = "paint"
    form = {"files": {"image": ("x", png())}, "data": {"prompt": "x", "n": "3", "stream": stream}}
    request = httpx.Request("POST", "http://localhost/v1/images/edits", headers=BEARER, **form)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with server.raw(f"POST /v1/images/edits HTTP/1.1\r\n{head}\r\n".encode() + request.read()):
        assert server.editor.reached.wait(30)
    wait_until(lambda: server.editor.ended == 1)
    wait_until(lambda: server.client.get("/health").json()["queue"]["waiting"] == 0)
    assert server.editor.started == 1


@pytest.mark.parametrize(("name", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_a_picture_comes_in_the_format_and_size_that_is_asked_for(server: Running, name: str, kind: str) -> None:
    job = server.add_job(server.add_photo(png(120, 60, 4)))
    server.wait_over(job)
    answer = server.client.get(f"/v1/jobs/{job}/image", params={"format": name, "quality": 80, "max": 40})
    picture = Image.open(io.BytesIO(answer.content))
    assert (answer.headers["content-type"], picture.format, picture.size) == (f"image/{name}", kind, (40, 20))
    assert picture.mode == ("RGB" if name == "jpeg" else "RGBA")
    whole = server.client.get(f"/v1/jobs/{job}/image", params={"format": name})
    assert Image.open(io.BytesIO(whole.content)).size == (120, 60)


@pytest.mark.parametrize("query", ["format=gif", "quality=0", "quality=x", "max=1", "max=-1", "surprise=1", "format="])
def test_a_strange_query_is_a_400(server: Running, query: str) -> None:
    job = server.add_job(server.add_photo())
    server.wait_over(job)
    answer = server.client.get(f"/v1/jobs/{job}/image?{query}")
    assert answer.status_code == 400
    assert code_of(answer)


def test_the_metadata_of_the_photo_is_in_the_picture(server: Running) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker of Cameras"
    file = io.BytesIO()
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(
        file, "JPEG", exif=exif, icc_profile=b"not a real profile" * 20
    )
    job = server.add_job(server.add_photo(file.getvalue()))
    server.wait_over(job)
    picture = Image.open(io.BytesIO(server.client.get(f"/v1/jobs/{job}/image?format=jpeg").content))
    assert picture.getexif()[0x010F] == "Maker of Cameras"


def test_the_oldest_pictures_go_when_the_memory_is_full() -> None:
    with running(StandInEditor(), result_memory=2 * (64 * 64 * 3 + 32 * 32 * 3)) as server:
        photo = server.add_photo(png(64, 64))
        jobs = [server.add_job(photo) for _ in range(4)]
        for job in jobs:
            wait_until(lambda job=job: server.client.get(f"/v1/jobs/{job}").json().get("state") in ("done", None))
        there = [server.client.get(f"/v1/jobs/{job}/image").status_code for job in jobs]
        assert there == [404, 404, 200, 200]


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"seed": -1}, "seed"), ({"seed": 1.5}, "seed"), ({"seed": "1"}, "seed"), ({"seed": 2**70}, "seed"),
     ({"steps": 0}, "steps"), ({"guidance_scale": 1e9}, "guidance_scale"), ({"composite": "magic"}, "composite"),
     ({"think": "yes"}, "think"), ({"instructions": []}, "instructions"), ({"instructions": [1]}, "instructions"),
     ({"instructions": [""]}, "instructions"), ({"instructions": ["x"] * 65}, "instructions"), ({"plan": ""}, "plan"),
     ({"plan": "x" * 70_000}, "plan"), ({"region": "1,2,3"}, "region"), ({"region": [1, 2, 3, "x"]}, "region"),
     ({"guidance_interval": "0.2"}, "guidance_interval"), ({"guidance_interval": [0.8, 0.2]}, "guidance_interval"),
     ({"guidance_interval": "0,1.5"}, "guidance_interval"), ({"guidance_interval": [0, "x"]}, "guidance_interval"),
     ({"tile": 0}, "tile"), ({"photo": 7}, "photo"),
     ({"previews": 1}, "previews"), ({"surprise": 1}, "surprise"), ({"mask": "x"}, "mask")],
)  # fmt: skip
def test_a_wrong_field_is_named(server: Running, fields: dict[str, object], param: str) -> None:
    answer = server.client.post("/v1/jobs", json={"photo": server.add_photo(), "instructions": ["x"], **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert server.editor.started == 0


@pytest.mark.parametrize(
    "fields",
    [{"region": "40,0,20,10"}, {"plan_style": "haiku"}, {"schedule": "student", "guidance_scale": 3.0}, {"feather": 3},
     {"guidance_scale": 1, "guidance_interval": [0.2, 0.8]}, {"tile": 100},
     {"instructions": ["  "]}, {"frame": "crop", "composite": "tone"}, {"instructions": ["x", ". "]}],
)  # fmt: skip
def test_what_the_bundle_or_the_photo_can_not_do_is_refused_before_it_waits(
    server: Running, fields: dict[str, object]
) -> None:
    answer = server.client.post("/v1/jobs", json={"photo": server.add_photo(), "instructions": ["x"], **fields})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_input")
    assert server.editor.started == 0


def test_null_is_as_good_as_absent(server: Running) -> None:
    assert server.wait_over(server.add_job(server.add_photo(), seed=None, plan=None, region=None)) == "done"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("whole", "0x10"),
        ("whole", "1e3"),
        ("whole", "9" * 6000),
        ("number", "nan"),
        ("number", "inf"),
        ("flag", "maybe"),
        ("flag", ""),
    ],
)
def test_a_form_spells_numbers_and_flags_plainly(kind: str, value: str) -> None:
    from dimrt.serve.errors import HttpError

    with pytest.raises(HttpError):
        Field("field", kind, "", 0, 1e9).read(value, False)  # type: ignore[arg-type]
