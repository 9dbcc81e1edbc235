"""The physics environments of brax (Freeman et al. 2021, https://arxiv.org/abs/2106.13281) as raw `Env`s.

Only brax's `reset` and `step` are used: its wrappers always return to one cached initial state and
overwrite the last observation. Importing brax takes about half a second; it happens in `make`.
"""

import inspect
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.entry import require_among
from jaxrl.envs.wrappers import fix_dtypes, restart, transition
from jaxrl.spaces import Box
from jaxrl.types import Env

TIME_LIMIT = 1000
BACKENDS = ("spring", "positional", "generalized", "mjx")

# The backends of each, the default first. Without `fast`, which brax has for its own tests.
NAMES = {
    "ant": BACKENDS,
    "halfcheetah": BACKENDS,
    "hopper": BACKENDS,
    "humanoid": BACKENDS,
    "humanoidstandup": BACKENDS,
    "inverted_double_pendulum": BACKENDS,
    "inverted_pendulum": BACKENDS,
    "pusher": BACKENDS,
    "reacher": BACKENDS,
    "swimmer": ("generalized",),
    "walker2d": BACKENDS,
}
# Every name that `make` accepts: `ant` and `ant:spring`, ...
PAIRS = tuple(pair for name, own in NAMES.items() for pair in (name, *(f"{name}:{b}" for b in own)))


def make(brax_id: str, /, **params: Any) -> Env:
    """The raw environment of `name` or `name:backend`, one of `PAIRS`.

    Actions are in [-1, 1], which brax scales to its actuators; observations are unbounded float32. brax's
    `done` means that the body has fallen or tipped over, never a time limit, so it becomes `terminated`.

    Args:
      params: arguments of the environment's constructor, such as `ctrl_cost_weight`.

    Raises:
      ValueError: for an unknown parameter.
    """
    env = _construct(brax_id)
    if params:
        require_among(f"brax/{brax_id}", _arguments(env), params)
        env = _construct(brax_id, **params)

    # `env.observation_size` would run a reset without compiling it.
    observation = jax.eval_shape(env.reset, jax.random.key(0)).obs
    observation_space = jax.tree.map(lambda x: Box(-np.inf, np.inf, x.shape), observation)

    def reset(key):
        state = env.reset(key)
        return state, restart(_float32(state.obs))

    def step(key, state, action):
        # brax modifies the dictionaries of the state that it is given: copy them.
        state = env.step(jax.tree.map(lambda x: x, state), action)
        return state, transition(_float32(state.obs), state.reward, state.done)

    action_space = Box(-1.0, 1.0, (env.action_size,))
    return fix_dtypes(Env(reset, step, observation_space, action_space))


def params(brax_id: str) -> dict[str, Any]:
    """The scalar parameters of `make` with their defaults; imports brax."""
    found = _arguments(_construct(brax_id))
    return {n: v for n, v in found.items() if isinstance(v, bool | int | float)}


def _construct(brax_id: str, **params):
    with jax.ensure_compile_time_eval():  # inside a user's jit, module constants would be tracers
        from brax import envs as brax_envs

    name, _, backend = brax_id.partition(":")
    _patch_clip()
    return brax_envs.get_environment(name, backend=backend or NAMES[name][0], **params)


def _patch_clip() -> None:
    """Lets brax.fluid (used by the swimmer) call `jnp.clip(a_min=)`, which JAX 0.10 has removed."""
    from brax import fluid

    if fluid.jp is jnp:
        fluid.jp = SimpleNamespace(**{**vars(jnp), "clip": lambda x, a_min: jnp.maximum(x, a_min)})


def _arguments(env) -> dict[str, Any]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(type(env)).parameters.values()
    return {p.name: p.default for p in found if p.kind in kinds and p.name != "backend"}


def _float32(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)
