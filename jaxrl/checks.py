"""Checks of the arguments of an algorithm's `make`; each error is one sentence that names the remedy.

Nothing is executed: functions are only traced, for the shapes that they return.
"""

import logging
import weakref
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, Var, jaxpr_as_fun

from jaxrl.spaces import Box, Discrete, MultiDiscrete, sample
from jaxrl.types import Algorithm, Env, Objective, PyTree, TimeStep

WRAP = "auto_reset(episode_stats(time_limit(env, max_steps)))"
SCALE = 20.0  # actions with bounds beyond this factor from 1 are hard to reach or to distinguish
_checked: weakref.WeakSet = weakref.WeakSet()  # `step` functions of environments that passed
_hints: set[str] = set()  # already logged


def require_env(env: Env) -> None:
    """Raises ValueError unless `env` is an auto-resetting environment with episode statistics."""
    if not isinstance(env, Env):
        raise ValueError(_no_env(env))
    if env.step in _checked:
        return
    key = jax.random.key(0)
    state, timestep = jax.eval_shape(env.reset, key)
    action = jax.eval_shape(lambda key: sample(env.action_space, key), key)
    closed, (_, then) = jax.make_jaxpr(env.step, return_shape=True)(key, state, action)
    for one, function in ((timestep, "reset"), (then, "step")):
        if not isinstance(one, TimeStep):
            raise ValueError(f"{function} must return (env_state, TimeStep), not {type(one).__name__}")
        for name in ("obs", "next_obs"):
            _require_in_space(env.observation_space, getattr(one, name), f"{name} of {function}")
        require_mask(env.action_space, one.info, function)
    _require_layers(getattr(env.step, "layers", ()))
    missing = {"episode_return", "episode_length"} - set(then.info)
    if missing:
        raise ValueError(f"the environment has no {sorted(missing)[0]} in its info: wrap it, {WRAP}")
    never = {name: _never(closed, _position(then, name)) for name in ("first", "terminated", "truncated")}
    if never["first"] and not (never["terminated"] and never["truncated"]):  # both: a continuing task
        raise ValueError(f"the environment never begins a new episode: wrap it, {WRAP}")
    _checked.add(env.step)


def require_mask(space: PyTree, info: dict[str, Any], function: str) -> None:
    """Raises ValueError for an action mask whose length or dtype does not fit the action space."""
    mask = info.get("action_mask")
    if mask is None:
        return
    leaves = jax.tree.leaves(space)
    if len(leaves) != 1 or isinstance(leaves[0], Box):
        raise ValueError(f"an action mask needs one Discrete or MultiDiscrete action space, not {space}")
    size = leaves[0].n if isinstance(leaves[0], Discrete) else sum(leaves[0].nvec)
    if tuple(mask.shape) != (size,) or mask.dtype != np.bool_:
        raise ValueError(
            f"the action_mask of {function} is {mask.dtype}{list(mask.shape)}: {space} needs one bool for "
            f"each choice, bool[{size}]"
        )


def require_objective(objective: Objective) -> None:
    """Raises ValueError unless `objective` is a policy objective."""
    if isinstance(objective, Objective):
        return
    name = objective if isinstance(objective, str) else getattr(objective, "__name__", "")
    remedy = f"objectives.{name}()" if name.isidentifier() else "objectives.ppo(), for example"
    raise ValueError(f"an objective is a value, not {_kind(objective)}: give {remedy}")


def require_run(algo: Algorithm, key: jax.Array, hp: PyTree, num_updates: int) -> None:
    """Raises ValueError if an argument of `train.run` has the wrong type."""
    order = "write run(algo, key, hp, num_updates)"
    if not isinstance(algo, Algorithm):
        raise ValueError(f"algo must be what `make` of an algorithm returns, not {_kind(algo)}: {order}")
    require_key(key, order)
    if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) and jnp.shape(key) != ():
        raise ValueError(
            f"key must be a single key, not keys of shape {jnp.shape(key)}: for several agents, "
            "jax.vmap(partial(train.run, algo, num_updates=N), (0, None))(keys, hp)"
        )
    if not isinstance(hp, type(algo.hparams)):
        raise ValueError(f"hp must be hyperparameters, as algo.hparams, not {_kind(hp)}: {order}")
    if isinstance(num_updates, jax.core.Tracer) or int(num_updates) != num_updates or num_updates < 0:
        given = "traced" if isinstance(num_updates, jax.core.Tracer) else num_updates
        raise ValueError(
            f"num_updates must be a whole number that is known to Python, not {given}: under jax.jit, "
            "give it by partial(train.run, algo, num_updates=N)"
        )


def require_key(key: jax.Array, order: str) -> None:
    """Raises ValueError, with the `order` of the arguments, unless `key` is a random key, or several."""
    dtype = getattr(key, "dtype", None)
    raw = dtype == jnp.uint32 and jnp.shape(key) == (2,)
    if dtype is None or not (raw or jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)):
        raise ValueError(f"key must be a random key, as jax.random.key(0), not {_kind(key)}: {order}")


def require_network(network: Any, activations: Iterable[str]) -> None:
    """Raises ValueError for a NetworkConfig with invalid sizes or an unknown activation."""
    sizes = network.hidden_sizes
    if not isinstance(sizes, tuple | list):
        raise ValueError(f"hidden_sizes must be a tuple, one size for each layer, not {sizes!r}: ({sizes},)")
    for size in (*sizes, network.memory_size + 1):
        if not isinstance(size, Integral) or size < 1:
            raise ValueError(f"hidden_sizes = {sizes}: sizes must be whole numbers of at least 1")
    if network.activation not in activations:
        raise ValueError(
            f"unknown activation {network.activation!r}: take one of {', '.join(sorted(activations))}"
        )
    if not isinstance(network.num_experts, Integral) or network.num_experts < 1:
        raise ValueError(f"num_experts = {network.num_experts} must be a whole number of at least 1")
    if network.num_experts != type(network)().num_experts and network.torso != "soft_moe":
        raise ValueError(f"num_experts = {network.num_experts} has no effect without torso 'soft_moe'")
    if network.core != type(network)().core and not network.memory_size:
        raise ValueError(f"core = {network.core!r} has no effect without memory: give memory_size = 64, say")


def require_tokens(hidden_sizes: tuple[int, ...], convolved: bool, joined: bool) -> None:
    """Raises ValueError if the torso soft_moe does not fit a network, with or without convolutions."""
    if convolved and joined:
        raise ValueError("torso 'soft_moe' takes an image alone, not joined with others: take torso 'auto'")
    if not convolved and len(hidden_sizes) < 2:
        raise ValueError(
            f"torso 'soft_moe' needs two layers without an image, one before the experts and theirs, not "
            f"hidden_sizes = {tuple(hidden_sizes)}: give (64, 64), say"
        )


def hint_at_scale(space: PyTree) -> None:
    """Logs a warning, once, if the bounds of an action differ much from the scale of an initial policy."""
    for box in (leaf for leaf in jax.tree.leaves(space) if isinstance(leaf, Box)):
        if any(isinstance(bound, jax.core.Tracer) for bound in (box.low, box.high)):
            continue
        low, high = float(np.min(box.low)), float(np.max(box.high))
        reach = np.max(np.abs([box.low, box.high]))
        text = (
            f"the environment takes actions from {low:g} to {high:g}, but those of an untrained policy are "
            "about -1 to 1, so learning may be slow: let the policy scale them, NetworkConfig(squash=True) "
            "(--squash), or scale them in the environment"
        )
        if reach < 1e30 and not 1 / SCALE <= reach <= SCALE and text not in _hints:
            _hints.add(text)
            logging.getLogger("jaxrl").warning(text)


def _no_env(given) -> str:
    one = given[0] if isinstance(given, tuple) and given else given  # gymnax.make returns a pair
    package = type(one).__module__.partition(".")[0]
    if isinstance(given, str):
        return f"an algorithm is made for an environment, not for its name: give envs.make({given!r})"
    if package in ("gymnax", "brax"):
        return f"an object of {package} is not a jaxrl environment: give envs.make('{package}/NAME')"
    if package == "gymnasium" or hasattr(given, "unwrapped"):
        return (
            "a Gymnasium environment runs on the host and cannot be part of a JAX program: give "
            "envs.make(NAME); `jaxrl list envs` shows the names"
        )
    return f"an algorithm is made for a jaxrl.types.Env, not for {_kind(given)}"


def _kind(value) -> str:
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype}{list(value.shape)}"
    return repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"


def _require_in_space(space: PyTree, obs: PyTree, what: str) -> None:
    leaves, structure = jax.tree.flatten(space)
    if structure != jax.tree.structure(obs):
        raise ValueError(f"{what} does not have the structure of the observation space {space}")
    for own, leaf in zip(leaves, jax.tree.leaves(obs)):
        shape, dtype = _shape_of(own)
        if tuple(leaf.shape) != shape:
            raise ValueError(f"{what} has the shape {leaf.shape}, but its space says {shape}: {own}")
        weak = "a weakly typed " * bool(getattr(leaf, "weak_type", False))
        if weak or leaf.dtype != dtype:
            raise ValueError(f"{what} is {weak}{leaf.dtype}, not {dtype}: wrap it, fix_dtypes(env)")


def _shape_of(space) -> tuple[tuple[int, ...], np.dtype]:
    if isinstance(space, Box):
        return tuple(space.shape), np.dtype(space.dtype)
    return ((len(space.nvec),) if isinstance(space, MultiDiscrete) else ()), np.dtype(np.int32)


def _require_layers(layers: tuple[str, ...]) -> None:
    """Checks that wrappers which count are inside the one that starts new episodes."""
    outside = layers[layers.index("auto_reset") + 1 :] if "auto_reset" in layers else ()
    wrong = [name for name in outside if name in ("episode_stats", "time_limit")]
    if wrong:
        reason = "so it keeps counting after an episode has ended"
        raise ValueError(f"{wrong[0]} is around auto_reset, {reason}: write {WRAP}")


def _position(timestep: TimeStep, field: str) -> int:
    """The position of a field of the TimeStep among the outputs of `step`, counted from the end."""
    marked = jax.tree.map(lambda _: False, timestep).replace(**{field: True})
    leaves = jax.tree.leaves(marked)
    return leaves.index(True) - len(leaves)


def _never(closed: ClosedJaxpr, position: int) -> bool:
    """Whether a boolean output of a program is always false, independent of its inputs."""
    jaxpr, out = closed.jaxpr, closed.jaxpr.outvars[position]
    if isinstance(out, Literal):
        return not out.val
    varying, constant = set(jaxpr.invars), []
    for eqn in jaxpr.eqns:
        if varying.isdisjoint(v for v in eqn.invars if isinstance(v, Var)):
            constant.append(eqn)
        else:
            varying.update(eqn.outvars)
    if out in varying:
        return False
    debug_info = jaxpr.debug_info.with_unknown_names()
    alone = jaxpr.replace(invars=[], eqns=constant, outvars=[out], debug_info=debug_info)
    (value,) = jaxpr_as_fun(ClosedJaxpr(alone, closed.consts))()
    return not isinstance(value, jax.core.Tracer) and not value
