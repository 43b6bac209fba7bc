"""What tests of engines share."""

from dataclasses import dataclass

from dimrt.bundle import Bundle
from dimrt.engines.build import BuildEvent
from dimrt.engines.cache import EngineCache
from dimrt.engines.record import Record


@dataclass(frozen=True)
class Build:
    """One build of the whole bundle. Read only: copy the cache to change it."""

    bundle: Bundle
    cache: EngineCache
    records: tuple[Record, ...]
    events: tuple[BuildEvent, ...]
