"""Precision: which weights and activations have which format (recipes), and how a graph is given them."""

from dimrt.export.precision.recipe import FP16, FP32, RECIPES, Recipe, Rule, load_recipe

__all__ = ["FP16", "FP32", "RECIPES", "Recipe", "Rule", "load_recipe"]
