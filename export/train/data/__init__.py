"""Training data: rows of published formats, batches of latents and conditions, and the order they are taken in."""
