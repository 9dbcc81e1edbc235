"""The environments of gymnax 1.0 (Lange 2022, https://github.com/RobertTLange/gymnax) as raw `Env`s.

Dynamics, rewards and terminations are those of gymnax, including its deviations from the originals:
MinAtar's games have no sticky actions and are truncated after 1000 steps, so scores are not comparable with
published ones; SimpleBandit reorders its arms every step and cannot be learned.

Differences: there is no auto-reset and no time limit (`jaxrl.envs.make` adds both), rewards are
float32, `info` is empty, and the observation space contains all observations that the environment produces.
"""

import contextlib
import importlib
import inspect
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.entry import require_among
from jaxrl.envs.wrappers import fix_dtypes, restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

# All ids with their time limits under default parameters, listed here to avoid importing gymnax.
TIME_LIMITS = {
    "CartPole-v1": 500,
    "Pendulum-v1": 200,
    "Acrobot-v1": 500,
    "MountainCar-v0": 200,
    "MountainCarContinuous-v0": 999,
    "Asterix-MinAtar": 1000,
    "Breakout-MinAtar": 1000,
    "Freeway-MinAtar": 2500,
    "Seaquest-MinAtar": 1000,
    "SpaceInvaders-MinAtar": 1000,
    "Catch-bsuite": 1000,
    "DeepSea-bsuite": 8,
    "MemoryChain-bsuite": 1000,
    "UmbrellaChain-bsuite": 100,
    "DiscountingChain-bsuite": 100,
    "MNISTBandit-bsuite": 1,
    "SimpleBandit-bsuite": 100,
    "FourRooms-misc": 500,
    "MetaMaze-misc": 200,
    "PointRobot-misc": 100,
    "BernoulliBandit-misc": 100,
    "GaussianBandit-misc": 100,
    "Reacher-misc": 100,
    "Swimmer-misc": 500,
    "Pong-misc": 1000,
    "FrozenLake-misc": 100,
}


def make(gymnax_id: str, /, **params: Any) -> Env:
    """The raw environment of a gymnax id.

    Args:
      params: fields of gymnax's `EnvParams`, which can be traced, and arguments of the environment's
        constructor, which determine array shapes and cannot. Values that gymnax derives from them (CartPole's
        `total_mass` and `polemass_length`) are recomputed, unless they are given too.

    Raises:
      ValueError: for an unknown parameter or one of the wrong kind.
      OSError: a data set that the environment needs cannot be downloaded.
    """
    fields = dict(params)
    env, defaults = _construct(gymnax_id)
    known_fields, known_arguments = _fields(defaults), _arguments(env)
    require_among(gymnax_id, {*known_fields, *known_arguments}, params)

    arguments = {name: fields.pop(name) for name in known_arguments if name in fields}
    for name, value in arguments.items():
        if isinstance(value, jax.core.Tracer):
            raise ValueError(f"{name} of {gymnax_id} determines array shapes and cannot be traced")
    if arguments:
        env, defaults = _construct(gymnax_id, **arguments)
    fields = {n: _like(gymnax_id, n, known_fields[n], value) for n, value in fields.items()}
    env_params = defaults.replace(**fields)
    env_params = env_params.replace(**_derived(gymnax_id, env_params, fields))

    traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(env_params))
    with contextlib.nullcontext() if traced else jax.ensure_compile_time_eval():
        observation_space = _observation_space(gymnax_id, env, env_params)
        action_space = _space(env.action_space(env_params))

    def as_declared(obs):
        return jax.tree.map(lambda space, x: jnp.asarray(x, space.dtype), observation_space, obs)

    def reset(key):
        obs, state = env.reset_env(key, env_params)
        return state, restart(as_declared(obs), first_info())

    def step(key, state, action):
        obs, state, reward, terminated, info = env.step_env(key, state, action, env_params)
        info = {name: info[name] for name in info if name == "action_mask"}
        return state, transition(as_declared(obs), reward, terminated, info)

    def first_info():
        # gymnax's reset returns no mask, so all actions are allowed in the first observation. gymnax's
        # environments have no masks; tracing their steps to check would cost start-up time.
        if gymnax_id in TIME_LIMITS:
            return {}
        key = jax.random.key(0)
        _, state = jax.eval_shape(env.reset_env, key, env_params)
        action = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype), action_space)
        info = jax.eval_shape(env.step_env, key, state, action, env_params)[-1]
        return {n: jnp.ones(info[n].shape, info[n].dtype) for n in info if n == "action_mask"}

    return fix_dtypes(Env(reset, step, observation_space, action_space))


def params(gymnax_id: str) -> dict[str, Any]:
    """The scalar parameters of `make` with their defaults; imports gymnax.

    Without derived ones and `max_steps_in_episode`, for which `jaxrl.envs.make` has `max_steps`.
    """
    if gymnax_id == "MNISTBandit-bsuite":  # its constructor downloads the images
        cls = _import_gymnax().environments.bsuite.mnist.MNISTBandit
        env, defaults = cls, cls.default_params.fget(None)
    else:
        env, defaults = _construct(gymnax_id)
    left_out = {"max_steps_in_episode", *_DERIVED.get(gymnax_id, {})}
    everything = {**_fields(defaults), **_arguments(env)}
    return {
        name: value
        for name, value in everything.items()
        if isinstance(value, bool | int | float) and name not in left_out
    }


def limit(gymnax_id: str, **params: Any) -> int:
    """gymnax's time limit for an environment with these parameters."""
    if "max_steps_in_episode" in params:
        return params["max_steps_in_episode"]
    if gymnax_id == "DeepSea-bsuite":
        return params.get("size", TIME_LIMITS[gymnax_id])
    if gymnax_id == "FrozenLake-misc":
        desc: Any = params.get("desc") or {"8x8": ["." * 8] * 8}.get(params.get("map_name", ""), ())
        return 200 if (len(desc), *{len(row) for row in desc}) == (8, 8) else 100
    return TIME_LIMITS[gymnax_id]


_DERIVED = {
    "CartPole-v1": {
        "total_mass": lambda p: p.masscart + p.masspole,
        "polemass_length": lambda p: p.masspole * p.length,
    }
}


def _derived(gymnax_id: str, env_params, given) -> dict[str, Any]:
    rules = _DERIVED.get(gymnax_id, {})
    return {name: rule(env_params) for name, rule in rules.items() if name not in given}


def _construct(gymnax_id: str, **arguments):
    gymnax = _import_gymnax()
    try:
        # Some constructors branch on arrays, which a surrounding jit would make abstract.
        with jax.ensure_compile_time_eval():
            env, defaults = gymnax.make(gymnax_id, **arguments)
            if gymnax_id == "MNISTBandit-bsuite":
                # gymnax reads the bytes as signed: half of the gray levels would be negative.
                env.images = jnp.asarray(np.asarray(env.images).view(np.uint8))
    except (OSError, EOFError) as error:
        loader = importlib.import_module("gymnax.utils.load_mnist").load_mnist
        folder = inspect.signature(loader).parameters["directory"].default
        raise OSError(
            f"{gymnax_id} needs the MNIST images, and fetching them failed ({error}): "
            f"connect to the network or put the four files of MNIST (.gz) into {folder}"
        ) from error
    return env, defaults


def _fields(env_params) -> dict[str, Any]:
    return {name: getattr(env_params, name) for name in env_params.__dataclass_fields__}


def _arguments(env) -> dict[str, Any]:
    cls = env if inspect.isclass(env) else type(env)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in found if p.kind in kinds}


def _like(gymnax_id: str, name: str, default, value):
    """`value` with the type of `default`: gymnax's `lax.select`s accept no other."""
    try:
        dtype, wanted = jnp.result_type(value), jnp.result_type(default)
        fits = jnp.shape(value) == jnp.shape(default)
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(f"{name} of {gymnax_id} must be like {default!r}, not {value!r}")
    if jnp.issubdtype(dtype, jnp.floating) and not jnp.issubdtype(wanted, jnp.floating):
        kind = "true or false" if jnp.issubdtype(wanted, jnp.bool_) else "a whole number"
        raise ValueError(f"{name} of {gymnax_id} must be {kind}, not {value!r}")
    if isinstance(value, bool | int | float) and isinstance(default, bool | int | float):
        return type(default)(value)
    return jnp.asarray(value, wanted)


def _space(space):
    """A gymnax space as a space of jaxrl; bounds are NumPy arrays unless they are traced."""
    kind = type(space).__name__
    if kind == "Discrete":
        return Discrete(int(space.n))
    if kind == "Dict":
        return {name: _space(child) for name, child in space.spaces.items()}
    if kind == "Tuple":
        return tuple(_space(child) for child in space.spaces)
    low, high = (
        bound if isinstance(bound, jax.core.Tracer) else np.asarray(bound, space.dtype)
        for bound in (space.low, space.high)
    )
    return Box(low, high, tuple(space.shape), np.dtype(space.dtype))


def _observation_space(gymnax_id: str, env, env_params):
    """The space of the observations, corrected where gymnax's declaration is wrong.

    Elapsed time is unbounded here, because raw environments have no time limit; so is a reward.
    """
    inf = np.inf
    rounded = -1e-6  # under jit, 1 - 10 / 10 is not quite 0
    if gymnax_id.endswith("-MinAtar"):  # declared float32; a quarter of the size is stored faster
        return Box(False, True, env.obs_shape, np.bool_)
    if gymnax_id == "Catch-bsuite":  # declared int32, produced float32
        return Box(0.0, 1.0, (env.rows, env.columns))
    if gymnax_id == "MemoryChain-bsuite":  # time left, query, and a context of -1, 0 or 1
        return _box([rounded, 0] + [-1] * env.num_bits, [1, env.num_bits] + [1] * env.num_bits)
    if gymnax_id == "UmbrellaChain-bsuite":  # needs and has the umbrella, time left, distractors
        distractors = env.n_distractor
        return _box([0, 0, rounded] + [0] * distractors, [1, 1, 1] + [1] * distractors)
    if gymnax_id == "DiscountingChain-bsuite":  # chosen chain, time
        return _box([-1, 0], [env.n_actions - 1, inf])
    if gymnax_id == "BernoulliBandit-misc":  # reward, action, time
        return _box([0, 0, 0, -inf], [1, 1, 1, inf])
    if gymnax_id == "GaussianBandit-misc":  # the same with an unbounded reward
        return _box([-inf, 0, 0, -inf], [inf, 1, 1, inf])
    if gymnax_id == "MetaMaze-misc":  # surroundings, action, reward, time
        bits = env.rf_size**2 + env.num_actions
        return _box([0] * bits + [-inf, -inf], [1] * bits + [inf, inf])
    return _space(env.observation_space(env_params))


def _box(low, high) -> Box:
    return Box(np.asarray(low, np.float32), np.asarray(high, np.float32), (len(low),))


class _Deferred(types.ModuleType):
    """Placeholder for a module until one of its attributes is accessed."""

    def __getattr__(self, name):
        _withdraw()
        return getattr(importlib.import_module(self.__name__), name)


def _withdraw() -> None:
    for name in [n for n in _DRAWING if isinstance(sys.modules.get(n), _Deferred)]:
        del sys.modules[name]


_DRAWING = ("matplotlib", "matplotlib.colors", "matplotlib.pyplot", "seaborn")


def _import_gymnax():
    """Imports gymnax without the plotting libraries that its `render` methods need.

    They take 0.8 s of its import time of 0.85 s (seaborn imports pandas and scipy.stats). While gymnax is
    imported, placeholders replace them; gymnax keeps these, and they import the real library on first
    use. The standard library's `LazyLoader` does not work here: its modules must stay in
    `sys.modules` permanently, or they refuse to load once the user has imported the real ones. Modules that
    are already imported are not replaced.
    """
    if "gymnax" in sys.modules:
        return sys.modules["gymnax"]
    # A submodule can only be replaced before its package has it as an attribute.
    deferred = {name: _Deferred(name) for name in _DRAWING if name not in sys.modules}
    for name, module in deferred.items():
        package, _, child = name.rpartition(".")
        if package in deferred:
            setattr(deferred[package], child, module)
    if "matplotlib" in deferred:
        deferred["matplotlib"].__path__ = []
    sys.modules.update(deferred)
    try:
        # Imported inside a user's jit, its module constants would stay tracers.
        with jax.ensure_compile_time_eval():
            return importlib.import_module("gymnax")
    finally:
        _withdraw()
