"""What the tests of the page share: one browser a module, and the stand-in server, as new for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from page_standin import StandIn
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from page_harness import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def running(browser: Browser) -> Iterator[StandIn]:
    from page_standin import StandIn

    with StandIn() as standin:
        yield standin


@pytest.fixture
def server(running: StandIn) -> StandIn:
    running.reset()
    return running
