"""Wrappers for all environments, as `Env -> Env` functions.

Adapters return raw dynamics; `jaxrl.envs.make` composes `auto_reset(episode_stats(time_limit(raw)))`. A
wrapper that needs memory stores it in the environment's state. Apply wrappers of observations and
actions inside `time_limit`, so that `next_obs` is wrapped in the same way as `obs`:

    raw = frame_stack(envs.REGISTRY["Catch-bsuite"].make(), 4)
    env = auto_reset(episode_stats(time_limit(raw, 1000)))

`restart` and `transition` create the TimeSteps of raw environments.
"""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.cpu.once import once
from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import Env, Number, PyTree, TimeStep
from jaxrl.widths import narrow


def restart(obs: PyTree, info: dict | None = None) -> TimeStep:
    """The TimeStep of a reset: `obs` starts an episode, and both flags are false."""
    no = jnp.zeros((), bool)
    return TimeStep(
        obs=obs,
        next_obs=obs,
        reward=jnp.zeros((), jnp.float32),
        terminated=no,
        truncated=no,
        first=~no,
        info={} if info is None else info,
    )


def transition(
    obs: PyTree, reward: Number, terminated: bool | jax.Array, info: dict | None = None
) -> TimeStep:
    """The TimeStep of a raw step that led to `obs`; raw environments do not truncate."""
    no = jnp.zeros((), bool)
    return TimeStep(
        obs=obs,
        next_obs=obs,
        reward=jnp.asarray(reward, jnp.float32),
        terminated=jnp.asarray(terminated, bool),
        truncated=no,
        first=no,
        info={} if info is None else info,
    )


@struct.dataclass
class Counted:
    """An environment's state and the steps taken in its episode."""

    inner: Any
    time: jax.Array


@struct.dataclass
class Recorded:
    """An environment's state and the return and length of its episode so far."""

    inner: Any
    episode_return: jax.Array
    episode_length: jax.Array


@struct.dataclass
class Sticky:
    """An environment's state and its last executed action; `started` is true if there is one."""

    inner: Any
    previous: Any
    started: jax.Array


@struct.dataclass
class Stacked:
    """An environment's state and its last observations, oldest first on the last axis."""

    inner: Any
    frames: jax.Array


@struct.dataclass
class Pooled:
    """An environment's state, the result of a reset in the pool, and the total number of steps."""

    inner: Any
    spare: Any
    time: jax.Array


def time_limit(env: Env, max_steps: int | None) -> Env:
    """Truncates every episode after `max_steps` steps (`truncated`, not `terminated`); None: no limit.

    An episode that terminates on its last step is terminated, not truncated. The limit may be traced.

    Raises:
      ValueError: for a limit that is not a positive integer.
    """
    if max_steps is None:
        return env
    if not isinstance(max_steps, jax.core.Tracer):
        limit = np.asarray(max_steps)
        if limit.shape or limit.dtype.kind not in "iu" or limit < 1:
            raise ValueError(f"max_steps must be a positive integer or None, not {max_steps!r}")

    def reset(key):
        state, timestep = env.reset(key)
        return Counted(state, jnp.zeros((), jnp.int32)), timestep

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, action)
        time = state.time + 1
        truncated = timestep.truncated | ((time >= max_steps) & ~timestep.terminated)
        return Counted(inner, time), timestep.replace(truncated=truncated)

    return _layer("time_limit", env, env._replace(reset=reset, step=step))


def episode_stats(env: Env) -> Env:
    """Adds the undiscounted `episode_return` and the `episode_length` so far to `info`.

    Where `done`, they are those of the whole episode.
    """

    def record(timestep: TimeStep, total, length):
        return timestep.replace(info={**timestep.info, "episode_return": total, "episode_length": length})

    def reset(key):
        state, timestep = env.reset(key)
        total, length = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
        return Recorded(state, total, length), record(timestep, total, length)

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, action)
        total = state.episode_return + timestep.reward
        length = state.episode_length + 1
        return Recorded(inner, total, length), record(timestep, total, length)

    return _layer("episode_stats", env, env._replace(reset=reset, step=step))


RESETS = ("fresh", "pool", "optimistic")
POOL_PERIOD = 16  # steps after which a lane's next initial state is replaced
OPTIMISTIC_SHARE = 16  # lanes per initial state generated in a step


def auto_reset(env: Env, resets: str = "fresh") -> Env:
    """Starts a new episode in the step that ends one; the only place where that happens.

    Only the state, `obs` and the action mask for `obs` are replaced: `next_obs`, `reward`, the flags and
    the rest of `info` still describe the episode that ended. With `JAX_ENABLE_X64=1` states and TimeSteps
    are kept at 32 bits.

    Args:
      resets: the source of the initial states of new episodes.
        "fresh": a reset in every step of every lane, used if the episode ends there.
        "pool": there are as many initial states as lanes, of which one in 16 is replaced in each step; a lane
        that ends an episode takes the next one in turn. No lane takes an initial state twice, so the length
        of an episode does not affect which ones are taken; but several lanes may take the same. Costs the
        memory of a second state.
        "optimistic": in each step one reset per 16 lanes, assigned in turn to the lanes that end an episode
        there; if more of them end at once, several have the same initial state. After Matthews et al. 2024,
        Craftax. https://arxiv.org/abs/2402.16801
      "pool" and "optimistic" are for environments whose reset costs as much as a step; lanes are those of the
      innermost `vmap`, and no longer independent of each other. Without a `vmap`, both are equal to "fresh".

    Raises:
      ValueError: another name.
    """
    if resets not in RESETS:
        raise ValueError(f"resets {resets!r} is not known: take {', '.join(map(repr, RESETS))}")

    def last_state(key, state, action):
        return env.step(jax.random.split(key)[0], state, action)[0]

    if resets == "pool":
        resetting = _layer("auto_reset", env, _narrow(_auto_reset_from_pool(env)))
        return _showing(resetting, lambda key, state, action: last_state(key, state.inner, action))
    start = _dealt(env) if resets == "optimistic" else lambda key, _: env.reset(key)

    def step(key, state, action):
        step_key, reset_key = jax.random.split(key)
        with jax.named_scope("dynamics"):
            state, timestep = env.step(step_key, state, action)
        with jax.named_scope("reset"):
            return _exchange(timestep, start(reset_key, timestep.done), state)

    return _showing(_layer("auto_reset", env, _narrow(env._replace(step=step))), last_state)


def _showing(env: Env, last_state: Callable[..., PyTree]) -> Env:
    """Gives access to the state that a step led to before the reset, so that it can be rendered."""
    env.step.last_state = last_state  # type: ignore[attr-defined]  # functions take any attribute
    return env


def _layer(name: str, inner: Env, outer: Env) -> Env:
    """Labels an environment with the names of its wrappers, innermost first: algorithms check their order."""
    layers = (*getattr(inner.step, "layers", ()), name)
    outer.step.layers = layers  # type: ignore[attr-defined]  # functions take any attribute
    return outer


def _narrow(env: Env) -> Env:
    """Keeps states and TimeSteps at 32 bits if JAX's default is 64 (`jaxrl.widths`)."""

    def reset(key):
        return narrow(env.reset(key))

    def step(key, state, action):
        return narrow(env.step(key, state, action))

    return env._replace(reset=reset, step=step)


def _exchange(timestep: TimeStep, start, state):
    """State and TimeStep after a step: those of `start`, the result of a reset, if the episode has ended."""
    fresh_state, fresh = start
    done = once(timestep.done)

    def exchange(new, old):
        return jax.tree.map(lambda a, b: jnp.where(done, a, b), new, old)

    info = dict(timestep.info)
    if "action_mask" in info:
        info["action_mask"] = exchange(fresh.info["action_mask"], info["action_mask"])
    timestep = timestep.replace(obs=exchange(fresh.obs, timestep.obs), first=done, info=info)
    return exchange(fresh_state, state), timestep


def _dealt(env: Env):
    """`(key, done) -> env.reset(key)`; under `vmap`, few resets are computed and assigned to done lanes."""

    @jax.custom_batching.custom_vmap
    def start(key, done):
        return env.reset(key)

    @start.def_vmap
    def batched(axis_size, in_batched, key, done):
        keys, done = _as_batched(axis_size, in_batched, (key, done))
        count = -(-axis_size // OPTIMISTIC_SHARE)
        fresh = jax.vmap(env.reset)(keys[:count])
        turn = (jnp.cumsum(done) - 1) % count
        dealt = jax.tree.map(lambda x: x[turn], fresh)
        return dealt, jax.tree.map(lambda _: True, dealt)

    return start


def _auto_reset_from_pool(env: Env) -> Env:
    @jax.custom_batching.custom_vmap
    def offered(time, spare):
        return spare

    @offered.def_vmap
    def offered_batched(axis_size, in_batched, time, spare):
        """Lane i is offered initial state i + t: it has been replaced before a lane is offered it again."""
        time, spare = _as_batched(axis_size, in_batched, (time, spare))
        moved = jax.tree.map(lambda x: jnp.roll(x, -time[0], axis=0), spare)  # lanes step together
        return moved, jax.tree.map(lambda _: True, moved)

    @jax.custom_batching.custom_vmap
    def refill(key, time, spare):
        return env.reset(key)

    @refill.def_vmap
    def refill_batched(axis_size, in_batched, key, time, spare):
        keys, time, spare = _as_batched(axis_size, in_batched, (key, time, spare))
        count = -(-axis_size // POOL_PERIOD)
        fresh = jax.vmap(env.reset)(keys[:count])
        begin = (time[0] % -(-axis_size // count)) * count  # the last block may overlap others

        def exchange(some, every):
            return jax.lax.dynamic_update_slice_in_dim(every, some, begin, 0)

        spare = jax.tree.map(exchange, fresh, spare)
        return spare, jax.tree.map(lambda _: True, spare)

    def reset(key):
        key, spare_key = jax.random.split(key)
        state, timestep = env.reset(key)
        return Pooled(state, env.reset(spare_key), jnp.zeros((), jnp.int32)), timestep

    def step(key, state, action):
        step_key, reset_key = jax.random.split(key)
        with jax.named_scope("dynamics"):
            inner, timestep = env.step(step_key, state.inner, action)
        with jax.named_scope("reset"):
            inner, timestep = _exchange(timestep, offered(state.time, state.spare), inner)
            spare = refill(reset_key, state.time, state.spare)
        return Pooled(inner, spare, state.time + 1), timestep

    return env._replace(reset=reset, step=step)


def _as_batched(axis_size: int, in_batched, args):
    """The arguments of a `vmap` rule; those that are not batched are repeated along the axis."""

    def repeat(leaf, batched):
        return leaf if batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

    return jax.tree.map(repeat, args, tuple(in_batched))


def fix_dtypes(env: Env) -> Env:
    """Gives all outputs of an environment fixed types, as a scan requires.

    Observations have the dtype of their space, rewards are float32, flags bool; every leaf of the state and
    of `info` keeps the dtype that it has after `reset`. Other libraries' environments initialize counters
    with Python scalars (weakly typed) and may return another dtype from `step`. With `JAX_ENABLE_X64=1` they
    are traced without it: most were written for 32 bits, and some mix both widths where JAX accepts only one.
    """

    def settle(leaf, dtype=None):
        leaf = jnp.asarray(leaf)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):  # a random key cannot be converted
            return leaf
        return jax.lax.convert_element_type(leaf, dtype or leaf.dtype)  # not weakly typed

    def seen(obs):
        spaces, structure = jax.tree.flatten(env.observation_space)
        if jax.tree.structure(obs) != structure:
            return obs  # not a matter of dtypes
        dtypes = [space.dtype if isinstance(space, Box) else jnp.int32 for space in spaces]
        return structure.unflatten(map(settle, jax.tree.leaves(obs), dtypes))

    def settled(timestep, info):
        flags = {name: settle(getattr(timestep, name), bool) for name in ("terminated", "truncated", "first")}
        obs, next_obs = seen(timestep.obs), seen(timestep.next_obs)
        reward = settle(timestep.reward, jnp.float32)
        return TimeStep(obs=obs, next_obs=next_obs, reward=reward, **flags, info=info)

    @functools.cache
    def first_info():
        return jax.eval_shape(env.reset, jax.random.key(0))[1].info

    def reset(key):
        with jax.enable_x64(False):
            state, timestep = env.reset(key)
        return jax.tree.map(settle, state), settled(timestep, jax.tree.map(settle, timestep.info))

    def step(key, state, action):
        with jax.enable_x64(False):
            new_state, timestep = env.step(key, *narrow((state, action)))
            begun = first_info()
        state = jax.tree.map(lambda new, old: settle(new, jnp.result_type(old)), new_state, state)
        info = timestep.info
        if jax.tree.structure(info) == jax.tree.structure(begun):
            info = jax.tree.map(lambda new, old: settle(new, old.dtype), info, begun)
        return state, settled(timestep, info)

    return _layer("fix_dtypes", env, env._replace(reset=reset, step=step))


def flatten_obs(env: Env) -> Env:
    """Converts the whole observation, of any space, to one float32 vector `[D]`.

    Leaves are concatenated in the order of `jax.tree.leaves`; a Discrete one is one-hot, a MultiDiscrete one
    is one-hot for each choice. `D` is `jaxrl.spaces.flat_size(space)`.
    """
    spaces, treedef = jax.tree.flatten(env.observation_space)

    def flatten(obs):
        leaves = treedef.flatten_up_to(obs)
        return jnp.concatenate([_flat(space, leaf) for space, leaf in zip(spaces, leaves)])

    low, high = ([_flat_bound(space, side) for space in spaces] for side in ("low", "high"))
    size = sum(part.size for part in low)
    return _map_obs(env, flatten, Box(_join(low), _join(high), (size,)))


def one_hot_obs(env: Env) -> Env:
    """Converts a Discrete or MultiDiscrete observation to a float32 vector, one-hot per choice."""
    space = _single(env.observation_space, "one_hot_obs", "observation", "flatten_obs")
    if isinstance(space, Box):
        raise ValueError(
            "one_hot_obs needs a Discrete or MultiDiscrete observation, not a Box; use it as it is"
        )
    size = _flat_bound(space, "low").size
    return _map_obs(env, lambda obs: _flat(space, obs), Box(0.0, 1.0, (size,)))


def frame_stack(env: Env, num_frames: int) -> Env:
    """Stacks the last `num_frames` observations, oldest first, along the last axis.

    Vectors `[D]` become `[num_frames * D]` and images `[H, W, C]` become `[H, W, num_frames * C]`; a
    plane `[H, W]` gets a new last axis. An episode starts with copies of its first observation.
    Mnih et al. 2015. https://www.nature.com/articles/nature14236
    """
    space = _single(env.observation_space, "frame_stack", "observation", "flatten_obs")
    if not isinstance(space, Box):
        raise ValueError(
            f"frame_stack needs a Box observation, not {type(space).__name__}; apply one_hot_obs first"
        )
    if not isinstance(num_frames, int) or num_frames < 1:
        raise ValueError(f"num_frames must be a positive integer, not {num_frames!r}")

    def as_frame(x):
        return x[..., None] if len(space.shape) in (0, 2) else x

    def stacked_bound(bound):
        xp = jnp if isinstance(bound, jax.Array) else np
        return xp.concatenate([as_frame(xp.broadcast_to(bound, space.shape))] * num_frames, axis=-1)

    low, high = stacked_bound(space.low), stacked_bound(space.high)
    width = low.shape[-1] // num_frames

    def reset(key):
        state, timestep = env.reset(key)
        frames = jnp.concatenate([as_frame(timestep.obs)] * num_frames, axis=-1)
        return Stacked(state, frames), timestep.replace(obs=frames, next_obs=frames)

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, action)
        newest = as_frame(timestep.next_obs)
        frames = jnp.concatenate([state.frames[..., width:], newest], axis=-1)
        return Stacked(inner, frames), timestep.replace(obs=frames, next_obs=frames)

    return _layer(
        "frame_stack",
        env,
        env._replace(reset=reset, step=step, observation_space=Box(low, high, low.shape, space.dtype)),
    )


def cheap_talk(env: Env, speak: Callable[[PyTree], jax.Array], num_messages: int) -> Env:
    """Appends an adversary's messages to a vector `[D]`, without new information or any other effect.

        obs' = (obs, tanh(speak(obs)))

    The messages depend only on the observation; an adversary can be meta-learned over whole training runs of
    the agent that receives them. Lu et al. 2022. https://arxiv.org/abs/2211.11030

    Args:
      speak: `(obs [D]) -> [M]`; variables of its closure may be traced, for a vmap over adversaries.
      num_messages: `M`.

    Raises:
      ValueError: observations that are not vectors, or no messages.
    """
    space = env.observation_space
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise ValueError("cheap_talk needs a vector as observation; apply flatten_obs first")
    if not isinstance(num_messages, int) or num_messages < 1:
        raise ValueError(f"num_messages must be a positive integer, not {num_messages!r}")

    def with_messages(obs):
        messages = jnp.tanh(speak(obs))
        chex.assert_shape(messages, (num_messages,))
        return jnp.concatenate([obs, messages]).astype(jnp.float32)

    ends = {"low": np.full(num_messages, -1.0), "high": np.full(num_messages, 1.0)}
    low, high = (_join([_flat_bound(space, side), ends[side].astype(np.float32)]) for side in ends)
    return _map_obs(env, with_messages, Box(low, high, low.shape))


def sticky_actions(env: Env, probability: float = 0.25) -> Env:
    """Executes the previous action instead of the chosen one, with a probability.

    The previous action is the one that was executed, which may itself be a repetition; the first step of
    an episode never repeats. Machado et al. 2018. https://arxiv.org/abs/1709.06009
    """
    known = not isinstance(probability, jax.core.Tracer)
    if np.shape(probability) or (known and not 0.0 <= np.asarray(probability) <= 1.0):
        raise ValueError(f"probability must be one number between 0 and 1, not {probability!r}")

    def reset(key):
        state, timestep = env.reset(key)
        nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), env.action_space)
        return Sticky(state, nothing, jnp.zeros((), bool)), timestep

    def step(key, state, action):
        stick_key, step_key = jax.random.split(key)
        stick = state.started & jax.random.bernoulli(stick_key, probability)
        executed = jax.tree.map(
            lambda old, new: jnp.where(stick, old, new).astype(old.dtype), state.previous, action
        )
        inner, timestep = env.step(step_key, state.inner, executed)
        return Sticky(inner, executed, jnp.ones((), bool)), timestep

    return _layer("sticky_actions", env, env._replace(reset=reset, step=step))


def clip_action(env: Env) -> Env:
    """Accepts any real action and clips it to the Box; the new action space is unbounded."""
    space = _action_box(env, "clip_action")

    def step(key, state, action):
        return env.step(key, state, jnp.clip(action, space.low, space.high))

    return _layer(
        "clip_action",
        env,
        env._replace(step=step, action_space=Box(-np.inf, np.inf, space.shape, space.dtype)),
    )


def rescale_action(env: Env) -> Env:
    """Rescales the actions to [-1, 1]: -1 is the Box's lower bound, 1 its upper bound; clips to them."""
    space = _action_box(env, "rescale_action")
    for bound in (space.low, space.high):
        # gymnax represents "unbounded" by the largest float32; the value of a traced bound is unknown.
        if not isinstance(bound, jax.core.Tracer) and np.any(np.abs(bound) > 1e30):
            raise ValueError("rescale_action needs a Box with finite bounds; apply clip_action instead")

    def step(key, state, action):
        scaled = space.low + (action + 1.0) * 0.5 * (space.high - space.low)
        return env.step(key, state, jnp.clip(scaled, space.low, space.high).astype(space.dtype))

    return _layer(
        "rescale_action", env, env._replace(step=step, action_space=Box(-1.0, 1.0, space.shape, space.dtype))
    )


def _map_obs(env: Env, function, space) -> Env:
    """Applies `function` to `obs` and `next_obs`, which are then in `space`."""

    def mapped(timestep):
        return timestep.replace(obs=function(timestep.obs), next_obs=function(timestep.next_obs))

    def reset(key):
        state, timestep = env.reset(key)
        return state, mapped(timestep)

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        return state, mapped(timestep)

    return _layer("map_obs", env, env._replace(reset=reset, step=step, observation_space=space))


def _single(space, wrapper: str, role: str, remedy: str):
    if not isinstance(space, Box | Discrete | MultiDiscrete):
        raise ValueError(
            f"{wrapper} needs one {role} space, not a {type(space).__name__} of them; apply {remedy} first"
        )
    return space


def _action_box(env: Env, wrapper: str) -> Box:
    if not isinstance(env.action_space, Box):
        raise ValueError(
            f"{wrapper} needs one Box as action space, not {type(env.action_space).__name__}; leave it out"
        )
    return env.action_space


def _flat(space, obs):
    """One leaf of an observation as a float32 vector."""
    if isinstance(space, Discrete):
        return jax.nn.one_hot(obs, space.n, dtype=jnp.float32)
    if isinstance(space, MultiDiscrete):
        hot = [jax.nn.one_hot(obs[i], n, dtype=jnp.float32) for i, n in enumerate(space.nvec)]
        return jnp.concatenate(hot)
    return jnp.ravel(obs).astype(jnp.float32)


def _flat_bound(space, side: str):
    """`low` or `high` of one flattened leaf."""
    if isinstance(space, Box):
        bound = getattr(space, side)
        xp = jnp if isinstance(bound, jax.Array) else np
        return xp.ravel(xp.broadcast_to(bound, space.shape)).astype(np.float32)
    size = space.n if isinstance(space, Discrete) else sum(space.nvec)
    return np.full(size, 0.0 if side == "low" else 1.0, np.float32)


def _join(bounds: list):
    return (jnp if any(isinstance(b, jax.Array) for b in bounds) else np).concatenate(bounds)
