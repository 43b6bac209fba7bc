"""Meters of power and energy: the board's own, whichever it has (power.py)."""
