"""Images of environment states, drawn without a display. `DRAWINGS` lists what can be drawn.

    state, timestep = env.reset(key)
    pixels = render.frame("CartPole-v1", state, timestep.obs)            # [H, W, 3] uint8
    render.write_gif("episode.gif", [render.caption(pixels, "step 0"), ...])
    html = render.page("brax/ant", states)                               # brax's own viewer

Images are drawn on the host with NumPy and Pillow.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxrl.envs.render import boards, classic, theirs, toy_text, worlds
from jaxrl.envs.render.brax_page import page as page
from jaxrl.envs.render.gif import CAPTION_HEIGHT as CAPTION_HEIGHT
from jaxrl.envs.render.gif import caption as caption
from jaxrl.envs.render.gif import write_gif as write_gif
from jaxrl.envs.render.paper import (  # noqa: F401
    BLUE,
    GREEN,
    GREY,
    INK,
    LINE,
    NIGHT,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    VERMILLION,
    WHITE,
    YELLOW,
)

# (state, obs, **params) -> [H, W, 3]
DRAWINGS: dict[str, Callable] = {
    "CartPole-v1": classic.cart_pole(),
    "Acrobot-v1": classic.acrobot,
    "Pendulum-v1": classic.pendulum,
    "MountainCar-v0": classic.mountain_car(goal=0.5),
    "MountainCarContinuous-v0": classic.mountain_car(goal=0.45),
    "CartPole-bsuite": classic.cart_pole(limit=3.0),
    "CartPoleSwingup-bsuite": classic.cart_pole(limit=3.0, swings=True),
    "MountainCar-bsuite": classic.mountain_car(goal=0.5),
    "PointRobot-misc": classic.point_robot,
    "Reacher-misc": classic.reacher,
    "Swimmer-misc": classic.swimmer,
    "Asterix-MinAtar": boards.asterix,
    "Breakout-MinAtar": boards.breakout,
    "Freeway-MinAtar": boards.freeway,
    "Seaquest-MinAtar": boards.seaquest,
    "SpaceInvaders-MinAtar": boards.space_invaders,
    "Catch-bsuite": boards.catch,
    "DeepSea-bsuite": boards.deep_sea,
    "DeceptiveMaze-misc": classic.deceptive_maze,
    "FourRooms-misc": boards.four_rooms,
    "MetaMaze-misc": boards.meta_maze,
    "Pong-misc": boards.pong,
    "FrozenLake-v1": toy_text.frozen_lake("4x4"),
    "FrozenLake8x8-v1": toy_text.frozen_lake("8x8"),
    "FrozenLake-misc": toy_text.frozen_lake("4x4"),
    "CliffWalking-v1": toy_text.cliff_walking,
    "CliffWalkingSlippery-v1": toy_text.cliff_walking,
    "Taxi-v3": toy_text.taxi,
    "Taxi-v4": toy_text.taxi,
    "Blackjack-v1": toy_text.blackjack,
    "MemoryChain-bsuite": worlds.memory_chain,
    "UmbrellaChain-bsuite": worlds.umbrella_chain,
    "DiscountingChain-bsuite": worlds.discounting_chain,
    "world/chain": worlds.CHAIN,
    "world/garnet": worlds.garnet,
    "world/grid": worlds.grid,
    "world/loop": worlds.loop,
    "world/river-swim": worlds.RIVER,
    "world/t-maze": worlds.t_maze,
    "world/two-colours": worlds.two_colours,
    "world/two-state": worlds.two_state,
}


def frame(name: str, env_state: Any, obs: Any, params: dict[str, Any] | None = None) -> np.ndarray:
    """Draws one state of the environment `name` as `[H, W, 3]` uint8.

    Variants of an environment share a drawing: "MinAtar/Breakout-v0" and "Breakout-MinAtar", "gymnax/..." and
    the plain name, "/noise" and the base task. Boards of navix and xminigrid are drawn by these packages.

    An environment without a drawing is shown by its observation if that is an image:
    `[H, W]` or `[H, W, C]`, each channel a colour, as bright as its value between 0 and 1 (uint8: 0 and
    255); three channels of bytes, or of at least 48 x 48 pixels, are red, green and blue.

    A state does not contain the parameters of its environment: poles, goals, maps and levels are drawn with
    the defaults unless `params` has them. States of `families.family` contain them, those of
    `stochastic.non_stationary` do not.

    Args:
      env_state: one state, not a batch; wrapped states are unwrapped.
      obs: the observation that belongs to it.
      params: parameters of the environment that differ from the defaults.

    Raises:
      ValueError: there is no drawing, and the observation is not an image; or the state does not belong to
        this environment with these parameters, is not finite, or is a batch.
    """
    params = dict(params or {})
    while hasattr(env_state, "inner"):
        params |= getattr(env_state, "params", {})
        env_state = env_state.inner
    if draw := DRAWINGS.get(_plain(name)) or theirs.BY_PREFIX.get(name.partition("/")[0] + "/"):
        try:
            return draw(env_state, obs, **params)
        except (AttributeError, TypeError, IndexError) as error:
            raise ValueError(
                f"{name}: the state or observation does not belong to this environment ({error})"
            ) from error
    known = f"drawings exist for {', '.join(DRAWINGS)} and for observations that are images"
    return boards.picture(name, obs, f"{known} ([H, W] or [H, W, C])")


def _plain(name: str) -> str:
    """The name in `DRAWINGS` of an environment with several names."""
    name = re.sub(r"^MinAtar/(\w+)-v[01]$", r"\1-MinAtar", name.removeprefix("gymnax/"))
    return re.sub(r"/(noise|scale|stochastic)$", "", name)
