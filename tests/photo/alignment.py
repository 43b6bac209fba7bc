"""How far a picture lies beside another one, by phase correlation; and how sharp it is."""

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
LOWEST = 0.12
"""Frequencies up to this one (cycles a pixel) are compared: an enlarged picture has no others."""
FINE = 16
"""Steps in which a pixel's shift is looked for."""


def shift(picture: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Where `picture` lies, in pixels down and across from `reference`, both [h, w, 3]; to a sixteenth of a pixel."""
    window = np.outer(np.hanning(picture.shape[0]), np.hanning(picture.shape[1]))
    spectra = []
    for one in (picture, reference):
        luma = one.astype(np.float32) @ LUMA
        spectra.append(np.fft.fft2((luma - luma.mean()) * window))
    cross = spectra[0] * spectra[1].conj()
    down, across = np.fft.fftfreq(picture.shape[0]), np.fft.fftfreq(picture.shape[1])
    low = np.hypot(down[:, None], across[None]) < LOWEST
    phase = np.where(low, cross / np.maximum(np.abs(cross), 1e-9), 0)
    steps = np.arange(-4 * FINE, 4 * FINE + 1) / FINE
    rows, columns = np.exp(2j * np.pi * np.outer(steps, down)), np.exp(2j * np.pi * np.outer(across, steps))
    surface = (rows @ phase @ columns).real
    row, column = np.unravel_index(surface.argmax(), surface.shape)
    return np.array([steps[row], steps[column]])


def shift_and_scale(picture: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Largest shift, in pixels, and largest change of scale, as a share, from the shifts of the four quarters."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    shifts = np.empty((2, 2, 2))
    for row in (0, 1):
        for column in (0, 1):
            part = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
            shifts[row, column] = shift(picture[part], reference[part])
    grown = (shifts[1, :, 0] - shifts[0, :, 0]).mean() / height, (shifts[:, 1, 1] - shifts[:, 0, 1]).mean() / width
    return float(np.abs(shifts.mean((0, 1))).max()), float(np.abs(grown).max())


def sharpness(picture: np.ndarray) -> float:
    """Energy of the gradients."""
    total = 0.0
    for axis in (0, 1):
        step = np.diff(picture.astype(np.int32 if picture.dtype == np.uint16 else np.int16), axis=axis)
        total += float(np.square(step, dtype=np.float32).mean(dtype=np.float64))
    return total
