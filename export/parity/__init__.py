"""Parity with the original inference: numeric fixtures against our model and the runtime's own host code."""
