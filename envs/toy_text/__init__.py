"""Toy text: Gymnasium's small tabular environments, with its transition tables."""

from functools import partial

from jaxrl.envs.entry import Entry, entry_for
from jaxrl.envs.toy_text import blackjack, cliff_walking, frozen_lake, taxi

_CHECKED = "gymnasium 1.3.0"

ENTRIES: dict[str, Entry] = {
    "FrozenLake-v1": entry_for(frozen_lake.make, 100, _CHECKED),
    "FrozenLake8x8-v1": entry_for(partial(frozen_lake.make, map_name="8x8"), 200, _CHECKED),
    "FrozenLake-misc": entry_for(frozen_lake.make, 100, _CHECKED, frozen_lake.limit),  # gymnax's name
    "Taxi-v3": entry_for(taxi.make, 200, _CHECKED),  # v3 differs only in errors of its options
    "Taxi-v4": entry_for(taxi.make, 200, _CHECKED),
    "CliffWalking-v1": entry_for(cliff_walking.make, None, _CHECKED),
    "CliffWalkingSlippery-v1": entry_for(partial(cliff_walking.make, is_slippery=True), None, _CHECKED),
    "Blackjack-v1": entry_for(blackjack.make, None, _CHECKED),
}
