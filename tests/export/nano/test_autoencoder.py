"""The autoencoder is the PCA code exactly, and fitting it is deterministic."""

import numpy as np
import torch

from dimrt.export.nano.autoencoder import build_autoencoder, fit_basis, project, to_pictures, to_pixels


def _pictures(count: int, side: int = 64) -> np.ndarray:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (count, side // 4, side // 4, 3))
    fine = coarse.repeat(4, 1).repeat(4, 2) + rng.integers(-20, 20, (count, side, side, 3))
    return fine.clip(0, 255).astype(np.uint8)


def _project(pictures: np.ndarray, basis) -> tuple[np.ndarray, np.ndarray]:
    """The code and its reconstruction, written with plain matrices."""
    count, side = len(pictures), pictures.shape[1] // 8
    patches = (pictures / 127.5 - 1).reshape(count, side, 8, side, 8, 3).transpose(0, 1, 3, 2, 4, 5)
    code = (patches.reshape(count, side, side, 192) - basis.mean) @ basis.components / basis.scale
    back = (code * basis.scale) @ basis.components.T + basis.mean
    back = back.reshape(count, side, side, 8, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(count, side * 8, side * 8, 3)
    return code.transpose(0, 3, 1, 2), back.transpose(0, 3, 1, 2)


def test_the_model_computes_the_principal_components():
    pictures = _pictures(6)
    basis = fit_basis(pictures, channels=8)
    model = build_autoencoder(basis)
    code, back = _project(pictures[:2], basis)
    with torch.no_grad():
        latent = model.encode(to_pixels(pictures[:2]), return_dict=False)[0]
        decoded = model.decode(latent, return_dict=False)[0]
    np.testing.assert_allclose(latent.numpy(), code, atol=1e-4)
    np.testing.assert_allclose(project(pictures[:2], basis), code, atol=1e-4)
    np.testing.assert_allclose(decoded.numpy(), back, atol=2e-3)


def test_latents_have_unit_mean_variance_and_fitting_repeats():
    pictures = _pictures(6)
    basis, again = fit_basis(pictures, channels=8), fit_basis(pictures, channels=8)
    np.testing.assert_array_equal(basis.components, again.components)
    code, _ = _project(pictures, basis)
    assert abs(code.transpose(1, 0, 2, 3).reshape(8, -1).var(1).mean() - 1) < 1e-6


def test_every_parameter_can_still_learn():
    model = build_autoencoder(fit_basis(_pictures(6), channels=8)).train()
    pixels = to_pixels(_pictures(1))
    latent = model.encode(pixels, return_dict=False)[0]
    (model.decode(latent, return_dict=False)[0] - pixels).square().mean().backward()
    norms = [p.grad for n, p in model.named_parameters() if n.endswith("norm.weight")]
    assert norms
    assert all(grad.abs().max() > 0 for grad in norms)


def test_pixels_and_pictures_are_inverse():
    pictures = _pictures(2)
    np.testing.assert_array_equal(to_pictures(to_pixels(pictures)), pictures)
