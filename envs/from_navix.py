"""NAVIX, MiniGrid in JAX (Pignatelli et al. 2024, https://arxiv.org/abs/2407.19396), as raw `Env`s.

The package `navix` is an extra. Its `step` resets automatically, so `_step` is used, whose
`step_type` distinguishes termination from a time limit. Its random key is replaced by that of the step.
NAVIX's only time limit is the 100 steps of `navix.make`; MiniGrid's limits are longer.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.wrappers import fix_dtypes, restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

TIME_LIMIT = 100
_SIZES = {
    "Navix-DistShift{}-v0": "1 2",
    "Navix-DoorKey-{}-v0": "5x5 6x6 8x8 16x16 Random-5x5 Random-6x6 Random-8x8 Random-16x16",
    "Navix-Dynamic-Obstacles-{}-v0": "5x5 5x5-Random 6x6 6x6-Random 8x8 16x16",
    "Navix-Empty-{}-v0": "5x5 6x6 8x8 16x16 Random-5x5 Random-6x6 Random-8x8 Random-16x16",
    "Navix-FourRooms-{}": "v0",
    "Navix-GoToDoor-{}-v0": "5x5 6x6 8x8",
    "Navix-KeyCorridor{}-v0": "S3R1 S3R2 S3R3 S4R3 S5R3 S6R3",
    "Navix-LavaGap{}-v0": "S5 S6 S7",
    "Navix-SimpleCrossing{}-v0": "S9N1 S9N2 S9N3 S11N5",
}
# The time limit of each, in steps.
NAMES = {name.format(size): TIME_LIMIT for name, sizes in _SIZES.items() for size in sizes.split()}
OBSERVATIONS = tuple(
    view + who for who in ("", "_first_person") for view in ("symbolic", "categorical", "rgb")
)


def make(navix_id: str, /, observation: str = "symbolic") -> Env:
    """The raw environment with this name.

    Args:
      observation: view of the grid `[H, W]`: "symbolic" `[H, W, 3]` (object, colour, state),
        "categorical" `[H, W]` (object), "rgb" `[8 H, 8 W, 3]`; with "_first_person", the 7 x 7 cells
        around and in front of the agent, as in MiniGrid.

    Raises:
      ValueError: without the package navix, or for another observation.
    """
    if observation not in OBSERVATIONS:
        raise ValueError(f"observation must be one of {', '.join(OBSERVATIONS)}, not {observation!r}")
    try:
        import navix
    except ImportError as error:
        raise ValueError(
            f"navix/{navix_id} needs the package navix: pip install 'jaxrl[navix]' ({error})"
        ) from error
    env = navix.make(navix_id, max_steps=TIME_LIMIT, observation_fn=getattr(navix.observations, observation))

    def reset(key):
        state = env.reset(key)
        return state, restart(state.observation)

    def step(key, state, action):
        state = env._step(state.replace(state=state.state.replace(key=key)), action)
        return state, transition(state.observation, state.reward, state.is_termination())

    seen = jax.eval_shape(env.reset, jax.random.key(0)).observation
    # With signed object ids, a wall is -1.
    low = 0 if jnp.issubdtype(seen.dtype, jnp.unsignedinteger) else -1
    high = 255 if observation.startswith("rgb") else 254  # `encoding.encode` would scale bytes up to 255
    space = Box(low, high, seen.shape, np.dtype(seen.dtype))
    return fix_dtypes(Env(reset, step, space, Discrete(len(env.action_set))))


def params(navix_id: str) -> dict[str, str]:
    """The scalar parameters of `make` with their defaults."""
    return {"observation": OBSERVATIONS[0]}
