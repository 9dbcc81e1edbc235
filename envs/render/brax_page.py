"""Episodes of brax as a web page with the viewer of brax, which the page loads from the network."""

from typing import Any

PREFIX = "brax/"


def page(name: str, states: list, params: dict[str, Any] | None = None) -> str:
    """The HTML of an episode of the environment `name`, "brax/ant" and so on.

    Args:
      states: the environment's states in order, wrapped or not.
      params: parameters of the environment.

    Raises:
      ValueError: `name` is not an environment of brax, or there are no states.
    """
    if not name.startswith(PREFIX):
        raise ValueError(f"{name} is not an environment of brax: only those can be shown as a web page")
    if not states:
        raise ValueError("an episode needs at least one state")
    from brax.io import html

    from jaxrl.envs import from_brax

    bodies = []
    for state in states:
        while hasattr(state, "inner"):
            state = state.inner
        bodies.append(state.pipeline_state)
    env = from_brax._construct(name.removeprefix(PREFIX), **(params or {}))
    # The viewer plays one state per time step of the physics, of which the environment takes several.
    return html.render(env.sys.tree_replace({"opt.timestep": env.dt}), bodies)
