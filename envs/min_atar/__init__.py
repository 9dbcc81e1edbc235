"""The games of MinAtar (Young and Tian 2019), exactly: sticky actions, no time limit of their own.

https://arxiv.org/abs/1903.03176. "-v1" offers a game's own actions, "-v0" all six, as the package MinAtar
registers them; "Breakout-MinAtar" and its like are "-v1". Only Freeway ends by its clock.
"""

from functools import partial

from jaxrl.envs.entry import Entry, own
from jaxrl.envs.min_atar import asterix, breakout, freeway, seaquest, space_invaders

_ORIGINAL = "MinAtar 1.0.15"


def _entries(game: str, make) -> dict[str, Entry]:
    minimal = own(make, None, _ORIGINAL)
    return {
        f"MinAtar/{game}-v1": minimal,
        f"MinAtar/{game}-v0": own(partial(make, minimal_actions=False), None, _ORIGINAL),
        f"{game}-MinAtar": minimal,
    }


ENTRIES: dict[str, Entry] = {
    **_entries("Asterix", asterix.make),
    **_entries("Breakout", breakout.make),
    **_entries("Freeway", freeway.make),
    **_entries("Seaquest", seaquest.make),
    **_entries("SpaceInvaders", space_invaders.make),
}
