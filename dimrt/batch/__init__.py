"""Editing folders of photos, on one machine or several."""
