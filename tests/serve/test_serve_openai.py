"""The official `openai` client drives the server: on the nano bundle, and on a stand-in for what nano can't do."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest
from openai.types import ImageEditCompletedEvent, ImageEditPartialImageEvent, ImageGenCompletedEvent
from openai.types.image import Image as ImageData
from PIL import Image
from serving import TOKEN, Running, pixels_of, png, running
from standin_editor import STEPS, StandInEditor

from dimrt import EditOptions, Editor
from dimrt.photo.read import read_photo

PHOTO = Path(__file__).parents[2] / "benchmarks" / "photos" / "chelsea.jpg"


def client_of(server: Running, token: str = TOKEN) -> openai.OpenAI:
    """The client, as its users set it up."""
    return openai.OpenAI(base_url=f"{server.origin}/v1", api_key=token, max_retries=0, timeout=120)


def picture(data: ImageData) -> Image.Image:
    """The picture of an answer."""
    assert data.b64_json is not None
    return Image.open(io.BytesIO(base64.b64decode(data.b64_json)))


@pytest.fixture(scope="module")
def nano() -> Iterator[Running]:
    editor = Editor.load(device="cpu", threads=1)
    with running(editor) as server:
        yield server
    editor.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with running(StandInEditor(), queue=3, heartbeat=0.05) as server:
        yield server


@pytest.fixture
def server(shared: Running) -> Running:
    """The stand-in, as new."""
    shared.editor.reset()
    return shared


def test_an_edit_has_the_bytes_of_the_editor_itself(nano: Running) -> None:
    photo, client = read_photo(PHOTO), client_of(nano)
    answer = client.images.edit(
        model="gpt-image-1", image=PHOTO.open("rb"), prompt="make it warmer", extra_body={"seed": 5}
    )
    assert (answer.size, answer.output_format, answer.background) == ("451x300", "png", "opaque")
    (data,) = answer.data or ()
    made = picture(data)
    facts = data.dimrt  # type: ignore[attr-defined]  # ours, besides OpenAI's
    assert (facts["seed"], facts["bundle"]) == (5, nano.editor.bundle.manifest.name)
    assert data.revised_prompt == facts["plan"]
    assert "warmer" in facts["plan"]
    expected = Editor.load(device="cpu", threads=1).edit(photo, "make it warmer", EditOptions(seed=5))
    assert np.array_equal(np.asarray(made), expected.image)


def test_a_mask_keeps_every_pixel_outside(nano: Running) -> None:
    photo = read_photo(PHOTO).pixels
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[100:200, 150:300] = 0
    mask = io.BytesIO()
    Image.fromarray(np.dstack([np.zeros_like(photo), alpha])).save(mask, "PNG")
    answer = client_of(nano).images.edit(image=PHOTO.open("rb"), mask=mask.getvalue(), prompt="make it grayscale")
    made = np.asarray(picture((answer.data or [])[0]))
    assert np.array_equal(made[alpha == 255], photo[alpha == 255])
    assert not np.array_equal(made[alpha == 0], photo[alpha == 0])


def test_several_pictures_have_the_seeds_that_follow(server: Running) -> None:
    answer = client_of(server).images.edit(
        image=png(), prompt="make it warmer", n=3, extra_body={"seed": 41, "steps": 1}
    )
    assert [data.dimrt["seed"] for data in answer.data or ()] == [41, 42, 43]  # type: ignore[attr-defined]
    assert [options.seed for options in server.editor.seen] == [41, 42, 43]


@pytest.mark.parametrize(("format", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_format_and_compression(server: Running, format: str, kind: str) -> None:
    client, photo = client_of(server), png(200, 150)
    low, high = (
        client.images.edit(image=photo, prompt="x", output_format=format, output_compression=level)  # type: ignore[call-overload]
        for level in (10, 100)
    )
    assert picture(low.data[0]).format == kind
    assert (len(low.data[0].b64_json) < len(high.data[0].b64_json)) == (format != "png")


def test_a_size_is_a_box_to_fit_in(server: Running) -> None:
    client, photo = client_of(server), png(300, 200)
    for size, wanted in [
        ("auto", (300, 200)),
        ("150x150", (150, 100)),
        ("1024x1024", (300, 200)),
        ("300x20", (30, 20)),
    ]:
        answer = client.images.edit(image=photo, prompt="x", size=size)
        assert picture((answer.data or [])[0]).size == wanted
        assert answer.size == f"{wanted[0]}x{wanted[1]}"


def test_a_photo_keeps_its_transparency(server: Running) -> None:
    photo = png(40, 30, 4)
    answer = client_of(server).images.edit(image=photo, prompt="x")
    assert answer.background == "transparent"
    assert np.array_equal(np.asarray(picture((answer.data or [])[0]))[..., 3], pixels_of(photo)[..., 3])


@pytest.mark.parametrize("wanted", [0, 1, 2, 3])
def test_unfinished_pictures_stream_before_the_finished_one(server: Running, wanted: int) -> None:
    stream = client_of(server).images.edit(
        image=png(), prompt="x", stream=True, partial_images=wanted, output_format="webp"
    )
    *partial, done = list(stream)
    assert [event.partial_image_index for event in partial if isinstance(event, ImageEditPartialImageEvent)] == list(
        range(wanted)
    )
    assert isinstance(done, ImageEditCompletedEvent)
    assert (done.size, done.output_format, done.usage.total_tokens) == ("48x32", "webp", 0)
    for event in (*partial, done):
        assert Image.open(io.BytesIO(base64.b64decode(event.b64_json))).format == "WEBP"
    assert server.editor.seen[0].previews == (wanted > 0)
    assert wanted < STEPS


def test_unfinished_pictures_are_spread_over_the_steps(server: Running) -> None:
    stream = client_of(server).images.edit(image=png(), prompt="x", stream=True, partial_images=1)
    first = next(iter(stream))
    stream.close()
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(first.b64_json)))).max() == 40 * STEPS // 2


def test_a_stream_of_several_pictures_has_them_one_after_the_other(server: Running) -> None:
    events = list(client_of(server).images.edit(image=png(), prompt="x", n=2, stream=True, partial_images=1))
    assert [event.type.split(".")[1] for event in events] == ["partial_image", "completed"] * 2


def test_signs_of_life_in_a_stream_do_not_bother_the_client(server: Running) -> None:
    server.editor.hold = "plan"
    stream = client_of(server).images.edit(image=png(), prompt="x", stream=True)
    assert server.editor.reached.wait(30)
    server.editor.release.wait(0.3)
    server.editor.release.set()
    assert [event.type for event in stream] == ["image_edit.completed"]


def test_a_failure_in_a_stream_is_an_error_of_the_client(server: Running) -> None:
    from dimrt.errors import InputError

    server.editor.fail = InputError("the plan has too many tokens")
    with pytest.raises(openai.APIError, match="too many tokens"):
        list(client_of(server).images.edit(image=png(), prompt="x", stream=True))


def test_the_model_that_is_loaded_is_listed(server: Running) -> None:
    (model,) = client_of(server).models.list().data
    assert (model.id, model.owned_by) == (server.editor.bundle.manifest.name, "dimrt")


def test_refusals_are_the_clients_own_exceptions(server: Running) -> None:
    client = client_of(server)
    with pytest.raises(openai.AuthenticationError):
        client_of(server, "a wrong token").models.list()
    with pytest.raises(openai.BadRequestError, match="not an image") as caught:
        client.images.edit(image=b"not a picture", prompt="x")
    assert caught.value.code == "invalid_input"
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(image=png(), prompt="x", extra_body={"step": 3})
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", "step")
    with pytest.raises(openai.BadRequestError, match="one photo"):
        client.images.edit(image=[png(), png()], prompt="x")
    with pytest.raises(openai.BadRequestError, match="48 x 32"):
        client.images.edit(image=png(), mask=png(10, 10), prompt="x")
    for wish in ({"size": "big"}, {"n": 11}, {"response_format": "url"}, {"background": "transparent"}, {"prompt": ""}):
        with pytest.raises(openai.BadRequestError) as caught:
            client.images.edit(**{"image": png(), "prompt": "x", **wish})  # type: ignore[call-overload]
        assert caught.value.param == next(iter(wish))
    with pytest.raises(openai.NotFoundError):
        client.get("/jobs/nothing", cast_to=object)


def test_a_full_queue_is_a_rate_limit(server: Running) -> None:
    server.editor.hold = "plan"  # else jobs may be done as fast as they come
    with pytest.raises(openai.RateLimitError) as caught:
        client_of(server).images.edit(image=png(), prompt="x", n=8)
    assert caught.value.response.headers["retry-after"]


def test_a_bundle_for_photos_does_not_paint_from_text(server: Running) -> None:
    with pytest.raises(openai.BadRequestError, match=r"edits photos.*/v1/images/edits"):
        client_of(server).images.generate(prompt="a cat")
    with pytest.raises(openai.BadRequestError, match="composite"):
        client_of(server).images.generate(prompt="a cat", extra_body={"composite": "tone"})


def test_a_bundle_for_text_paints_and_does_not_edit(tiny_generate_bundle: Path) -> None:
    editor = Editor.load(tiny_generate_bundle, device="cpu", threads=1)
    with running(editor) as server:
        client, wish = client_of(server), {"steps": 2, "think": False}
        answer = client.images.generate(prompt="a cat", n=2, size="64x64", extra_body=wish)
        assert [picture(data).size for data in answer.data or ()] == [(64, 64)] * 2
        assert answer.data[0].b64_json != answer.data[1].b64_json
        (done,) = client.images.generate(prompt="a cat", stream=True, extra_body=wish)
        assert isinstance(done, ImageGenCompletedEvent)
        assert done.size == "128x128"
        with pytest.raises(openai.BadRequestError, match=r"paints from text.*/v1/images/generations"):
            client.images.edit(image=png(), prompt="x")
    editor.close()
