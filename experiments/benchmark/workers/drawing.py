"""Rounds of a replay without an agent: rows are added, and a batch is drawn."""

from typing import NamedTuple

from protocol import Contestant, jax_device

EPISODE = 25  # steps, after which all episodes end


class Step(NamedTuple):
    """A step of all environments, leaves `[N, ...]`; as in CartPole."""

    obs: object
    action: object
    reward: object
    done: object
    next_obs: object


def steps(i, num_envs):
    """The step number `i`."""
    import jax.numpy as jnp

    obs = jnp.full((num_envs, 4), i, jnp.float32)
    done = jnp.full(num_envs, i % EPISODE == EPISODE - 1)
    return Step(obs, jnp.zeros(num_envs, jnp.int32), jnp.ones(num_envs), done, obs + 1.0)


def contestant(settings, state, add, draw, source):
    """The timed rounds. A unit is one draw of `batch_size` rows, from a full replay.

    Args:
      state: an empty replay.
      add: `(state, Step, i) -> state`, for the step number `i`.
      draw: `(state, key) -> (state, batch)`.
    """
    import jax
    import jax.numpy as jnp

    sizes = settings["sizes"]
    num_envs = sizes["num_envs"]

    def program(loop):
        return jax.jit(
            lambda state, first, count: jax.lax.fori_loop(first, first + count, loop, state), donate_argnums=0
        )

    def added(i, state):
        return add(state, steps(i, num_envs), i)

    def drawn(i, carry):
        state, total = carry
        state, batch = draw(added(i, state), jax.random.fold_in(jax.random.key(0), i))
        # All of the batch is used, as a gradient step does.
        sums = [jnp.sum(leaf, dtype=jnp.float32) for leaf in jax.tree.leaves(batch)]
        return state, total + sum(sums)

    rounds = -(-sizes["capacity"] // num_envs)
    state = program(added)(state, 0, rounds)
    carry, first = (state, jnp.zeros(())), rounds
    step = program(drawn)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))

    def run(units):
        nonlocal carry, first
        carry = jax.block_until_ready(step(carry, first, units))
        first += units

    return Contestant(run=run, steps_per_unit=1, device=jax_device, agent_bytes=lambda: size, source=source)
