"""The painter: condition, source latent and noise become the edited latent."""

from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from dimrt.backends.base import Backend
from dimrt.bundle import Bundle
from dimrt.events import Event, Progress
from dimrt.schedule import Step

Latent = NDArray[np.float32]


class Painter:
    """Runs the `context` and `step` graphs of one bundle."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._bundle = bundle
        self._backend = backend

    def paint(
        self,
        condition: NDArray[np.float32],
        source: Latent | None,
        noise: Latent,
        schedule: Sequence[Step],
        guidance_scale: float,
    ) -> Generator[Event, None, Latent]:
        """Paint step by step; the latent stays on the device in between.

        The null condition takes part with as many rows as the condition has. At guidance scale 1 only the condition
        is evaluated.

        Args:
            condition: float32 [N, condition_channels].
            source: latent of the photo [1, C, h, w] (edit), or None (generate).
            noise: start latent [1, C, h, w].
            schedule: from `dimrt.schedule.flow_schedule`.
            guidance_scale: classifier-free guidance scale.
        """
        context = self._context(condition, guided=guidance_scale != 1.0)
        step = self._backend.engine("step")
        constant = {"context": context, "guidance": np.array([guidance_scale], np.float32)}
        if source is not None:
            constant["source"] = self._backend.to_device(source)
        latent = self._backend.to_device(noise)
        previous = self._backend.to_device(np.zeros_like(noise))
        for done, call in enumerate(schedule, 1):
            outputs = step.run(
                {
                    **constant,
                    "latent": latent,
                    "previous": previous,
                    "timestep": np.array([call.timestep], np.float32),
                    "coefficients": np.array(call.coefficients, np.float32),
                },
                keep=("next_latent", "data"),
            )
            latent, previous = outputs["next_latent"], outputs["data"]
            yield Progress("paint", done)
        return np.array(self._backend.to_host(latent), np.float32)

    def _context(self, condition: NDArray[np.float32], guided: bool) -> object:
        """Cross-attention keys and values of every layer, on the device."""
        rows = condition[None]
        if guided:
            null = self._bundle.table("null_condition")[: len(condition)]
            rows = np.stack([np.asarray(null, np.float32), condition])
        return self._backend.engine("context").run({"condition": rows}, keep=("context",))["context"]


def start_noise(seed: int, shape: tuple[int, ...]) -> Latent:
    """Gaussian start noise, float32: the same numbers for a seed on every machine.

    Drawn with numpy's frozen legacy normal generator over MT19937, which numpy promises never to change.
    """
    bits = np.random.MT19937(np.random.SeedSequence(seed))
    return np.random.RandomState(bits).standard_normal(shape).astype(np.float32)
