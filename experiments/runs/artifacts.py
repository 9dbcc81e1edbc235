"""The policies of a run as the file `policy.npz` in its folder, for `jaxrl.load` and `jaxrl export`."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import envs, hosts, sources, spaces
from jaxrl.artifact import from_state, policy
from jaxrl.artifact.describe import UNKNOWN, bounds
from jaxrl.critics import SCALAR
from jaxrl.experiments import runs
from jaxrl.spaces import Box

TRIED = 64  # observations on which the description of a file's policy is compared with its `act`


def writer(path: Path, spec: Any, programs: Any) -> Callable:
    """`(state, num_updates, row)`: writes the policies of a run, unless their network cannot be described.

    `row` is the last row of metrics, whose returns are the scores. All processes must call it.
    """
    if programs.env is None:  # a discovery, whose agents are objectives
        return lambda state, num_updates, row: None
    artifact = _maker(spec, programs)

    def write(state, num_updates, row):
        agents = programs.agents(state)
        held, stream = hosts.fetch(from_state.learned(agents)), from_state.shapes_of_stream(agents)

        def write_file():
            with contextlib.suppress(ValueError):
                policy.write(path / policy.FILE, artifact(held, stream, num_updates, row))

        hosts.by_leader(write_file)

    return write


def of_agents(
    spec: Any, programs: Any, state: Any, num_updates: int, row: dict[str, Any] | None
) -> policy.Artifact:
    """The policies in the state of a run. Raises ValueError if they cannot be described."""
    agents = programs.agents(state)
    held, stream = from_state.learned(agents), from_state.shapes_of_stream(agents)
    return _maker(spec, programs)(held, stream, num_updates, row)


def _maker(spec, programs) -> Callable[..., policy.Artifact]:
    """`(held, stream, num_updates, row) -> Artifact`; what does not depend on them is made only once."""
    env, description = programs.env, programs.algo.description
    network = description.network if description else getattr(spec.config, "network", None)
    head = description.head if description else SCALAR
    seeds = np.arange(spec.agents) + (0 if spec.slots > 1 else spec.seed)
    action_bounds = functools.cache(lambda: _bounds(spec, bounds(env.action_space)))
    act = functools.cache(lambda: _greedy(spec, env))

    def artifact(held, stream, num_updates, row):
        if network is None:
            text = "cannot be exported: its Config has no `network`"
            raise ValueError(f"the policy of {spec.algorithm} {text}")
        held = jax.tree.map(np.asarray, held)
        about = {"algorithm": spec.algorithm, "environment": spec.environment, "num_updates": num_updates}
        made = from_state.make(env, network, held, stream, seeds, row, about, head)
        made = made._replace(recipe=made.recipe._replace(bounds=action_bounds()))
        if sources.is_name(spec.algorithm):
            _require_that_it_acts_so(act(), env, held, getattr(stream, "memory", ()), made)
        return made

    return artifact


def _greedy(spec, env) -> Callable:
    """`(learned, memory, key, obs, first) -> action`: the most likely action of an agent of the run."""
    config = spec.config
    if hasattr(config, "greedy"):
        config = dataclasses.replace(config, greedy=True)
    algo = runs.make(dataclasses.replace(spec, config=config), env)
    return jax.jit(lambda learned, *inputs: algo.act(SimpleNamespace(**learned), *inputs)[1])


def _require_that_it_acts_so(act, env, held, memory, artifact) -> None:
    """Compares the description of a policy with `act` of the algorithm's file, which may have any network.

    Its parameters can have the names and shapes of an MLP: those of a network with a skip connection have.

    Args:
      act: as returned by `_greedy`.

    Raises:
      ValueError: they choose different actions.
    """
    finite = [lane for lane in range(len(artifact.seeds)) if _is_finite(held["params"], lane)]
    if not finite:
        return
    agent = jax.tree.map(lambda x: x[finite[0]], held)
    described = policy.Policy(artifact.of(int(artifact.seeds[finite[0]])), 0, artifact)
    sample_key, act_key = jax.random.split(jax.random.key(0))
    obs = jax.vmap(partial(spaces.sample, env.observation_space))(jax.random.split(sample_key, TRIED))
    memory = jax.tree.map(lambda leaf: jnp.zeros((TRIED, *leaf.shape[2:]), leaf.dtype), memory)
    try:
        action = act(agent, memory, act_key, obs, jnp.ones(TRIED, bool))
        both = zip(jax.tree.leaves(action), jax.tree.leaves(described(obs)), strict=True)
        agree = [np.isclose(a, b, rtol=1e-3, atol=1e-3).mean() for a, b in both]
    except Exception:  # of the file's code: it acts by more than its parameters
        agree = [0.0]
    if min(agree) < 0.97:  # two actions may be equally likely
        raise ValueError(f"the policy cannot be exported: {UNKNOWN}")


def _is_finite(params, lane: int) -> bool:
    return all(np.isfinite(x[lane]).all() for x in jax.tree.leaves(params))


def _bounds(spec, of_first) -> tuple[tuple[np.ndarray, ...], ...]:
    """The bounds of every agent's actions `[S, width]`, which may depend on parameters that trials vary."""
    if not _bounds_vary(spec):
        return jax.tree.map(lambda x: np.repeat(x[None], spec.agents, axis=0), of_first)
    trials = {lane: lane // spec.seeds for lane in range(spec.agents)}
    made = {
        trial: bounds(envs.make(spec.environment, **spec.env_of(lane)).action_space)
        for lane, trial in trials.items()
        if lane % spec.seeds == 0
    }
    return jax.tree.map(lambda *each: np.stack(each), *(made[trial] for trial in trials.values()))


def _bounds_vary(spec) -> bool:
    is_traced: list[bool] = []

    def look(varied):
        space = envs.make(spec.environment, **{**spec.env, **varied}).action_space
        boxes = [leaf for leaf in jax.tree.leaves(space) if isinstance(leaf, Box)]
        is_traced.extend(isinstance(x, jax.core.Tracer) for box in boxes for x in (box.low, box.high))
        return 0

    varied = {name: values[0] for name, values in spec.lane_env().items()}
    if varied:
        jax.eval_shape(look, varied)
    return any(is_traced)
