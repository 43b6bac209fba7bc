"""Photos: reading, fitting to the model's resolution, carrying the change back to full size, writing."""
