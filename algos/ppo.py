"""PPO: Proximal Policy Optimization, for any policy objective.

    maximise  E[ L(r, A) ] - vf_coef E[ 1/2 (V(s) - G)^2 ] + ent_coef E[ H(pi(.|s)) ]
    r = pi(a|s) / pi_old(a|s),   A = GAE(gamma, gae_lambda),   G = A + V_old(s)

`L` is an `Objective`: the clipped surrogate min(r A, clip(r) A) unless another one is given.
Schulman et al. 2017, https://arxiv.org/abs/1707.06347; the details that matter after Huang et al. 2022,
https://iclr-blog-track.github.io/2022/03/25/ppo-implementation-details/. Here a time limit is no death:
advantages bootstrap from where a truncated step led. Axes: `T` num_steps, `N` num_envs.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl import distributions, networks, objectives, stats
from jaxrl.optimizers import together
from jaxrl.returns import gae
from jaxrl.rollout import episode_metrics, rollout, shuffle, vectorize
from jaxrl.spaces import require_bounded_box, require_counts, require_division
from jaxrl.types import Algorithm, Env, Judgement, Objective


@dataclasses.dataclass(frozen=True)
class Config:
    """What compiles: counts, shapes and switches."""

    num_envs: int = 4  # environments side by side
    num_steps: int = 128  # steps in each environment between two updates
    num_epochs: int = 4  # passes over the steps of an update
    num_minibatches: int = 4  # gradient steps per pass
    torso: Literal["auto", "mlp", "cnn"] = "auto"  # before the heads; auto: a CNN for images, else an MLP
    hidden_sizes: tuple[int, ...] = (64, 64)  # units of the MLP, or of the layers after the convolution
    activation: Literal["tanh", "relu", "silu", "gelu", "elu"] = "tanh"  # between the layers
    shared_torso: bool = False  # one network for policy and value, up to the heads
    memory_size: int = 0  # units of a GRU after the torso (minibatches are then environments); 0: none
    init_log_std: float = 0.0  # log standard deviation of continuous actions at the start
    squash: bool = False  # tanh-squash continuous actions into their bounds instead of cutting them off
    normalize_obs: bool = False  # by running mean and variance, frozen within an update
    normalize_reward: bool = False  # by the running scale of the discounted return
    normalize_advantages: bool = True  # to mean 0 and variance 1, in each minibatch
    clip_value: bool = False  # keep the new value within value_clip_eps of the old one
    greedy: bool = True  # evaluate with the most likely action instead of a draw


@struct.dataclass
class Hparams:
    """What is traced: vary it in a population, differentiate by it, evolve it."""

    learning_rate: float = 2.5e-4  # of Adam, at the start
    lr_decay: float = 1.0  # share of the learning rate that is gone at the end, linearly; 0: constant
    total_updates: float = 977.0  # updates from progress 0 to 1, for all that is annealed
    adam_eps: float = 1e-5  # of Adam
    max_grad_norm: float = 0.5  # a longer gradient, over all parameters at once, is scaled back to this
    gamma: float = 0.99  # discount per step
    gae_lambda: float = 0.95  # trace of the advantage estimator: 0 one step, 1 to the episode's end
    vf_coef: float = 0.5  # weight of the value loss
    ent_coef: float = 0.01  # weight of the entropy bonus
    value_clip_eps: float = 0.2  # in units of the value; used with clip_value
    objective: Any = objectives.ppo().params  # parameters of the policy objective


@struct.dataclass
class TrainState:
    """All that a run changes; `env_state`, `timestep` and `memory` have axes `[N, ...]`."""

    key: jax.Array
    params: Any
    opt_state: Any
    env_state: Any
    timestep: Any
    memory: Any
    obs_stats: Any
    reward_stats: Any
    num_updates: jax.Array


def make(
    env: Env,
    config: Config = Config(),
    objective: Objective = objectives.ppo(),
    torso: nn.Module | None = None,
) -> Algorithm:
    """PPO in `env`: one environment that resets itself and has episode statistics in its `info`.

    Args:
      torso: a flax module of your own, `[..., *obs] -> [..., F]`, instead of `config.torso`.

    Raises:
      ValueError: a count below 1, a batch that does not divide, an option that does not fit the spaces.
    """
    require_counts(config, "num_envs", "num_steps", "num_epochs", "num_minibatches")
    # Without memory minibatches are drawn from all steps, with memory from whole environments.
    columns = config.num_envs * (1 if config.memory_size else config.num_steps)
    require_division(
        "num_envs" if config.memory_size else "num_envs * num_steps", columns, config.num_minibatches
    )
    if config.squash:
        require_bounded_box(env.action_space, "squash")
    flat = torso is None and not networks.use_cnn(env.observation_space, config.torso)
    body = networks.MLP if flat else networks.CNN
    net = networks.ActorCritic(
        torso=torso or body(hidden_sizes=config.hidden_sizes, activation=config.activation),
        num_outputs=distributions.num_outputs(env.action_space),
        num_log_stds=distributions.num_log_stds(env.action_space),
        shared=config.shared_torso,
        memory_size=config.memory_size,
        init_log_std=config.init_log_std,
    )
    distribution = partial(distributions.make, env.action_space, squash=config.squash)
    bound = partial(distributions.bound, env.action_space, squash=config.squash)
    encode = partial(networks.encode, env.observation_space, flat=flat)
    bounded_env = env._replace(step=lambda key, s, action: env.step(key, s, bound(action)))
    envs = vectorize(bounded_env, config.num_envs)

    def progress(hp, num_updates):
        return jnp.clip(num_updates / hp.total_updates, 0.0, 1.0)

    def optimizer(hp, num_updates):
        learning_rate = hp.learning_rate * (1.0 - hp.lr_decay * progress(hp, num_updates))
        clip = optax.clip_by_global_norm(hp.max_grad_norm)
        # eps_root: where a gradient is 0, meta-gradients would else be 0 / 0. Too little to change a step.
        return together(optax.chain(clip, optax.adam(learning_rate, eps=hp.adam_eps, eps_root=1e-30)))

    def see(state, obs):
        x = encode(obs)
        return stats.normalize(state.obs_stats, x) if config.normalize_obs else x

    def collect(state, key):
        def explore(memory, key, obs, first, action_mask):
            memory, (outputs, _) = net.apply(state.params, memory, see(state, obs), first)
            action = distribution(outputs, action_mask=action_mask).sample(key)
            return memory, jax.lax.stop_gradient(action), {"outputs": outputs}

        start = state.env_state, state.timestep, state.memory
        (env_state, timestep, memory), batch = rollout(envs, explore, key, *start, config.num_steps)
        return state.replace(env_state=env_state, timestep=timestep, memory=memory), batch

    def judge(state, batch):
        _, (outputs, value) = net.apply(state.params, batch.memory, see(state, batch.obs), batch.first)
        pi = distribution(outputs, action_mask=batch.info.get("action_mask"))
        return Judgement(pi.log_prob(batch.action), pi.entropy(), value)

    def observe(state, hp, batch):
        if config.normalize_obs:
            state = state.replace(obs_stats=stats.update(state.obs_stats, encode(batch.obs)))
        if config.normalize_reward:
            seen = stats.update_reward(state.reward_stats, batch.reward, batch.done, hp.gamma)
            state = state.replace(reward_stats=seen)
        return state

    def init(key, hp):
        key, params_key, env_key, warmup_key = jax.random.split(key, 4)
        env_state, timestep = envs.reset(env_key)
        memory, x = net.initial_memory(config.num_envs), encode(timestep.obs)
        params = networks.initialize(net, params_key, memory, x, timestep.first)
        state = TrainState(
            key=key,
            params=params,
            opt_state=optimizer(hp, 0).init(params),
            env_state=env_state,
            timestep=timestep,
            memory=memory,
            obs_stats=stats.init(x.shape[1:]) if config.normalize_obs else (),
            reward_stats=stats.init_reward(config.num_envs) if config.normalize_reward else (),
            num_updates=jnp.zeros((), jnp.int32),
        )
        if config.normalize_obs or config.normalize_reward:  # the first statistics, from a trial rollout
            state, batch = collect(state, warmup_key)
            state = observe(state, hp, batch)
        return state

    def loss(params, hp, batch, now):
        network = partial(net.apply, params)
        outputs, value = networks.unroll(network, batch["memory"], batch["x"], batch["first"])
        pi = distribution(outputs, action_mask=batch.get("action_mask"))
        log_ratio = pi.log_prob(batch["action"]) - batch["log_prob"]
        advantages = batch["advantages"]
        if config.normalize_advantages:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        policy_loss = -objective.apply(hp.objective, log_ratio, advantages, now).mean()
        error = jnp.square(value - batch["targets"])
        if config.clip_value:
            moved = jnp.clip(value - batch["value"], -hp.value_clip_eps, hp.value_clip_eps)
            error = jnp.maximum(error, jnp.square(batch["value"] + moved - batch["targets"]))
        value_loss = 0.5 * error.mean()
        entropy = pi.entropy().mean()
        kl = (jnp.expm1(log_ratio) - log_ratio).mean()
        total = policy_loss + hp.vf_coef * value_loss - hp.ent_coef * entropy
        metrics = {"loss/policy": policy_loss, "loss/value": value_loss}
        return total, metrics | {"policy/entropy": entropy, "policy/kl": kl}

    def update(state, hp):
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        now, optim = progress(hp, state.num_updates), optimizer(hp, state.num_updates)
        then, batch = collect(state, rollout_key)
        x, next_x = see(state, batch.obs), see(state, batch.next_obs)
        network = partial(net.apply, state.params)
        value, next_value = networks.values(network, batch.memory, then.memory, x, batch.first, next_x)
        scale = partial(stats.scale_reward, state.reward_stats)
        reward = scale(batch.reward) if config.normalize_reward else batch.reward
        ends = batch.terminated, batch.truncated
        advantages = gae(reward, value, next_value, *ends, hp.gamma, hp.gae_lambda)
        pi = distribution(batch.extras["outputs"], action_mask=batch.info.get("action_mask"))
        data = {
            "obs": batch.obs,
            "first": batch.first,
            "action": batch.action,
            "log_prob": pi.log_prob(batch.action),
            "value": value,
            "advantages": advantages,
            "targets": advantages + value,
        }
        if "action_mask" in batch.info:
            data["action_mask"] = batch.info["action_mask"]
        if not config.memory_size:  # nothing is remembered: every step is a sequence of its own
            data = jax.tree.map(lambda leaf: leaf.reshape((1, -1, *leaf.shape[2:])), data)

        def sgd_step(carry, chosen):
            params, opt_state = carry
            minibatch = jax.tree.map(lambda leaf: leaf[:, chosen], data)
            minibatch["x"] = see(state, minibatch.pop("obs"))  # as small as they are until here
            minibatch["memory"] = jax.tree.map(lambda m: m[chosen], state.memory)
            grads, metrics = jax.grad(jax.named_scope("loss")(loss), has_aux=True)(params, hp, minibatch, now)
            metrics["grad/norm"] = optax.tree.norm(grads)
            updates, opt_state = jax.named_scope("optimizer")(optim.update)(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), metrics

        minibatches = shuffle(shuffle_key, columns, config.num_epochs, config.num_minibatches)
        learned, metrics = jax.lax.scan(sgd_step, (state.params, state.opt_state), minibatches)
        metrics = jax.tree.map(jnp.mean, metrics) | episode_metrics(batch.info, batch.done)
        metrics["value/explained_variance"] = 1.0 - advantages.var() / (data["targets"].var() + 1e-8)
        then = observe(then, hp, batch)
        updates = state.num_updates + 1
        return then.replace(key=key, params=learned[0], opt_state=learned[1], num_updates=updates), metrics

    def act(state, memory, key, obs, first, action_mask=None):
        memory, (outputs, _) = net.apply(state.params, memory, see(state, obs), first)
        pi = distribution(outputs, action_mask=action_mask)
        return memory, bound(pi.mode() if config.greedy else pi.sample(key))

    hparams = Hparams(objective=objective.params)
    steps_per_update = config.num_envs * config.num_steps
    return Algorithm(init, update, act, hparams, steps_per_update, collect, judge)
