"""DQN: its loss by definition, and what it learns in probes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import envs, train
from jaxrl.algos import dqn
from jaxrl.policies import NetworkConfig

SMALL = {"num_envs": 4, "num_steps": 2, "num_gradient_steps": 1, "batch_size": 16, "capacity": 512}
SMALL |= {"warmup_steps": 64, "network": NetworkConfig(hidden_sizes=(16,), activation="relu")}


def network(params, x, dueling, num_atoms=1):
    """Q(s, .) in NumPy, `[B, A]`, or the outputs of a distribution `[B, A, K]`."""
    net = jax.tree.map(np.asarray, params["params"])
    hidden = np.maximum(x @ net["torso"]["Dense_0"]["kernel"] + net["torso"]["Dense_0"]["bias"], 0.0)
    q = hidden @ net["Dense_0"]["kernel"] + net["Dense_0"]["bias"]
    q = q.reshape(len(x), -1, num_atoms)
    if dueling:
        value = hidden @ net["value_head"]["kernel"] + net["value_head"]["bias"]
        q = value[:, None] + q - q.mean(axis=1, keepdims=True)
    return q[..., 0] if num_atoms == 1 else q


@pytest.mark.parametrize(
    "switches",
    [
        pytest.param({"double": False, "n_step": 1, "head": "squared"}, marks=pytest.mark.slow, id="plain"),
        pytest.param({"double": True, "dueling": True, "prioritized": True, "n_step": 3}, id="all"),
        pytest.param(
            {"double": False, "munchausen": True, "n_step": 1}, marks=pytest.mark.slow, id="munchausen"
        ),
    ],
)
def test_the_loss_is_that_of_the_definition(switches, monkeypatch):
    """The loss of a batch, with a target network that differs from the online one."""
    batches = []
    kind = "prioritized" if switches.get("prioritized") else "uniform"
    make_replay = getattr(dqn.replay, kind)

    def recorded(*args, **kwargs):
        memory = make_replay(*args, **kwargs)

        def sample(*inputs):
            batch = memory.sample(*inputs)
            jax.debug.callback(lambda one: batches.append(jax.tree.map(np.asarray, one)), batch)
            return batch

        return memory._replace(sample=sample)

    monkeypatch.setattr(dqn.replay, kind, recorded)
    algo = dqn.make(envs.make("CartPole-v1"), dqn.Config(**SMALL, **switches))
    hp = algo.hparams.replace(gamma=0.9, total_updates=10.0, importance_exponent=0.5, tau=0.3)
    state = jax.jit(algo.init)(jax.random.key(0), hp)
    assert algo.warmup_steps == 64 and int(state.stream.timestep.info["episode_length"].max()) <= 16
    other = jax.tree.map(lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape), state.params)
    state = state.replace(target_params=other)
    after, metrics = jax.jit(algo.update)(state, hp)
    jax.effects_barrier()
    (batch,) = batches
    dueling, rows = switches.get("dueling", False), np.arange(16)
    q = network(state.params, batch.obs[0], dueling)[rows, batch.action]
    target = network(other, batch.next_obs[0], dueling)
    chooser = network(state.params, batch.next_obs[0], dueling) if switches["double"] else target
    future, reward = target[rows, chooser.argmax(axis=1)], batch.reward
    if switches.get("munchausen"):  # Vieillard et al. 2020, equation 2, clipped as in section 4
        log_pi, old = (
            x / 0.03
            - np.log(np.exp((x - x.max(axis=1, keepdims=True)) / 0.03).sum(axis=1, keepdims=True))
            - x.max(axis=1, keepdims=True) / 0.03
            for x in (target, network(other, batch.obs[0], dueling))
        )
        future = (np.exp(log_pi) * (target - 0.03 * log_pi)).sum(axis=1)
        reward = reward + 0.9 * np.clip(0.03 * old[rows, batch.action], -1.0, 0.0)
    error = q - (reward + batch.discount * future)
    weights = (batch.probability / batch.probability.min()) ** -0.5  # before the first update
    huber = np.where(np.abs(error) < 1.0, 0.5 * error**2, np.abs(error) - 0.5)
    each = 0.5 * error**2 if switches.get("head") == "squared" else huber
    np.testing.assert_allclose(metrics["loss/value"], (weights * each).mean(), rtol=1e-4)
    for new, old, online in zip(*(map(jax.tree.leaves, (after.target_params, other, after.params)))):
        np.testing.assert_allclose(new, 0.7 * old + 0.3 * online, rtol=1e-4, atol=1e-6)
    if kind == "prioritized":
        leaves = np.asarray(after.replay.priorities[0])
        np.testing.assert_allclose(leaves[batch.row], (np.abs(error) + 1e-6) ** 0.6, rtol=1e-3)


@pytest.mark.parametrize("n_step", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_values_bootstrap_at_a_time_limit(n_step):
    """An endless probe that is truncated after 2 steps has the value r / (1 - gamma); otherwise 1.9.

    Exploration decays linearly within a fraction of the run.
    """
    env = envs.make("probe/truncation", max_steps=2)
    config = dqn.Config(**{**SMALL, "num_gradient_steps": 4}, n_step=n_step)
    algo = dqn.make(env, config)
    hp = algo.hparams.replace(gamma=0.9, learning_rate=1e-2, lr_decay=0.9, tau=0.3, exploration=0.4)
    keys = jax.vmap(jax.random.key)(jnp.arange(4))
    states, metrics = jax.jit(jax.vmap(lambda key: train.run(algo, key, hp, 250)))(keys)
    epsilon = np.maximum(0.05, 1.0 - 0.95 * np.arange(250) / 100)
    np.testing.assert_allclose(metrics["policy/epsilon"], np.tile(epsilon, (4, 1)), rtol=1e-4)
    # 512 / 8 truncated episodes have a place, of 2 steps in 4 environments.
    assert (np.asarray(states.replay.filled) == 32).all()
    for lane in range(4):
        params = jax.tree.map(lambda x, i=lane: x[i], states.params)
        np.testing.assert_allclose(network(params, np.ones((1, 1)), False), 10.0, rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["c51", "qr", "iqn", "hl_gauss", "two_hot"])
def test_distributions_bootstrap_at_a_time_limit(head):
    """As above; the mean of the distribution is 10."""
    sizes = {**SMALL, "num_gradient_steps": 4, "num_atoms": 26, "lowest_return": -5.0, "highest_return": 20.0}
    env = envs.make("probe/truncation", max_steps=2)
    algo = dqn.make(env, dqn.Config(**sizes, head=head, dueling=True, n_step=3))
    hp = algo.hparams.replace(gamma=0.9, learning_rate=1e-2, lr_decay=0.9, tau=0.3)
    keys = jax.vmap(jax.random.key)(jnp.arange(4))
    _, metrics = jax.jit(jax.vmap(lambda key: train.run(algo, key, hp, 400)))(keys)
    np.testing.assert_allclose(metrics["value/mean"][:, -1], 10.0, rtol=0.05)


def test_noise_is_drawn_for_both_networks_in_every_gradient_step(monkeypatch):
    """The values of one gradient step are those of one network; all means and deviations learn."""
    seen, compute = [], dqn.action_values

    def recorded(policy, params, obs_stats, obs, noise_key):
        jax.debug.callback(lambda data: seen.append(tuple(data.tolist())), jax.random.key_data(noise_key))
        return compute(policy, params, obs_stats, obs, noise_key)

    monkeypatch.setattr(dqn, "action_values", recorded)
    sizes = {**SMALL, "num_gradient_steps": 3, "num_atoms": 4}
    algo = dqn.make(envs.make("CartPole-v1"), dqn.Config(**sizes, noisy=True, head="iqn"))
    state = jax.jit(algo.init)(jax.random.key(0), algo.hparams)
    after, metrics = jax.jit(algo.update)(state, algo.hparams)
    jax.effects_barrier()
    assert np.isfinite(metrics["loss/value"])
    assert len(seen) == 9 and len(set(seen)) == 6  # the online network has two passes
    assert sorted(map(seen.count, set(seen))) == [1, 1, 1, 2, 2, 2]
    for (path, old), new in zip(jax.tree.leaves_with_path(state.params), jax.tree.leaves(after.params)):
        assert bool((old != new).any()), jax.tree_util.keystr(path)


def test_other_actions_are_refused():
    with pytest.raises(ValueError, match="need one Discrete action space, not Box"):
        dqn.make(envs.make("Pendulum-v1"))
    for option in ({"memory_size": 8}, {"squash": True}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} = .* has no effect here"):
            dqn.make(envs.make("CartPole-v1"), dqn.Config(network=NetworkConfig(**option)))
    with pytest.raises(ValueError, match="munchausen needs n_step = 1"):
        dqn.make(envs.make("CartPole-v1"), dqn.Config(munchausen=True, n_step=3))
    with pytest.raises(ValueError, match="smallest return first"):
        dqn.make(envs.make("CartPole-v1"), dqn.Config(head="c51", lowest_return=100.0))
