"""Kinds of randomness that can be added to an environment, as `Env -> Env` functions.

After the taxonomy of STORI (Barsainyan, Lim and Liu 2025, https://arxiv.org/abs/2509.01793):

| type | what is uncertain | here |
| --- | --- | --- |
| 1 | intrinsic, through the action | `corrupted_action` (and `wrappers.sticky_actions`) |
| 2.1 | intrinsic, independent of the action: random events | `unpredictable_dynamics` |
| 2.2 | intrinsic, independent of the action: concept drift | `non_stationary` |
| 3.1 | observation: the state in another representation | `noisy_obs`, a representation with errors |
| 3.2 | observation: parts of the state missing | `partial_obs` |

STORI's random events are specific to each game; those here apply to any environment.
Apply the wrappers inside `time_limit`, like those of `jaxrl.envs.wrappers`.

A wrapper passes its key on unchanged and takes its draws from `fold_in(key, tag)`. So the environment draws
the same numbers with and without a wrapper, a probability of 0 changes nothing, and runs with two
probabilities have the same random events otherwise. Two wrappers of the same kind around one environment need
different `salt`s, or they draw the same numbers. Probabilities and scales can be traced, for example to vmap
over them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.family_spaces import spaces_for_all
from jaxrl.spaces import Box, Discrete, MultiDiscrete, sample
from jaxrl.types import Env, Number, PyTree

# Splits and draws of arrays use small counters, which never equal these.
_NOISE, _CORRUPT, _EVENT, _HIDE = 0x90150000, 0xC0440000, 0xE7E20000, 0x41DE0000


@struct.dataclass
class Allowed:
    """An environment's state and the actions that were allowed when it was last seen."""

    inner: Any
    action_mask: Any


@struct.dataclass
class Seen:
    """An environment's state and its last observation and info."""

    inner: Any
    obs: Any
    info: dict[str, Any]


@struct.dataclass
class Drifting:
    """An environment's state and the steps or episodes since the first reset."""

    inner: Any
    time: jax.Array


@struct.dataclass
class Shifted:
    """An environment's state and the shift of the next action."""

    inner: Any
    shift: jax.Array


Schedule = Callable[[jax.Array], Number]  # of a parameter: (time) -> value


def noisy_obs(env: Env, scale: Number = 0.0, flip_probability: Number = 0.0, salt: int = 0) -> Env:
    """Measurement errors, independent in every component and step: type 3.1.

    Floats get Gaussian noise and are not clipped, so their bounds become infinite. With `flip_probability`,
    bools are flipped, and integers and discrete values are replaced by a uniform draw from their range.

    Args:
      scale: standard deviation, in the units of the observation; a number, or an array that broadcasts
        to every float leaf.
      flip_probability: of every bool, integer or discrete component; a number, or an array that broadcasts
        to every such leaf.

    Raises:
      ValueError: the arguments do not apply to any part of these observations, or do not fit their shapes.
    """
    spaces, treedef = jax.tree.flatten(env.observation_space)
    floats = [_is_float(space) for space in spaces]
    scale, flip_probability = _array(scale), _array(flip_probability)
    _require_probability(flip_probability, "flip_probability", [s.shape for s in spaces if not _is_float(s)])
    _require_fit(scale, "scale", [s.shape for s in spaces if _is_float(s)])
    if _is_known(scale) and np.any(np.asarray(scale) < 0):
        raise ValueError(f"scale must not be negative, not {scale!r}")
    noisy, flipping = not _is_zero(scale), not _is_zero(flip_probability)
    if (noisy or flipping) and not ((noisy and any(floats)) or (flipping and not all(floats))):
        remedy = "scale" if flipping else "flip_probability"
        raise ValueError(f"this noise does not apply to {env.observation_space}: give {remedy} instead")

    def disturb(key, obs):
        keys = jax.random.split(jax.random.fold_in(key, _NOISE + salt), len(spaces))
        leaves = treedef.flatten_up_to(obs)
        return treedef.unflatten([noise(*leaf) for leaf in zip(spaces, keys, leaves)])

    def noise(space, key, x):
        if _is_float(space):
            added = x + (scale * jax.random.normal(key, x.shape)).astype(x.dtype)
            return jnp.where(jnp.asarray(scale) == 0, x, added)  # -0.0 + 0.0 is 0.0
        flip_key, value_key = jax.random.split(key)
        flip = jax.random.bernoulli(flip_key, flip_probability, x.shape)
        return jnp.where(flip, ~x if x.dtype == bool else sample(space, value_key), x)

    def unbounded(space):
        return Box(-np.inf, np.inf, space.shape, space.dtype) if noisy and _is_float(space) else space

    return _show(env, disturb, jax.tree.map(unbounded, env.observation_space))


def partial_obs(
    env: Env, mask: PyTree | None = None, hide_probability: Number | None = None, salt: int = 0
) -> Env:
    """Hides parts of the observation: type 3.2.

        partial_obs(cartpole, mask=[True, False, True, False])      positions, no velocities
        partial_obs(breakout, hide_probability=0.5)                 whole frames, as in flickering Atari

    A hidden number is 0 and a hidden bool is false. A hidden discrete value is `n`, an additional value,
    because 0 is a valid one. Each step is hidden independently, including the first one of an episode. The
    action mask stays visible. Flickering: Hausknecht and Stone 2015. https://arxiv.org/abs/1507.06527

    Args:
      mask: true for components that are always visible, broadcast to the observation; a pytree if the
        observation is one. By default none.
      hide_probability: probability that all other components are hidden, together, in a step; 1 by default if
        there is a mask.

    Raises:
      ValueError: for a mask that does not fit, or if neither is given.
    """
    if mask is None and hide_probability is None:
        raise ValueError("partial_obs needs a mask, a hide_probability or both: nothing would be hidden")
    hide_probability = 1.0 if hide_probability is None else hide_probability
    _require_probability(hide_probability, "hide_probability")
    spaces, treedef = jax.tree.flatten(env.observation_space)
    visible = _masks(spaces, treedef, mask)

    def hide(key, obs):
        hidden = jax.random.bernoulli(jax.random.fold_in(key, _HIDE + salt), hide_probability)
        leaves = treedef.flatten_up_to(obs)
        return treedef.unflatten(
            [jnp.where(hidden & ~seen, blank(space), x) for space, seen, x in zip(spaces, visible, leaves)]
        )

    def blank(space):
        value = {Discrete: lambda: space.n, MultiDiscrete: lambda: space.nvec}.get(type(space), lambda: 0)()
        return jnp.asarray(value, space.dtype)

    def with_blank(space, seen):
        if _is_zero(hide_probability) or seen.all():
            return space
        if isinstance(space, Discrete):
            return Discrete(space.n + 1)
        if isinstance(space, MultiDiscrete):
            return MultiDiscrete(tuple(n if s else n + 1 for n, s in zip(space.nvec, seen)))
        if np.dtype(space.dtype) == bool:
            return space
        xp = jnp if any(isinstance(b, jax.Array) for b in (space.low, space.high)) else np
        low = xp.where(seen, space.low, xp.minimum(space.low, 0)).astype(space.dtype)
        high = xp.where(seen, space.high, xp.maximum(space.high, 0)).astype(space.dtype)
        return Box(low, high, space.shape, space.dtype)

    return _show(env, hide, treedef.unflatten([with_blank(*leaf) for leaf in zip(spaces, visible)]))


def corrupted_action(env: Env, probability: Number, salt: int = 0) -> Env:
    """Executes a random action instead of the chosen one, with a probability: type 1.

    Uniform over all actions, or over those that the action mask allows, including the chosen one. An
    unbounded Box is sampled by `jaxrl.spaces.sample`.
    """
    _require_probability(probability, "probability")

    def reset(key):
        state, timestep = env.reset(key)
        return Allowed(state, timestep.info.get("action_mask")), timestep

    def step(key, state, action):
        corrupt_key, action_key = jax.random.split(jax.random.fold_in(key, _CORRUPT + salt))
        corrupt = jax.random.bernoulli(corrupt_key, probability)
        drawn = _sample_allowed(env.action_space, action_key, state.action_mask)
        executed = jax.tree.map(
            lambda new, old: jnp.where(corrupt, new, old).astype(new.dtype), drawn, action
        )
        inner, timestep = env.step(key, state.inner, executed)
        return Allowed(inner, timestep.info.get("action_mask")), timestep

    return env._replace(reset=reset, step=step)


def unpredictable_dynamics(env: Env, probability: Number, event: str = "skip", salt: int = 0) -> Env:
    """An event that occurs with a probability in every step, independently of the action: type 2.1.

    Args:
      event: "skip": the environment does not change in this step, which takes time and gives no reward.
        "repeat": the action is applied twice, if it is still allowed.
        "disturb": the environment is stepped once more with a random allowed action.
        The rewards of two steps are added; if the first one ends the episode, there is no second one.

    With "skip" the state stores the last observation; the others always compute two steps. `info` is that of
    the last step that was applied.
    """
    _require_probability(probability, "probability")
    if event not in ("skip", "repeat", "disturb"):
        raise ValueError(f"event must be 'skip', 'repeat' or 'disturb', not {event!r}")

    def split(key):
        event_key, action_key, step_key = jax.random.split(jax.random.fold_in(key, _EVENT + salt), 3)
        return jax.random.bernoulli(event_key, probability), action_key, step_key

    def skip_reset(key):
        state, timestep = env.reset(key)
        return Seen(state, timestep.obs, timestep.info), timestep

    def skip_step(key, state, action):
        happens, _, _ = split(key)
        inner, then = env.step(key, state.inner, action)
        nothing = jax.tree.map(jnp.zeros_like, then).replace(
            obs=state.obs, next_obs=state.obs, info=state.info
        )
        inner, then = _select_step(happens, (state.inner, nothing), (inner, then))
        return Seen(inner, then.obs, then.info), then

    def twice_step(key, state, action):
        happens, action_key, step_key = split(key)
        state, then = env.step(key, state, action)
        mask = then.info.get("action_mask")
        if event == "disturb":
            action = _sample_allowed(env.action_space, action_key, mask)
        else:
            happens &= _is_allowed(env.action_space, action, mask)
        later_state, later = env.step(step_key, state, action)
        later = later.replace(reward=then.reward + later.reward)
        return _select_step(happens & ~then.done, (later_state, later), (state, then))

    if event == "skip":
        return env._replace(reset=skip_reset, step=skip_step)
    return env._replace(step=twice_step)


def non_stationary(make: Callable[..., Env], parameter: str, schedule: Schedule, clock: str = "steps") -> Env:
    """A parameter of the environment changes with time: type 2.2, concept drift.

        make = partial(envs.make, "CartPole-v1", resets="fresh")
        env = non_stationary(make, "gravity", cyclic(9.8, 3.7, period=10_000))

    If `make` returns environments that reset themselves, as `envs.make` does, the clock continues over all
    episodes. If it returns raw ones, time starts at 0 in each episode, because a reset replaces the whole
    state: the environment drifts within an episode. Rewards and actions of any environment can drift:

        def make(scale):
            return auto_reset(episode_stats(time_limit(scaled_reward(raw, scale), 500)))

        non_stationary(make, "scale", sudden(1.0, -1.0, at=10_000))

    and `shifted_action` in the same way. Resets must be "fresh": the others use initial states of other
    times. Bounds of the spaces that depend on the parameter become infinite.

    Args:
      make: `(**{parameter: value}) -> Env`; the value can be traced.
      schedule: `(time) -> value`, time an int32 scalar from 0: `sudden`, `cyclic`, `drift` or a custom one.
      clock: "steps" or, for environments that reset themselves, "episodes".

    Raises:
      ValueError: for a parameter that determines array shapes, an unknown clock, or a `functools.partial`
        with other resets.
    """
    resets = getattr(make, "keywords", {}).get("resets")
    if resets in ("pool", "optimistic"):
        raise ValueError(
            f"non_stationary needs resets='fresh', not {resets!r}: others mix states of several times"
        )
    if clock not in ("steps", "episodes"):
        raise ValueError(f"clock must be 'steps' or 'episodes', not {clock!r}")

    def at(time) -> Env:
        return make(**{parameter: jnp.asarray(schedule(time))})

    def reset(key):
        time = jnp.zeros((), jnp.int32)
        state, timestep = at(time).reset(key)
        return Drifting(state, time), timestep

    def step(key, state, action):
        inner, timestep = at(state.time).step(key, state.inner, action)
        passed = timestep.done.astype(jnp.int32) if clock == "episodes" else 1
        return Drifting(inner, state.time + passed), timestep

    with jax.ensure_compile_time_eval():
        example = jnp.asarray(schedule(jnp.zeros((), jnp.int32)))
    return Env(reset, step, *spaces_for_all(make, {parameter: example}))


def sudden(before: Number, after: Number, at: int) -> Schedule:
    """A schedule: `before` until time `at`, then `after`."""
    return lambda time: jnp.where(time < at, before, after)


def cyclic(first: Number, second: Number, period: int) -> Schedule:
    """A schedule: `first` for `period`, `second` for `period`, and so on."""
    _require_time(period, "period")
    return lambda time: jnp.where(time // period % 2 == 0, first, second)


def drift(start: Number, end: Number, duration: int) -> Schedule:
    """A schedule: linear from `start` to `end`, and `end` after `duration`."""
    _require_time(duration, "duration")
    return lambda time: start + (end - start) * jnp.clip(time / duration, 0.0, 1.0)


def scaled_reward(env: Env, scale: Number = 1.0) -> Env:
    """Multiplies rewards; -1 reverses the task. `scale` can be traced."""

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        return state, timestep.replace(reward=(timestep.reward * scale).astype(jnp.float32))

    return env._replace(step=step)


def shifted_action(env: Env, shift: Number = 0) -> Env:
    """Renumbers the actions: `a` does what `(a + shift) mod n` did, in every choice.

    The action mask is renumbered too. `shift` can be traced; a change between steps takes effect from the
    next observation on, so that the mask of that observation stays valid.

    Raises:
      ValueError: for an action space that is not a single Discrete or MultiDiscrete.
    """
    space = env.action_space
    if not isinstance(space, Discrete | MultiDiscrete):
        raise ValueError(f"shifted_action needs a Discrete or MultiDiscrete action space, not {space}")
    sizes = np.asarray(space.n if isinstance(space, Discrete) else space.nvec, np.int32)
    shift = jnp.asarray(shift, jnp.int32)  # a schedule may give floats

    def renamed(timestep):
        if "action_mask" not in timestep.info:
            return timestep
        parts = [
            part[(np.arange(len(part)) + shift) % len(part)]
            for part in _parts(space, timestep.info["action_mask"])
        ]
        return timestep.replace(info={**timestep.info, "action_mask": jnp.concatenate(parts)})

    def reset(key):
        state, timestep = env.reset(key)
        return Shifted(state, shift), renamed(timestep)

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, ((action + state.shift) % sizes).astype(space.dtype))
        return Shifted(inner, shift), renamed(timestep)

    return env._replace(reset=reset, step=step)


def _show(env: Env, change: Callable, space: PyTree) -> Env:
    """Returns `change(key, obs)` as the observation, which is in `space`; also changes `next_obs`."""

    # Two computations of one value can be rounded differently, so if obs is next_obs it stays the same array.
    def reset(key):
        state, timestep = env.reset(key)
        obs = change(key, timestep.obs)
        return state, timestep.replace(obs=obs, next_obs=obs)

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        obs = next_obs = change(key, timestep.next_obs)
        if timestep.next_obs is not timestep.obs:  # true in raw environments
            obs = _select(timestep.first, change(key, timestep.obs), next_obs)
        return state, timestep.replace(obs=obs, next_obs=next_obs)

    return env._replace(reset=reset, step=step, observation_space=space)


def _masks(spaces, treedef, mask) -> list[np.ndarray]:
    """For every leaf of the observation, a mask of the components that are always visible."""
    if mask is None:
        return [np.zeros(space.shape, bool) for space in spaces]
    try:
        masks = [np.asarray(m) for m in treedef.flatten_up_to(mask)]
        if any(m.dtype == object for m in masks):  # a dict, which NumPy would convert to one bool
            raise TypeError("a mask must consist of bools")
        return [np.broadcast_to(m.astype(bool), s.shape) for m, s in zip(masks, spaces)]
    except (ValueError, TypeError) as error:
        wanted = treedef.unflatten([tuple(s.shape) for s in spaces])
        raise ValueError(f"mask must fit observations of shape {wanted}, not be {mask!r}") from error


def _select(condition, new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _select_step(condition, new, old):
    """One of two results `(state, timestep)`; if obs was the same array as next_obs, it still is."""
    state, timestep = _select(condition, new, old)
    same = all(answer[1].next_obs is answer[1].obs for answer in (new, old))
    return state, timestep.replace(next_obs=timestep.obs) if same else timestep


def _parts(space, mask) -> list[jax.Array]:
    """An action mask split into one part per choice; the mask of a MultiDiscrete concatenates them."""
    sizes = [space.n] if isinstance(space, Discrete) else space.nvec
    return jnp.split(mask, np.cumsum(sizes)[:-1], axis=-1)


def _sample_allowed(space, key, mask):
    """A uniform draw from the allowed actions; with a mask, the space is one Discrete or MultiDiscrete."""
    if mask is None:
        return sample(space, key)
    parts = _parts(space, mask)
    # The r-th allowed one with uniform r: one random number per choice, independent of the mask.
    draws = jax.random.uniform(key, (len(parts),))
    chosen = []
    for part, draw in zip(parts, draws):
        rank = jnp.cumsum(part.astype(jnp.int32))
        r = jnp.minimum((draw * rank[-1]).astype(jnp.int32), rank[-1] - 1)
        chosen.append(jnp.argmax(rank > r))
    action = chosen[0] if isinstance(space, Discrete) else jnp.stack(chosen)
    return action.astype(space.dtype)


def _is_allowed(space, action, mask):
    if mask is None:
        return jnp.ones((), bool)
    parts = _parts(space, mask)
    allowed = [
        jnp.any(part & (np.arange(len(part)) == choice))
        for part, choice in zip(parts, jnp.reshape(jnp.asarray(action), len(parts)))
    ]
    return jnp.all(jnp.stack(allowed))


def _is_float(space) -> bool:
    return jnp.issubdtype(space.dtype, jnp.floating)


def _is_known(value) -> bool:
    return not isinstance(value, jax.core.Tracer)


def _is_zero(value) -> bool:
    return _is_known(value) and not np.any(np.asarray(value))


def _array(value):
    """Converts lists to arrays, for arithmetic; numbers and arrays are unchanged."""
    return np.asarray(value) if isinstance(value, list | tuple) else value


def _require_probability(value, name: str, shapes=((),)) -> None:
    """Checks one number, or numbers that broadcast to each of `shapes`."""
    _require_fit(value, name, shapes)
    if _is_known(value) and not np.all((np.asarray(value) >= 0.0) & (np.asarray(value) <= 1.0)):
        raise ValueError(f"{name} must be between 0 and 1, not {value!r}")


def _require_fit(value, name: str, shapes) -> None:
    for shape in shapes:
        try:
            np.broadcast_to(np.empty(np.shape(value)), shape)
        except ValueError as error:
            raise ValueError(
                f"{name} of shape {np.shape(value)} does not broadcast to {tuple(shape)}: give a number"
            ) from error


def _require_time(value, name: str) -> None:
    if _is_known(value) and not np.asarray(value) >= 1:
        raise ValueError(f"{name} must be at least 1, not {value!r}")
