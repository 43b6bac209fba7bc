"""The OpenAPI description: it is valid, it is of these routes, and requests made from it find no mistake."""

import functools
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.transport.serialization import Binary
from serving import BEARER, Running, png, running
from standin_editor import StandInEditor

from dimrt.serve.app import ROUTES
from dimrt.serve.fields import IMAGE_EDIT, IMAGE_GENERATE, JOB
from dimrt.serve.openapi import description
from dimrt.serve.upload import MAX_JSON

PAGES = {("GET", "/"), ("GET", "/page/{name}"), ("GET", "/favicon.ico")}
TYPES = {"object", "array", "string", "integer", "number", "boolean", "null"}
WAYS = {"get", "post", "delete", "put", "patch"}
FILES = [png(), png(48, 32, 4), png(7, 9), b"", b"GIF89a", png()[:100]]
CHECKS = [
    schemathesis.checks.CHECKS.get_by_names([name])[0]
    for name in schemathesis.checks.CHECKS.get_all_names()
    if name not in ("positive_data_acceptance", "ensure_resource_availability", "use_after_free")
]
"""All but three that can't hold: random bytes are no photo (400), and a photo or job may be gone at any time."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(StandInEditor(), queue=1000, heartbeat=0.05) as it:
        yield it


@pytest.fixture(scope="module")
def api(server: Running) -> Any:
    """The description that the server gives, for requests made from it."""
    schemathesis.openapi.format("binary", st.sampled_from(FILES).map(Binary))
    schema = schemathesis.openapi.from_dict(server.bare.get("/openapi.json").json())
    schema.config.update(base_url=server.origin)
    return schema


def parts(document: Any) -> Iterator[dict[str, Any]]:
    """Every object within a document, itself included."""
    if isinstance(document, dict):
        yield document
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            yield from parts(part)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(METHOD, path, operation) of the description."""
    for path, item in description()["paths"].items():
        for way in item.keys() & WAYS:
            yield way.upper(), path, item[way]


def test_every_route_is_described_and_nothing_else() -> None:
    assert {(method, path) for method, path, _ in operations()} == {
        (method, path) for method, path, _ in ROUTES
    } - PAGES


def test_it_is_valid(api: Any) -> None:
    api.validate()
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    broken = description()
    del broken["info"]["title"]
    with pytest.raises(Exception, match="title"):
        schemathesis.openapi.from_dict(broken).validate()


def test_its_schemas_mean_what_they_say() -> None:
    document = description()
    for part in parts(document):
        kinds = part.get("type", [])
        if isinstance(kinds, str | list):
            assert set([kinds] if isinstance(kinds, str) else kinds) <= TYPES | {"http"}, part
        if isinstance(part.get("pattern"), str):
            re.compile(part["pattern"])
        if isinstance(part.get("$ref"), str):
            _, *steps = part["$ref"].split("/")
            assert functools.reduce(lambda found, step: found[step], steps, document)
        if isinstance(part.get("required"), list):
            assert set(part["required"]) <= part["properties"].keys()


def test_every_field_that_is_read_is_described() -> None:
    paths = description()["paths"]
    for path, kind, fields in [
        ("/v1/jobs", "application/json", JOB),
        ("/v1/jobs", "multipart/form-data", JOB),
        ("/v1/images/edits", "multipart/form-data", IMAGE_EDIT),
        ("/v1/images/generations", "application/json", IMAGE_GENERATE),
    ]:
        schema = paths[path]["post"]["requestBody"]["content"][kind]["schema"]
        assert {field.name for field in fields} == schema["properties"].keys() - {"photo", "mask", "image"}
        assert schema["additionalProperties"] is False
        assert all(schema["properties"][field.name]["description"] for field in fields)
        assert MAX_JSON > 100_000


def test_what_needs_no_token_says_so() -> None:
    document = description()
    free = {path for _, path, operation in operations() if operation.get("security") == []}
    assert free == {"/health", "/openapi.json"}
    assert document["security"] == [{"token": []}]


def fuzz(server: Running, api: Any, examples: int) -> set[tuple[str, int]]:
    """Send requests made from the description, good and bad, and check every answer against it.

    Returns:
        The pairs of operation and status that there were.
    """
    seen: set[tuple[str, int]] = set()
    photo = server.add_photo()
    job = server.add_job(photo)
    assert server.wait_over(job) == "done"
    turn = itertools.cycle((True, False))

    def send(case: Any) -> None:
        """Half the time of a photo and a job that there are."""
        if case.path_parameters and next(turn) and case.method != "DELETE":
            case.path_parameters["id"] = photo if "photos" in case.path else job
        if isinstance(case.body, dict) and case.path == "/v1/jobs" and next(turn):
            case.body["photo"] = photo
        answer = case.call_and_validate(headers=BEARER, checks=CHECKS)
        seen.add((case.operation.definition.raw["operationId"], answer.status_code))

    bounds = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for found in api.get_all_operations():
        operation = found.ok()
        modes = [schemathesis.GenerationMode.POSITIVE]
        if operation.body or operation.path_parameters:
            modes.append(schemathesis.GenerationMode.NEGATIVE)
        for mode in modes:
            bounds(given(operation.as_strategy(generation_mode=mode))(send))()
    return seen


def test_requests_made_from_it_find_no_mistake(server: Running, api: Any) -> None:
    fuzz(server, api, 4)


@pytest.mark.slow
def test_many_requests_made_from_it_find_no_mistake(server: Running, api: Any) -> None:
    seen = fuzz(server, api, 100)
    reached = {("add_photo", 201), ("add_job", 202), ("edit_image", 200), ("get_image", 200), ("follow_job", 200)}
    assert reached <= seen
