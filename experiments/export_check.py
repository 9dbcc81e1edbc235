"""Comparison of exported policies with the algorithm: random policies, and a runner for every format.

The tests and `export_table` use it. Axes: `T` time, `N` environments, `K` outputs of the network.
"""

import ctypes
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import fitness, policies, spaces, stats
from jaxrl.artifact import load, policy
from jaxrl.artifact import recipe as recipes
from jaxrl.artifact.describe import describe
from jaxrl.artifact.recipe import Part, Recipe
from jaxrl.artifact.to_c import to_c
from jaxrl.artifact.to_onnx import to_onnx
from jaxrl.artifact.to_stablehlo import to_stablehlo
from jaxrl.critics import SCALAR, Head
from jaxrl.distributions import num_outputs
from jaxrl.envs.wrappers import auto_reset, episode_stats, restart, transition
from jaxrl.policies import NetworkConfig
from jaxrl.spaces import Discrete, MultiDiscrete
from jaxrl.types import Env

TIME, LANES = 10, 100  # 1,000 observations; only recurrent policies have a time axis


class Case(NamedTuple):
    """A policy with random weights, observations, and the algorithm's outputs for them; `[T, N, ...]`.

    `outputs` are logits or means, `[T, N, K]`; `mask` is None if all actions are allowed.
    """

    recipe: Recipe
    obs: Any
    mask: np.ndarray | None
    first: np.ndarray
    outputs: np.ndarray
    action: Any


def random_case(
    observation_space: Any,
    action_space: Any,
    network: NetworkConfig,
    normalize: bool = False,
    masked: bool = False,
    searched: bool = False,
    values: bool = False,
    head: Head = SCALAR,
    noisy: bool = False,
) -> Case:
    """A policy with random weights in an environment with these spaces.

    Args:
      searched: the policy of ES and GA, instead of that of the algorithms with a value function.
      values: the values of actions, from two heads (dueling), as of DQN.
      head, noisy: of the values of actions.
    """
    env = _spaces_alone(observation_space, action_space, masked)
    make = policies.actor if searched else policies.actor_critic
    q_network = {"dueling": True, "head": head, "noisy": noisy}
    policy = policies.q_values(env, network, **q_network) if values else make(env, network)
    rng, width = np.random.default_rng(7), num_outputs(action_space)

    def weights(like):  # as large as those of a trained network; no zero biases
        return rng.normal(size=like.shape).astype(np.float32) / max(np.prod(like.shape[:-1]), 1.0) ** 0.5

    params = jax.tree.map(weights, jax.eval_shape(policy.init, jax.random.key(0)))
    obs_stats: Any = ()
    if normalize:
        mean, std = rng.uniform(size=(2, *policy.obs_shape)).astype(np.float32)
        obs_stats = stats.RunningStats(mean, std**2 + np.float32(0.01), np.float32(1e3))
    obs = jax.tree.map(partial(_sampled, rng), observation_space)
    mask = rng.random((TIME, LANES, width)) < 0.6 if masked else None
    first = rng.random((TIME, LANES)) < 0.2
    first[0] = True
    learned = policies.best_action(policy) if values else policies.act(policy, greedy=True)
    play = fitness.player(env, 1, network).act if searched else learned

    @jax.jit
    def answers(params, obs_stats, *over):
        state = SimpleNamespace(params=params, obs_stats=obs_stats)
        acting = partial(play, params, obs_stats) if searched else partial(play, state)

        def step(memory, now):
            obs, mask, first = now
            outputs = policy.step(params, memory, policy.encode(obs_stats, obs), first)[1]
            outputs = outputs if searched or values else outputs[0]
            outputs = head.value(outputs) if values else outputs
            key = () if searched else (None,)  # the most likely action needs no key
            memory, action = acting(memory, *key, obs, first, mask)
            return memory, (outputs[..., :width], action)

        return jax.lax.scan(step, policy.initial_memory(LANES), over)[1]

    outputs, action = jax.tree.map(np.asarray, answers(params, obs_stats, obs, mask, first))
    recipe = describe(observation_space, action_space, network, params, obs_stats, masked, head)
    return Case(recipe, obs, mask, first, outputs, action)


def _spaces_alone(observation_space, action_space, masked) -> Env:
    """An environment that is never stepped: only its spaces and its mask matter."""
    info = {"action_mask": jnp.ones(num_outputs(action_space), bool)} if masked else {}

    def reset(key):
        return (), restart(jax.tree.map(lambda space: spaces.sample(space, key), observation_space), info)

    def step(key, state, action):
        obs = jax.tree.map(lambda space: spaces.sample(space, key), observation_space)
        return (), transition(obs, 0.0, False, info)

    return auto_reset(episode_stats(Env(reset, step, observation_space, action_space)))


def _sampled(rng, space) -> np.ndarray:
    """Random observations of a space, `[T, N, ...]`."""
    shape = (TIME, LANES, *space.shape)
    if isinstance(space, Discrete | MultiDiscrete):
        return rng.integers(0, getattr(space, "nvec", getattr(space, "n", 0)), shape).astype(np.int32)
    if np.issubdtype(space.dtype, np.floating):
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(0, np.max(space.high) + 1, shape).astype(space.dtype)


# --- runners: (obs, memory [N, M], mask) -> outputs [N, K], parts of the action, memory ------------


def with_numpy(recipe: Recipe, folder: Path) -> Callable:
    policy.write(folder / "policy.npz", of_seeds([recipe]))
    loaded = load(folder)

    def step(obs, memory, mask):
        memory, action, outputs = loaded.step(memory, obs, mask)
        return outputs, recipes.leaves(recipe.action, action), memory

    return step


def with_stablehlo(recipe: Recipe, folder: Path) -> Callable:
    call = jax.jit(jax.export.deserialize(bytearray(to_stablehlo(recipe))).call)

    def step(obs, memory, mask):
        inputs = {"memory": memory} if recipe.memory_size else {}
        inputs |= {} if mask is None else {"action_mask": mask}
        obs = recipes.build(recipe.observation, recipes.leaves(recipe.observation, obs))
        answer = jax.device_get(call(obs=obs, **inputs))
        actions = recipes.leaves(recipe.action, answer["action"])
        return answer["outputs"], actions, answer.get("memory", memory)

    return step


def with_onnx(recipe: Recipe, folder: Path) -> Callable:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(to_onnx(recipe), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def step(obs, memory, mask):
        parts = recipes.leaves(recipe.observation, obs)
        inputs = {part.name: x for part, x in zip(recipe.observation_parts, parts)}
        inputs |= {"memory": memory} if recipe.memory_size else {}
        inputs |= {} if mask is None else {"action_mask": mask}
        answer = dict(zip(names, session.run(None, inputs)))
        actions = [answer[part.name] for part in recipe.action_parts]
        return answer["outputs"], actions, answer.get("next_memory", memory)

    return step


def with_c(recipe: Recipe, folder: Path) -> Callable:
    """The header in a shared library, called for each observation in turn."""
    (folder / "policy.h").write_text(to_c(recipe))
    (folder / "call.c").write_text(_caller(recipe))
    flags = "-Wall -Wextra -Werror -pedantic -std=c99 -O2 -shared -fPIC"
    command = ["gcc", *flags.split(), "call.c", "-o", "call.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "call.so"))

    def step(obs, memory, mask):
        size = len(memory)
        parts = [np.ascontiguousarray(x) for x in recipes.leaves(recipe.observation, obs)]
        memory, outputs = memory.copy(), np.zeros((size, recipe.num_outputs), np.float32)
        dtypes = [np.int32 if part.sizes else np.float32 for part in recipe.action_parts]
        actions = [np.zeros((size, *part.shape), t) for part, t in zip(recipe.action_parts, dtypes)]
        masks = [] if mask is None else [np.ascontiguousarray(mask)]
        inputs = [*parts, *[memory] * bool(recipe.memory_size), *masks]
        library.call(size, *(ctypes.c_void_p(x.ctypes.data) for x in (*inputs, *actions, outputs)))
        return outputs, actions, memory

    return step


def _caller(recipe: Recipe) -> str:
    """A C function `call` that calls the policy for each of `size` observations."""
    types = {"uint8": "uint8_t", "bool": "uint8_t", "float32": "float", "int32": "int32_t"}

    def number(part: Part) -> int:
        return max(int(np.prod(part.shape)), 1)

    taken = [(f"const {types[part.dtype]}", part.name, number(part)) for part in recipe.observation_parts]
    taken += [("float", "memory", recipe.memory_size)] * bool(recipe.memory_size)
    taken += [("const uint8_t", "action_mask", recipe.num_outputs)] * recipe.masked
    kinds = ["int32_t" if part.sizes else "float" for part in recipe.action_parts]
    taken += [(kind, part.name, number(part)) for kind, part in zip(kinds, recipe.action_parts)]
    taken += [("float", "outputs", recipe.num_outputs)]
    head = f"void call(int size, {', '.join(f'{kind} *{name}' for kind, name, _ in taken)})"
    arguments = ", ".join(f"{name} + n * {numbers}" for _, name, numbers in taken)
    body = f"for (int n = 0; n < size; ++n) policy_act({arguments});"
    return f'#include "policy.h"\n{head};\n{head}\n{{\n    {body}\n}}\n'


PLAYERS = {"npz": with_numpy, "stablehlo": with_stablehlo, "onnx": with_onnx, "c": with_c}


def of_seeds(each: list[Recipe], scores: Any = None, first_seed: int = 0) -> policy.Artifact:
    """An artifact of several policies with the same network."""
    arrays = [[layer.arrays for layer in one.layers] for one in each]
    arrays, bounds = jax.tree.map(lambda *x: np.stack(x), *zip(arrays, (one.bounds for one in each)))
    layers = tuple(recipes.Layer(layer.op, weights) for layer, weights in zip(each[0].layers, arrays))
    scores = np.full(len(each), np.nan) if scores is None else np.asarray(scores, np.float64)
    seeds = np.arange(first_seed, first_seed + len(each))
    return policy.Artifact(each[0]._replace(layers=layers, bounds=bounds), seeds, scores, {})


def largest_differences(case: Case, step: Callable) -> tuple[float, float]:
    """The largest differences between a runner and the algorithm: of the outputs, and of the actions.

    For a discrete action, the difference is by how much its logit is below that of the algorithm's action:
    0 for the same action, and tiny if two logits differ only by rounding.
    """
    memory = np.zeros((LANES, case.recipe.memory_size), np.float32)
    parts, of_outputs, of_actions = case.recipe.action_parts, [0.0], [0.0]
    for t in range(TIME):
        memory = np.where(case.first[t][:, None], np.float32(0.0), memory)
        obs, action, mask = jax.tree.map(itemgetter(t), (case.obs, case.action, case.mask))
        outputs, actions, memory = step(obs, memory, mask)
        of_outputs.append(np.abs(outputs - case.outputs[t]).max())
        for part, where, ours, theirs in zip(
            parts, recipes.slices(parts), actions, jax.tree.leaves(action), strict=True
        ):
            logits = case.outputs[t][:, where]
            logits = logits if mask is None else np.where(mask, logits, -1e9)
            of_actions.append(_of_action(part, logits, np.asarray(ours), theirs))
    return float(max(of_outputs)), float(max(of_actions))


def _of_action(part: Part, logits, ours, theirs) -> float:
    if ours.shape != theirs.shape:
        return np.inf
    if not part.sizes:
        return np.abs(ours - theirs).max()
    lanes, worst = np.arange(len(ours)), 0.0
    ours, theirs = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
    for i, (start, end) in enumerate(pairwise(np.cumsum([0, *part.sizes]))):
        block = logits[:, start:end]
        worst = max(worst, np.abs(block[lanes, theirs[:, i]] - block[lanes, ours[:, i]]).max())
    return worst
