"""The painter: condition, source latent and noise become the edited latent."""

from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from dimrt.backends.base import Backend, Tensor
from dimrt.bundle import Bundle
from dimrt.events import Event, Preview, Progress
from dimrt.photo.read import Pixels
from dimrt.schedule import Interval, Step, guidance_scales

Latent = NDArray[np.float32]
Show = Callable[[Latent], Pixels]
"""Makes a small picture, uint8 [h, w, 3], of a latent without noise."""


class Painter:
    """Runs the `context` and `step` graphs of one bundle."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._bundle = bundle
        self._backend = backend

    def paint(
        self,
        condition: Tensor,
        source: Tensor | None,
        noise: Latent,
        schedule: Sequence[Step],
        guidance_scale: float,
        seed: int,
        show: Show | None = None,
        interval: Interval | None = None,
    ) -> Generator[Event, None, Tensor]:
        """Paint step by step; the latent stays on the device in between, and the host sends scalars only.

        The null condition takes part with as many rows as the condition has. Where the guidance scale is 1 only the
        condition is evaluated.

        Args:
            condition: N rows of condition_channels, on the host or the device.
            source: latent of the photo [1, C, h, w] (edit), or None (generate).
            noise: start latent [1, C, h, w].
            schedule: from `dimrt.schedule.painter_schedule`.
            guidance_scale: classifier-free guidance scale.
            seed: of the noise that the schedule adds between steps.
            show: makes the `Preview` that follows each step.
            interval: noise levels within which there is guidance, as `dimrt.schedule.guidance_scales` takes it.

        Returns:
            The painted latent [1, C, h, w] on the device.
        """
        step = self._backend.engine("step")
        constant: dict[str, Tensor] = {}
        if source is not None:
            constant["source"] = self._backend.to_device(source) if isinstance(source, np.ndarray) else source
        latent = self._backend.to_device(noise)
        previous = self._backend.zeros(noise.shape, noise.dtype)
        fresh, done = further_noise(seed, noise.shape), 0
        scales = guidance_scales(schedule, guidance_scale, interval)
        for scale, calls in groupby(zip(schedule, scales, strict=True), key=lambda pair: pair[1]):
            constant.pop("context", None)  # freed before the next one is made: it's the largest tensor here
            constant["context"] = self._context(condition, guided=scale != 1.0)
            constant["guidance"] = np.array([scale], np.float32)
            for call, _ in calls:
                if call.fresh:
                    previous = self._backend.to_device(next(fresh))
                scalars = {
                    "timestep": np.array([call.timestep], np.float32),
                    "coefficients": np.array(call.coefficients, np.float32),
                }
                outputs = step.run(
                    {**constant, **scalars, "latent": latent, "previous": previous}, keep=("next_latent", "data")
                )
                latent, previous = outputs["next_latent"], outputs["data"]
                self._backend.finish()
                done += 1
                yield Progress("paint", done)
                if show is not None:
                    yield Preview(done, show(np.asarray(self._backend.to_host(previous), np.float32)))
        return latent

    def _context(self, condition: Tensor, guided: bool) -> Tensor:
        """Cross-attention keys and values of every layer, on the device."""
        count, channels = self._backend.shape(condition)[-2:]
        parts = [(condition, slice(None))]
        if guided:
            parts.insert(0, (np.asarray(self._bundle.table("null_condition")[:count]), slice(None)))
        (spec,) = self._bundle.manifest.graphs["context"].inputs
        rows = self._backend.join(parts, (len(parts), count, channels), spec.dtype)
        return self._backend.engine("context").run({"condition": rows}, keep=("context",))["context"]


def start_noise(seed: int, shape: tuple[int, ...]) -> Latent:
    """Gaussian start noise, float32: the same numbers for a seed on every machine.

    Drawn with numpy's frozen legacy normal generator over MT19937, which numpy promises never to change.
    """
    return _normal(seed).standard_normal(shape).astype(np.float32)


def further_noise(seed: int, shape: tuple[int, ...]) -> Iterator[Latent]:
    """Noise for the steps after the first, one tensor a time: what the generator gives after `start_noise`."""
    random = _normal(seed)
    random.standard_normal(shape)
    while True:
        yield random.standard_normal(shape).astype(np.float32)


def _normal(seed: int) -> np.random.RandomState:
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
