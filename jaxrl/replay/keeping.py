"""What checkpoints hold of the state of an algorithm with a replay."""

from typing import Any, Literal

import jax

from jaxrl.replay.lanes import replays
from jaxrl.types import Keep, PyTree

MOST_BYTES = 2**28  # of the replays of all agents, in a checkpoint


def keep(choice: Literal["auto", "yes", "no"]) -> Keep:
    """`Algorithm.keep` for a state with the fields `replay` and `stream`.

    Without the replay, a resumed run starts with the one that `init` fills. The environments are then those
    of `init`, too, so that their next steps follow the ones that are stored.

    Args:
      choice: whether checkpoints hold the replay; auto: if those of all agents have at most 256 MB.

    Raises:
      ValueError: another choice.
    """
    if choice not in ("auto", "yes", "no"):
        raise ValueError(f"keep_replay = {choice!r} is not known: take 'auto', 'yes' or 'no'")

    def part(state: Any) -> PyTree:
        kept = choice == "yes" or (choice == "auto" and num_bytes(state) <= MOST_BYTES)
        return state if kept else state.replace(replay=(), stream=())

    return part


def num_bytes(tree: PyTree) -> int:
    """Bytes of the replays in a state; arrays or their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(replays(tree)))
