"""The games of MinAtar (Young and Tian 2019), exactly: with sticky actions, without time limits.

https://arxiv.org/abs/1903.03176. "-v1" has only the actions that a game uses, "-v0" all six, as registered by
the package MinAtar; "Breakout-MinAtar" and similar names are "-v1". Only Freeway has a fixed length.
"""

from functools import partial

from jaxrl.envs.entry import Entry, entry_for
from jaxrl.envs.min_atar import asterix, breakout, freeway, seaquest, space_invaders

_ORIGINAL = "MinAtar 1.0.15"


def _entries(game: str, make) -> dict[str, Entry]:
    minimal = entry_for(make, None, _ORIGINAL)
    return {
        f"MinAtar/{game}-v1": minimal,
        f"MinAtar/{game}-v0": entry_for(partial(make, minimal_actions=False), None, _ORIGINAL),
        f"{game}-MinAtar": minimal,
    }


ENTRIES: dict[str, Entry] = {
    **_entries("Asterix", asterix.make),
    **_entries("Breakout", breakout.make),
    **_entries("Freeway", freeway.make),
    **_entries("Seaquest", seaquest.make),
    **_entries("SpaceInvaders", space_invaders.make),
}
