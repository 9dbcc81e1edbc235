"""MuJoCo Playground's control suite (Zakka et al. 2025, https://arxiv.org/abs/2502.08844) as raw `Env`s.

The package `playground` is an extra; the physics are MJX. Only the tasks of the DeepMind Control Suite
are included, because their models are part of the package; for robots and hands it clones a large repository.
Episodes terminate only if the simulation diverges (`done`); the time limit is added by the registry. As in
Playground, all episodes of the humanoid have the same initial state.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.entry import require_among
from jaxrl.envs.wrappers import fix_dtypes, restart, transition
from jaxrl.spaces import Box
from jaxrl.types import Env

_TASKS = """AcrobotSwingup AcrobotSwingupSparse BallInCup CartpoleBalance CartpoleBalanceSparse
    CartpoleSwingup CartpoleSwingupSparse CheetahRun FingerSpin FingerTurnEasy FingerTurnHard FishSwim
    HopperHop HopperStand HumanoidStand HumanoidWalk HumanoidRun PendulumSwingup PointMass ReacherEasy
    ReacherHard SwimmerSwimmer6 WalkerRun WalkerStand WalkerWalk"""
NAMES = dict.fromkeys(_TASKS.split(), 1000)  # the time limit of each, in steps


def make(playground_id: str, /, **params: Any) -> Env:
    """The raw environment with this name; actions are in [-1, 1], observations unbounded float32.

    Args:
      params: fields of its configuration, such as `ctrl_dt`, in seconds; `impl="warp"` needs an NVIDIA GPU.

    Raises:
      ValueError: without the package playground, or for an unknown parameter.
    """
    suite = _load(playground_id)
    require_among(f"playground/{playground_id}", _known(suite, playground_id), params)
    env = suite.load(playground_id, config_overrides={"impl": "jax", **params})

    def reset(key):
        state = env.reset(key)
        return state, restart(_float32(state.obs))

    def step(key, state, action):
        # It modifies the dictionaries of the state that it is given: copy them.
        state = env.step(jax.tree.map(lambda x: x, state), action)
        return state, transition(_float32(state.obs), state.reward, state.done)

    observation = jax.eval_shape(env.reset, jax.random.key(0)).obs
    space = jax.tree.map(lambda x: Box(-np.inf, np.inf, x.shape), observation)
    return fix_dtypes(Env(reset, step, space, Box(-1.0, 1.0, (env.action_size,))))


def params(playground_id: str) -> dict[str, Any]:
    """The scalar parameters of `make` with their defaults; imports playground."""
    return _known(_load(playground_id), playground_id)


def _load(playground_id: str):
    try:
        from mujoco_playground import dm_control_suite
    except ImportError as error:
        remedy = "needs the package playground: pip install 'jaxrl[playground]'"
        raise ValueError(f"playground/{playground_id} {remedy} ({error})") from error
    return dm_control_suite


def _known(suite, playground_id: str) -> dict[str, Any]:
    config = suite.get_default_config(playground_id).to_dict() | {"impl": "jax"}
    ours = ("episode_length", "action_repeat", "vision")
    return {n: v for n, v in config.items() if isinstance(v, bool | int | float | str) and n not in ours}


def _float32(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)
