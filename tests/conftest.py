"""Fixtures shared by all tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the numeric fixtures of the original inference."""
    return Path(__file__).parent / "fixtures" / "reference"
