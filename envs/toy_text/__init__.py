"""Toy text: Gymnasium's small tabular worlds, with its transition tables."""

from functools import partial

from jaxrl.envs.entry import Entry, own
from jaxrl.envs.toy_text import blackjack, cliff_walking, frozen_lake, taxi

_CHECKED = "gymnasium 1.3.0"

ENTRIES: dict[str, Entry] = {
    "FrozenLake-v1": own(frozen_lake.make, 100, _CHECKED),
    "FrozenLake8x8-v1": own(partial(frozen_lake.make, map_name="8x8"), 200, _CHECKED),
    "FrozenLake-misc": own(frozen_lake.make, 100, _CHECKED, frozen_lake.limit),  # gymnax's name
    "Taxi-v3": own(taxi.make, 200, _CHECKED),  # as v4: what differed, rain and fickleness, was faulty
    "Taxi-v4": own(taxi.make, 200, _CHECKED),
    "CliffWalking-v1": own(cliff_walking.make, None, _CHECKED),
    "CliffWalkingSlippery-v1": own(partial(cliff_walking.make, is_slippery=True), None, _CHECKED),
    "Blackjack-v1": own(blackjack.make, None, _CHECKED),
}
