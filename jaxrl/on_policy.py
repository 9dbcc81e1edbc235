"""What on-policy algorithms have in common: a policy in its environments, and what a rollout teaches.

An algorithm collects `num_steps` steps of `num_envs` environments, learns from them and drops them. How
it learns is its own; how it acts, what it stores and what an action was worth is here. Axes: `T`
num_steps, `N` num_envs, `K` outputs of the network.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl import distributions, networks, stats
from jaxrl.returns import gae
from jaxrl.rollout import episode_metrics, rollout, shuffle, vectorize
from jaxrl.spaces import require_bounded_box, require_division
from jaxrl.types import Env, Judgement


class Agent(NamedTuple):
    """A policy with a value function in its environments, as functions of arrays.

    `state` is whatever has the fields `params env_state timestep memory obs_stats reward_stats`, `data`
    what `experience` returns and `batch` a part of it, ready for the network.

    Attributes:
      begin: `(key, gamma) -> dict` of those fields, and a `key` to go on with.
      experience: `(state, key, gamma, gae_lambda) -> (dict, data, metrics)`: a rollout, and the fields but
        `params` after it. `data` `[T, N, ...]` holds `obs first action outputs log_prob value advantages
        targets`, and `action_mask` where there is one; without memory as `[1, T * N, ...]`.
      minibatches: `(key, num_epochs) -> [M, B]`: the columns of `data` in each gradient step.
      batch: `(state, data, columns=None) -> batch`: those columns; None: all.
      evaluate: `(params, batch) -> (outputs [..., K], value [...])`.
      distribution: `(batch, outputs) -> Distribution` over raw actions.
      kl: `(batch, outputs) -> [...]`: KL(pi_old || pi), of the policy that collected from that of `outputs`.
      collect: `(state, key) -> (state, Transitions)`: a rollout that nothing is learned from.
      judge: `(state, Transitions) -> Judgement` of the policy and the value function as they are.
      act: `(state, memory, key, obs, first, action_mask) -> (memory, action)`, as Algorithm has it.
      warmup_steps: environment steps that `begin` takes, for the first statistics of normalization.
    """

    begin: Callable
    experience: Callable
    minibatches: Callable
    batch: Callable
    evaluate: Callable
    distribution: Callable
    kl: Callable
    collect: Callable
    judge: Callable
    act: Callable
    warmup_steps: int


def make(
    env: Env,
    body: nn.Module | None,
    *,
    num_envs: int,
    num_steps: int,
    torso: str,
    hidden_sizes: Sequence[int],
    activation: str,
    shared_torso: bool,
    memory_size: int,
    init_log_std: float,
    squash: bool,
    normalize_obs: bool,
    normalize_reward: bool,
    greedy: bool,
    num_minibatches: int = 1,
    **_,
) -> Agent:
    """An agent in `env`; the arguments are the fields of `jaxrl.algos.ppo.Config`, others are let pass.

    Args:
      body: a flax module `[..., *obs] -> [..., F]` instead of the one that `torso` names.

    Raises:
      ValueError: a batch that does not divide, an option that does not fit the spaces.
    """
    # Without memory minibatches are drawn from all steps, with memory from whole environments.
    columns = num_envs * (1 if memory_size else num_steps)
    require_division("num_envs" if memory_size else "num_envs * num_steps", columns, num_minibatches)
    if squash:
        require_bounded_box(env.action_space, "squash")
    flat = body is None and not networks.use_cnn(env.observation_space, torso)
    kind = networks.MLP if flat else networks.CNN
    net = networks.ActorCritic(
        torso=body or kind(hidden_sizes=hidden_sizes, activation=activation),
        num_outputs=distributions.num_outputs(env.action_space),
        num_log_stds=distributions.num_log_stds(env.action_space),
        shared=shared_torso,
        memory_size=memory_size,
        init_log_std=init_log_std,
    )
    of_outputs = partial(distributions.make, env.action_space, squash=squash)
    bound = partial(distributions.bound, env.action_space, squash=squash)
    encode = partial(networks.encode, env.observation_space, flat=flat)
    bounded_env = env._replace(step=lambda key, s, action: env.step(key, s, bound(action)))
    envs = vectorize(bounded_env, num_envs)

    def see(obs_stats, obs):
        x = encode(obs)
        return stats.normalize(obs_stats, x) if normalize_obs else x

    def play(params, obs_stats, key, env_state, timestep, memory):
        def explore(memory, key, obs, first, action_mask):
            memory, (outputs, _) = net.apply(params, memory, see(obs_stats, obs), first)
            action = of_outputs(outputs, action_mask=action_mask).sample(key)
            # Data: no meta-gradient passes through an action.
            return memory, jax.lax.stop_gradient(action), {"outputs": outputs}

        return rollout(envs, explore, key, env_state, timestep, memory, num_steps)

    def observe(obs_stats, reward_stats, batch, gamma):
        if normalize_obs:
            obs_stats = stats.update(obs_stats, encode(batch.obs))
        if normalize_reward:
            reward_stats = stats.update_reward(reward_stats, batch.reward, batch.done, gamma)
        return {"obs_stats": obs_stats, "reward_stats": reward_stats}

    def begin(key, gamma):
        key, params_key, env_key, warmup_key = jax.random.split(key, 4)
        env_state, timestep = envs.reset(env_key)
        memory, x = net.initial_memory(num_envs), encode(timestep.obs)
        params = networks.initialize(net, params_key, memory, x, timestep.first)
        obs_stats = stats.init(x.shape[1:]) if normalize_obs else ()
        reward_stats = stats.init_reward(num_envs) if normalize_reward else ()
        seen = {"obs_stats": obs_stats, "reward_stats": reward_stats}
        where = (env_state, timestep, memory)
        if normalize_obs or normalize_reward:  # the first statistics, from a trial rollout
            where, batch = play(params, obs_stats, warmup_key, *where)
            seen = observe(**seen, batch=batch, gamma=gamma)
        return {"key": key, "params": params, **_places(where), **seen}

    def experience(state, key, gamma, gae_lambda):
        where = (state.env_state, state.timestep, state.memory)
        where, batch = play(state.params, state.obs_stats, key, *where)
        x, next_x = see(state.obs_stats, batch.obs), see(state.obs_stats, batch.next_obs)
        network = partial(net.apply, state.params)
        value, next_value = networks.values(network, batch.memory, where[2], x, batch.first, next_x)
        scale = partial(stats.scale_reward, state.reward_stats)
        reward = scale(batch.reward) if normalize_reward else batch.reward
        advantages = gae(reward, value, next_value, batch.terminated, batch.truncated, gamma, gae_lambda)
        outputs, mask = batch.extras["outputs"], batch.info.get("action_mask")
        data = {
            "obs": batch.obs,
            "first": batch.first,
            "action": batch.action,
            "outputs": outputs,
            "log_prob": of_outputs(outputs, action_mask=mask).log_prob(batch.action),
            "value": value,
            "advantages": advantages,
            "targets": advantages + value,
        }
        if mask is not None:
            data["action_mask"] = mask
        if not memory_size:  # nothing is remembered: every step is a sequence of its own
            data = jax.tree.map(lambda leaf: leaf.reshape((1, -1, *leaf.shape[2:])), data)
        metrics = episode_metrics(batch.info, batch.done)
        metrics["value/explained_variance"] = 1.0 - advantages.var() / (data["targets"].var() + 1e-8)
        return {**_places(where), **observe(state.obs_stats, state.reward_stats, batch, gamma)}, data, metrics

    def minibatches(key, num_epochs):
        return shuffle(key, columns, num_epochs, num_minibatches)

    def batch(state, data, columns=None):
        chosen, memory = dict(data), state.memory
        if columns is not None:
            chosen, memory = jax.tree.map(lambda leaf: leaf[:, columns], chosen), _rows(memory, columns)
        return chosen | {"x": see(state.obs_stats, chosen.pop("obs")), "memory": memory}

    def evaluate(params, batch):
        return networks.unroll(partial(net.apply, params), batch["memory"], batch["x"], batch["first"])

    def distribution(batch, outputs):
        return of_outputs(outputs, action_mask=batch.get("action_mask"))

    def kl(batch, outputs):
        return distributions.kl(env.action_space, batch["outputs"], outputs, batch.get("action_mask"))

    def collect(state, key):
        where = (state.env_state, state.timestep, state.memory)
        where, batch = play(state.params, state.obs_stats, key, *where)
        return state.replace(**_places(where)), batch

    def judge(state, batch):
        x = see(state.obs_stats, batch.obs)
        _, (outputs, value) = net.apply(state.params, batch.memory, x, batch.first)
        pi = of_outputs(outputs, action_mask=batch.info.get("action_mask"))
        return Judgement(pi.log_prob(batch.action), pi.entropy(), value)

    def act(state, memory, key, obs, first, action_mask=None):
        memory, (outputs, _) = net.apply(state.params, memory, see(state.obs_stats, obs), first)
        pi = of_outputs(outputs, action_mask=action_mask)
        return memory, bound(pi.mode() if greedy else pi.sample(key))

    warmup_steps = num_envs * num_steps if normalize_obs or normalize_reward else 0
    learning = (begin, experience, minibatches, batch, evaluate, distribution, kl)
    return Agent(*learning, collect, judge, act, warmup_steps)


def _places(where):
    return dict(zip(("env_state", "timestep", "memory"), where))


def _rows(memory, columns):
    return jax.tree.map(lambda m: m[columns], memory)


def standardize(advantages: jax.Array) -> jax.Array:
    """Advantages with mean 0 and variance 1; a single one, which would always become 0, as it is."""
    if advantages.size < 2:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def half_square(value: jax.Array, targets: jax.Array) -> jax.Array:
    """The value loss: the mean of 1/2 (V(s) - G)^2."""
    return 0.5 * jnp.square(value - targets).mean()
