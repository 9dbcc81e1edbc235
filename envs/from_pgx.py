"""Games of Pgx (Koyamada et al. 2023, https://arxiv.org/abs/2303.17503) for one agent, as raw `Env`s.

The package `pgx` is an extra. 2048 has one player; in every other game the agent is player 0 against
opponents that play uniformly random legal moves; they move first if the game says so. As in Pgx, an agent
that takes an illegal action loses immediately; `info["action_mask"]` marks the legal ones.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.wrappers import fix_dtypes, restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

_GAMES = """2048 animal_shogi backgammon connect_four gardner_chess go_9x9 hex kuhn_poker leduc_holdem othello
    tic_tac_toe"""
# No game has a time limit: each ends according to its rules.
NAMES = dict.fromkeys(_GAMES.split())


def make(pgx_id: str, /) -> Env:
    """The raw environment with this name.

    The reward is that of player 0, including the opponents' moves: 1, 0 or -1 at the end of most games.

    Raises:
      ValueError: without the package pgx.
    """
    try:
        import pgx
    except ImportError as error:
        raise ValueError(f"pgx/{pgx_id} needs the package pgx: pip install 'jaxrl[pgx]' ({error})") from error
    game = pgx.make(pgx_id)

    def opponents(key, state, reward):
        """Plays until it is the agent's turn or the game is over, adding up the agent's reward."""

        def waiting(carry):
            state = carry[1]
            return (state.current_player != 0) & ~state.terminated

        def move(carry):
            key, state, reward = carry
            key, action_key, step_key = jax.random.split(key, 3)
            logits = jnp.where(state.legal_action_mask, 0.0, -jnp.inf)
            state = game.step(state, jax.random.categorical(action_key, logits), step_key)
            return key, state, reward + state.rewards[0]

        return jax.lax.while_loop(waiting, move, (key, state, reward))[1:]

    def reset(key):
        start_key, move_key = jax.random.split(key)
        state, _ = opponents(move_key, game.init(start_key), jnp.float32(0.0))
        return state, restart(state.observation, {"action_mask": state.legal_action_mask})

    def step(key, state, action):
        step_key, move_key = jax.random.split(key)
        state = game.step(state, action, step_key)
        state, reward = opponents(move_key, state, state.rewards[0])
        return state, transition(
            state.observation, reward, state.terminated, {"action_mask": state.legal_action_mask}
        )

    seen = jax.eval_shape(game.init, jax.random.key(0)).observation
    low, high = (False, True) if seen.dtype == bool else (-np.inf, np.inf)
    space = Box(low, high, seen.shape, np.dtype(seen.dtype))
    return fix_dtypes(Env(reset, step, space, Discrete(game.num_actions)))
