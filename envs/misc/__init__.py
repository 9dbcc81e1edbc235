"""Small worlds of gymnax's "misc" collection, made right, and a deceptive maze of our own."""

from jaxrl.envs.entry import Entry, own
from jaxrl.envs.misc import deceptive_maze, four_rooms, pong

ENTRIES: dict[str, Entry] = {
    "DeceptiveMaze-misc": own(deceptive_maze.make, 60, "a second implementation in Python"),
    "FourRooms-misc": own(four_rooms.make, 500, "a table of the map in NumPy"),
    # Half of a step would be the picture of a start that hardly any lane needs: 3 times as fast.
    "Pong-misc": own(pong.make, 1000, "a second implementation in NumPy")._replace(resets="optimistic"),
}
