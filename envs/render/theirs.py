"""Boards of other packages whose observations are codes, drawn by the renderers of these packages."""

from functools import cache

import numpy as np

from jaxrl.envs.render.boards import enlarge


def navix(state, obs, **_):
    """The whole board from above, whichever part of it is observed."""
    return enlarge(np.asarray(_navix_pixels()(state.state), np.uint8))


@cache
def _navix_pixels():
    import jax
    from navix import observations

    return jax.jit(observations.rgb)


def xminigrid(state, obs, *, view_size=7, **_):
    """The whole board from above; the observed part is lighter."""
    from xminigrid.rendering import rgb_render

    grid = np.asarray(state.state.grid)
    tile = max(1, 320 // max(grid.shape[:2]))
    return np.asarray(rgb_render.render(grid, state.state.agent, int(view_size), tile), np.uint8)


BY_PREFIX = {"navix/": navix, "xminigrid/": xminigrid}
