"""Distillation: a painter that needs one to four steps and no guidance, from one that needs thirty with it."""
