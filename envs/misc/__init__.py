"""Small environments of gymnax's "misc" collection, corrected, and a deceptive maze."""

from jaxrl.envs.entry import Entry, entry_for
from jaxrl.envs.misc import deceptive_maze, four_rooms, pong

ENTRIES: dict[str, Entry] = {
    "DeceptiveMaze-misc": entry_for(deceptive_maze.make, 60, "a second implementation in Python"),
    "FourRooms-misc": entry_for(four_rooms.make, 500, "a table of the map in NumPy"),
    # Half of the time of a step would go into an initial observation that few lanes need: 3 times as fast.
    "Pong-misc": entry_for(pong.make, 1000, "a second implementation in NumPy")._replace(resets="optimistic"),
}
