"""What the endpoints share: the editor behind its queue, the photos, the jobs."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeVar

from dimrt.editor import Editor
from dimrt.errors import BundleError, InputError
from dimrt.events import Event
from dimrt.jobs import Jobs
from dimrt.options import EditOptions
from dimrt.photo.limits import Limits
from dimrt.photo.mask import Mask, parse_region, read_mask
from dimrt.photo.read import Photo, photo_size, read_photo
from dimrt.request import resolve
from dimrt.result import EditResult
from dimrt.serve.errors import HttpError
from dimrt.serve.photos import Photos, StoredPhoto
from dimrt.serve.records import Records
from dimrt.serve.settings import Settings
from dimrt.session import merged

ANY_SIZE = Limits(pixels=1 << 62)
"""For headers: their size is judged here."""
BYTES_A_PIXEL = 4
"""Of a photo that isn't decoded yet: color and alpha in 8 bits."""

Value = TypeVar("Value")
Edit = Callable[[Editor], Generator[Event, None, EditResult]]


class Service:
    """One editor and what belongs to it. Made and used in the event loop's thread, except where it says otherwise.

    Attributes:
        settings: limits.
        editor: only its facts are read here; edits go through `jobs`.
        jobs, photos, records: the queue, what was uploaded, what was asked for.
    """

    def __init__(self, editor: Editor, settings: Settings) -> None:
        """Start the queue of an editor; from here on nobody else may call it."""
        self.settings = settings
        self.editor = editor
        self.jobs = Jobs(editor, settings.queue)
        self.photos = Photos(settings.photo_memory)
        self.records = Records(settings.result_memory)
        self._uploads = asyncio.Semaphore(settings.uploads)
        self._encodings = asyncio.Semaphore(settings.uploads)

    def uploading(self, kind: str = "") -> AbstractAsyncContextManager[Any]:
        """A turn to read a body and decode it: so many photos are in memory at a time besides the kept ones.

        Args:
            kind: Content-Type of the body; JSON holds no photo and needs no turn.
        """
        return nullcontext() if kind.startswith("application/json") else self._uploads

    async def encoding(self, encode: Callable[[], Value]) -> Value:
        """Run an encoder in a thread, when it's its turn."""
        async with self._encodings:
            return await asyncio.to_thread(encode)

    async def decoded(self, data: bytes) -> StoredPhoto:
        """A photo from an upload, its size checked and room made before it's decoded.

        Raises:
            HttpError: 413 too many pixels, 429 no room.
            InputError: it can't be read.
        """
        width, height = await asyncio.to_thread(photo_size, data, ANY_SIZE)
        if width * height > self.settings.max_pixels:
            limit = self.settings.max_pixels
            raise HttpError(
                413,
                f"the photo has {width:,} x {height:,} pixels, more than the limit of {limit:,} (--max-pixels)",
                code="too_many_pixels",
            )
        self.photos.make_room(width * height * BYTES_A_PIXEL, self.records.drop_oldest)
        return self.photos.hold(await asyncio.to_thread(read_photo, data, Limits(pixels=self.settings.max_pixels)))

    async def mask(self, data: bytes, photo: Photo) -> Mask:
        """A mask from an upload, of the photo's size, which is checked before it's decoded.

        Raises:
            InputError: it can't be read, or doesn't fit the photo.
        """
        size = await asyncio.to_thread(photo_size, data, ANY_SIZE)
        if size != photo.size:
            raise InputError(
                f"the mask is {size[0]} x {size[1]} and the photo is {photo.size[0]} x {photo.size[1]} (upright); "
                "send a mask of exactly the photo's size"
            )
        return await asyncio.to_thread(read_mask, data, photo.size)

    def options(self, values: dict[str, Any], photo: Photo | None, mask: Mask | None) -> EditOptions:
        """The options of a request, checked against the bundle and the photo before anything is queued.

        Raises:
            InputError: an option can't be used.
            BundleError: the bundle is made for the other task.
        """
        facts = self.editor.bundle.manifest
        task = "generate" if photo is None else "edit"
        if facts.painter.task != task:
            can, path = ("edits photos", "edits") if task == "generate" else ("paints from text", "generations")
            raise BundleError(
                f"{facts.name}, the bundle of this server, {can} and does nothing else: use /v1/images/{path}, or "
                "start the server with another --bundle"
            )
        if photo is not None and "region" in values:
            values = {**values, "region": parse_region(values["region"], photo.size)}
        options = EditOptions(**values, mask=mask)
        resolve(options, facts)
        return options

    def check_instructions(self, instructions: list[str]) -> None:
        """Refuse empty ones before they wait in the queue.

        Raises:
            InputError: one says nothing.
        """
        if not merged(instructions).strip():
            raise InputError("an instruction is empty; say in words what to change")


def edit_of(stored: StoredPhoto, instructions: list[str], options: EditOptions, base: EditResult | None = None) -> Edit:
    """The work of editing a photo, or a result of it; what was computed of the photo for earlier edits serves again."""

    def work(editor: Editor) -> Generator[Event, None, EditResult]:
        session = stored.session or editor.open(stored.photo)
        stored.session = session
        return session.render(instructions, options, base)

    return work


def generation_of(prompt: str, options: EditOptions) -> Edit:
    """The work of painting from text."""
    return lambda editor: editor.events(None, prompt, options)
