"""Checks of the properties of an environment that algorithms rely on."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.checks import require_mask
from jaxrl.spaces import Box, Discrete, MultiDiscrete, contains, sample
from jaxrl.types import Env, TimeStep

_LANES = 4
_EAGER_STEPS = 2  # without jit steps are slow, and rounding errors grow in chaotic dynamics


def check_env(env: Env, key: jax.Array | None = None, num_steps: int = 64) -> None:
    """Plays random actions and raises ValueError for the first violation, in one sentence.

    Accepts raw and auto-resetting environments. The checks: the signatures and types of `Env` and
    `TimeStep`; observations are in their space; every action of the action space is accepted; an
    action mask has one bool for each choice, at least one of them true; the reward is a float32 scalar and
    the flags are bool scalars; structure, shapes and dtypes of state and TimeStep never change; the same key
    gives the same result, with jit as without; lanes of a vmap are independent; an episode that terminates is
    not truncated; `next_obs` belongs to the episode of the step, and `first` is true if `obs` belongs to the
    next one.

    Args:
      key: for all random numbers; fixed by default.
      num_steps: steps of each of the four lanes; checks of the end of an episode need some episodes to end.
    """
    key = jax.random.key(0) if key is None else key
    _require(isinstance(env, Env), f"env must be a jaxrl.types.Env, not a {type(env).__name__}")
    for name in ("observation_space", "action_space"):
        for leaf in jax.tree.leaves(getattr(env, name)):
            known = isinstance(leaf, Box | Discrete | MultiDiscrete)
            _require(known, f"{name} must hold Box, Discrete or MultiDiscrete, not {leaf!r}")

    check_types(env, key)
    keys = jax.random.split(key, _LANES)
    eager = [_play_eagerly(env, key, num_steps, twice=lane == 0) for lane, key in enumerate(keys[:2])]
    lanes = _compiled(jax.vmap(partial(_play, env, num_steps)), keys, time_axis=1)
    for lane, expected in enumerate(eager):
        where = _difference(expected, _beginning(lanes[0], lane))
        if where is None:
            continue
        # The program is both compiled and vmapped; only after a failure is another one needed for the cause.
        single = _compiled(partial(_play, env, num_steps), keys[lane], time_axis=0)[0]
        where_single = _difference(expected, _beginning(single))
        _require(
            where_single is None,
            f"results must be the same under jit as without; they differ at {where_single}",
        )
        raise ValueError(f"lanes of a vmap must be independent; lane {lane} differs at {where}")
    _check_values(lanes, env.action_space)


def _beginning(timesteps, *lane):
    return jax.tree.map(lambda x: x[lane][: _EAGER_STEPS + 1], timesteps)


def _compiled(play, keys, time_axis: int):
    """The records of `play`, reset and steps concatenated, as NumPy arrays."""
    options = None
    if jax.default_backend() == "cpu":
        # The program runs only briefly: optimizing it would take longer than it saves.
        options = {"xla_backend_optimization_level": 0}
    parts = jax.jit(play, compiler_options=options)(keys)
    return jax.tree.map(lambda *x: np.concatenate(x, axis=time_axis), *parts)


def check_types(env: Env, key: jax.Array) -> None:
    """The checks of signatures, types and shapes in `check_env`; nothing is executed."""
    action = jax.eval_shape(lambda key: sample(env.action_space, key), key)
    state, reset = _shapes(env.reset, "reset", (key,), "key")
    new_state, step = _shapes(env.step, "step", (key, state, action), "key, env_state, action")

    for timestep, name in ((reset, "reset"), (step, "step")):
        _require(isinstance(timestep.info, dict), f"info must be a dict, not {timestep.info!r}")
        for field, dtype in dict(
            reward=np.float32, terminated=np.bool_, truncated=np.bool_, first=np.bool_
        ).items():
            leaf = getattr(timestep, field)
            good = getattr(leaf, "shape", None) == () and leaf.dtype == dtype
            wanted = f"{field} of {name} must be a {np.dtype(dtype)} scalar"
            _require(good, f"{wanted}, not {_describe(leaf)}")
        require_mask(env.action_space, timestep.info, name)
        for field in ("obs", "next_obs"):
            _check_kind(env.observation_space, getattr(timestep, field), f"{field} of {name}")
    same = reset.info.keys() == step.info.keys()
    keys = f"{sorted(reset.info)} after reset and {sorted(step.info)} after step"
    _require(same, f"info must always have the same keys, not {keys}")
    for before, after, name in ((state, new_state, "env_state"), (reset, step, "the TimeStep")):
        _check_fixed(before, after, name)


def _play(env: Env, num_steps: int, key):
    """Records `[1, ...]` of the reset and `[T, ...]` of steps: TimeSteps, and whether they are valid."""

    def step(carry, keys):
        state, mask = carry
        new_state, then = _act(env, state, mask, keys)
        # A raw environment cannot be stepped after its end: the state before the step is restored.
        over = then.done & ~then.first
        new_carry = (new_state, then.info.get("action_mask"))
        carry = jax.tree.map(lambda new, old: jnp.where(over, old, new), new_carry, carry)
        return carry, record(then)

    def record(timestep):
        space = env.observation_space
        return timestep, (contains(space, timestep.obs), contains(space, timestep.next_obs))

    reset_key, run_key = jax.random.split(key)
    state, timestep = env.reset(reset_key)
    carry = (state, timestep.info.get("action_mask"))
    _, steps = jax.lax.scan(step, carry, jax.random.split(run_key, (num_steps, 2)))
    return jax.tree.map(lambda x: jnp.asarray(x)[None], record(timestep)), steps


def _play_eagerly(env: Env, key, num_steps: int, twice: bool):
    """The first TimeSteps of `_play` without jit, `[1 + T, ...]`; with `twice`, repetitions are compared."""
    reset_key, run_key = jax.random.split(key)
    state, timestep = once = env.reset(reset_key)
    if twice:
        where = _difference(once, env.reset(reset_key))
        _require(where is None, f"reset gives two results for the same key: they differ at {where}")
    timesteps = [timestep]
    for step_keys in jax.random.split(run_key, (num_steps, 2))[:_EAGER_STEPS]:
        mask = timestep.info.get("action_mask")
        new_state, then = once = _act(env, state, mask, step_keys)
        if twice and len(timesteps) == 1:
            where = _difference(once, _act(env, state, mask, step_keys))
            _require(where is None, f"step gives two results for the same key: they differ at {where}")
        if not (then.done & ~then.first):
            state, timestep = new_state, then
        timesteps.append(then)
    return jax.tree.map(lambda *steps: np.stack(steps), *timesteps)


def _act(env: Env, state, mask, keys):
    action_key, step_key = keys
    return env.step(step_key, state, _sample(env.action_space, action_key, mask))


def _check_values(lanes, action_space) -> None:
    """The checks of values, in records `[L, 1 + T, ...]` that begin with the reset."""
    timestep, (obs_inside, next_obs_inside) = lanes
    done = timestep.terminated | timestep.truncated
    crossed = ~_same_obs(timestep.obs, timestep.next_obs)
    start = np.zeros_like(done)
    start[:, 0] = True
    for broken, message in (
        (start & ~timestep.first, "first must be true after reset"),
        (start & done, "an episode must not have ended after reset"),
        (start & crossed, "next_obs must be obs after reset"),
        (start & (timestep.reward != 0), "reward must be 0 after reset"),
        (~obs_inside, "obs must lie in observation_space"),
        (~next_obs_inside, "next_obs must lie in observation_space"),
        (np.isnan(timestep.reward), "reward must be a number"),
        (_empty_masks(action_space, timestep), "action_mask must allow at least one action"),
        (timestep.terminated & timestep.truncated, "an episode that terminates is not truncated too"),
        (~start & ~done & timestep.first, "first must be false unless the step ended an episode"),
        (crossed & ~timestep.first, "next_obs must be obs unless first is true, as in a reset by step"),
    ):
        if broken.any():
            lane, step = np.argwhere(broken)[0]
            raise ValueError(f"{message}; violated at step {step} of lane {lane}")

    # An environment may end where it starts; it is an error if initial states vary and all ends agree.
    ends = timestep.first & ~start
    starts = _rows(timestep.obs)[ends]
    varied = len(np.unique(starts, axis=0)) ** len(starts) > 10_000 if len(starts) else False
    if varied and not crossed[ends].any():
        raise ValueError(
            "next_obs must be the last observation of the episode that ended, not the first of the next"
        )


def _empty_masks(action_space, timestep):
    """True where there is a next action and one of its choices has no allowed value; `[L, 1 + T]`."""
    mask = timestep.info.get("action_mask")
    if mask is None:
        return np.zeros_like(timestep.first)
    (space,) = jax.tree.leaves(action_space)
    ends = np.cumsum(getattr(space, "nvec", ()))[:-1].astype(int)
    empty = [~allowed.any(-1) for allowed in np.split(mask, ends, axis=-1)]
    over = (timestep.terminated | timestep.truncated) & ~timestep.first
    return np.any(empty, axis=0) & ~over


def _shapes(function, name: str, arguments, signature: str):
    """`jax.eval_shape` of reset or step; its errors are reported in one sentence."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise ValueError(f"{name} must take ({signature}), but {error}") from error
    try:
        result = jax.eval_shape(function, *arguments)
    except jax.errors.ConcretizationTypeError as error:
        raise ValueError(
            f"{name} cannot be compiled, because Python branches on the value of an array there: "
            "use jnp.where or jax.lax.cond"
        ) from error
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{name} fails on ({signature}) from reset and action_space: {type(error).__name__}: {reason}"
        ) from error
    good = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], TimeStep)
    _require(good, f"{name} must return (env_state, TimeStep)")
    return result


def _check_kind(space, obs, name: str) -> None:
    """Checks structure, shape and dtype of an observation."""
    same = jax.tree.structure(space) == jax.tree.structure(obs)
    _require(same, f"{name} must have the structure of observation_space")
    for leaf, wanted in zip(jax.tree.leaves(obs), jax.tree.leaves(space)):
        want = jax.ShapeDtypeStruct(tuple(wanted.shape), wanted.dtype)
        fits = (leaf.shape, leaf.dtype) == (want.shape, want.dtype)
        problem = f"{_describe(leaf)}, but observation_space says {_describe(want)}"
        _require(fits, f"{name} is {problem}")


def _check_fixed(before, after, name: str) -> None:
    structures = jax.tree.structure(before), jax.tree.structure(after)
    _require(structures[0] == structures[1], f"step must not change the structure of {name}")
    leaves = jax.tree.leaves_with_path(before)
    for (path, old), new in zip(leaves, jax.tree.leaves(after)):
        fixed = (old.shape, old.dtype, old.weak_type) == (new.shape, new.dtype, new.weak_type)
        change = f"{_describe(old)} after reset, {_describe(new)} after step"
        where = f"{name} must not change type at {jax.tree_util.keystr(path) or 'its only leaf'}"
        _require(fixed, f"{where}: {change}; jaxrl.envs.wrappers.fix_dtypes fixes dtypes")


def _sample(space, key, mask):
    if mask is None or not isinstance(space, Discrete):
        return sample(space, key)
    return jax.random.categorical(key, jnp.where(mask, 0.0, -jnp.inf)).astype(space.dtype)


def _difference(a, b) -> str | None:
    """The path of the first leaf in which two results differ by more than rounding."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return "its structure"
    for (path, x), y in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b)):
        x, y = _as_numpy(x), _as_numpy(y)
        if np.issubdtype(x.dtype, np.floating):
            same = x.shape == y.shape and np.allclose(x, y, rtol=1e-3, atol=1e-4, equal_nan=True)
        else:
            same = np.array_equal(x, y)
        if not same:
            return jax.tree_util.keystr(path) or "its only leaf"
    return None


def _as_numpy(x):
    x = jnp.asarray(x)
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def _rows(tree):
    """All leaves `[L, T, ...]` concatenated, `[L, T, D]`."""
    return np.concatenate([x.reshape(*x.shape[:2], -1) for x in jax.tree.leaves(tree)], axis=-1)


def _same_obs(a, b):
    # The compiler may compute the same value twice, with different rounding.
    return np.isclose(_rows(a), _rows(b), rtol=1e-5, atol=1e-6).all(axis=-1)


def _describe(leaf) -> str:
    if not hasattr(leaf, "dtype"):
        return repr(leaf)
    weak = ", weakly typed" if getattr(leaf, "weak_type", False) else ""
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]{weak}"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
