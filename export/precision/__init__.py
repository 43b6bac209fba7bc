"""Precision recipes: which dtype each graph's weights and matrix products have, and the error each graph may show."""

from dimrt.export.precision.recipe import FP16, FP32, RECIPES, Recipe

__all__ = ["FP16", "FP32", "RECIPES", "Recipe"]
