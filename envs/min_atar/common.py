"""Common parts of MinAtar's games: the environment for a game's rules, action sets, sticky actions."""

import jax.numpy as jnp
import numpy as np

from jaxrl.cpu.once import once
from jaxrl.envs.require import require_probability
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

ALL_ACTIONS = "nlurdf"  # nothing, left, up, right, down, fire, in the order of the original's numbers


def game(start, draw, advance, observe, *, channels: int, actions: str, sticky_action_prob, **options) -> Env:
    """The raw environment of a game's rules.

    Args:
      start: `(key) -> state`; draw: `(key) -> draws`, the random numbers of a step.
      advance: `(state, action, draws, *, actions, sticky_action_prob, **options) ->
        (state, reward, terminated)`.
      observe: `(state) -> [10, 10, channels]` bool.

    Raises:
      ValueError: for a probability outside [0, 1].
    """
    require_probability(sticky_action_prob=sticky_action_prob)
    options |= {"actions": actions, "sticky_action_prob": sticky_action_prob}

    def reset(key):
        state = start(key)
        return state, restart(observe(state))

    def step(key, state, action):
        state, reward, terminated = advance(state, action, once(draw(key)), **options)
        state = once(state)
        return state, transition(observe(state), reward, terminated)

    return Env(reset, step, observation_space(channels), action_space(actions))


def action_set(minimal: str, minimal_actions: bool) -> str:
    """The letters of the actions that an agent can choose, in the order of their indices; "n" is first."""
    return minimal if minimal_actions else ALL_ACTIONS


def action_space(actions: str) -> Discrete:
    return Discrete(len(actions))


def observation_space(channels: int) -> Box:
    """Ten by ten cells and a plane for each kind of object, `[10, 10, C]` (row, column, kind)."""
    return Box(False, True, (10, 10, channels), np.dtype(bool))


def stick(uniform, sticky_action_prob, last_action, action):
    """The executed action: the last one if `uniform`, from [0, 1), is below the probability.

    Actions are indices into the action set, `last_action` the one executed last, 0 (nothing) at first.
    """
    return jnp.where(uniform < sticky_action_prob, last_action, action).astype(jnp.int32)


def pressed(actions: str, action, letter: str):
    """Whether `action`, an index into `actions`, is this one; never if the set does not contain it."""
    return action == actions.index(letter) if letter in actions else jnp.zeros(jnp.shape(action), bool)
