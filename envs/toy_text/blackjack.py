"""Blackjack: draw cards to come close to 21 without exceeding it, against a dealer who stands on 17.

After Gymnasium 1.3's Blackjack-v1; Sutton and Barto 2018, example 5.1.
https://gymnasium.farama.org/environments/toy_text/blackjack/
The deck is infinite. A hand is stored as its sum, whether it has an ace and whether it has two cards, which
is all that the rules need. Every step draws 10 cards: the player takes the first of them, or the dealer as
many as needed, which are never more than 10.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Discrete
from jaxrl.types import Env

# Worst case: two aces; four more, sum 6; a six, which makes a hard 12; five aces. No hand needs more.
DEALER_CARDS = 10


@struct.dataclass
class State:
    """The player's hand and the dealer's two cards; an ace is 1, face cards are 10."""

    total: jax.Array  # of the player's cards, aces as 1
    ace: jax.Array  # whether the player has any
    untouched: jax.Array  # the player still has two cards
    shown: jax.Array  # the dealer's visible card
    hidden: jax.Array  # and the other one


def make(*, natural: bool = False, sab: bool = True) -> Env:
    """Action 0 sticks, 1 takes a card; reward 1 for a win, 0 for a draw, -1 for a loss.

    The observation is the player's sum (a usable ace as 11), the dealer's visible card, and
    whether the player has a usable ace.

    Args:
      natural: winning with an ace and a ten has reward 1.5; only without `sab`.
      sab: Sutton and Barto's rule, the default of "Blackjack-v1": an ace and a ten win, unless the dealer has
        them too. (The default of Gymnasium's class is False.)
    """
    natural, sab = jnp.asarray(natural, bool), jnp.asarray(sab, bool)

    def reset(key):
        state = begin(deal(key))
        return state, restart(observe(state))

    def step(key, state, action):
        state, reward, terminated = advance(state, action, draw(key), natural, sab)
        return state, transition(observe(state), reward, terminated)

    return Env(reset, step, (Discrete(32), Discrete(11), Discrete(2)), Discrete(2))


def deal(key) -> list[jax.Array]:
    """The four cards of a reset: two for the dealer, two for the player."""
    return _cards(jax.random.bits(key), 4)


def draw(key) -> list[jax.Array]:
    """The cards of a step."""
    first, second, third = jax.random.bits(key, (3,))
    return [*_cards(first, 4), *_cards(second, 3), *_cards(third, 3)]


def begin(cards) -> State:
    """The first state of a game."""
    shown, hidden, first, second = cards
    return State(
        total=first + second,
        ace=(first == 1) | (second == 1),
        untouched=jnp.ones((), bool),
        shown=shown,
        hidden=hidden,
    )


def observe(state: State):
    """The player's sum, the dealer's card, and whether an ace is usable."""
    total, usable = count(state.total, state.ace)
    return total, state.shown, usable.astype(jnp.int32)


def count(total, ace):
    """The value of a hand and whether one of its aces is usable: counts as 11 without exceeding 21."""
    usable = ace & (total <= 11)
    return jnp.where(usable, total + 10, total), usable


def dealer_plays(total, ace, cards):
    """The dealer takes cards, in this order, while the value of the hand is below 17.

    Returns:
      The final value of the hand.
    """
    for card in cards:
        takes = count(total, ace)[0] < 17
        total, ace = jnp.where(takes, total + card, total), ace | (takes & (card == 1))
    return count(total, ace)[0]


def advance(state: State, action, cards, natural, sab):
    """One step with the next cards.

    Returns:
      The new state, the reward and whether the game is over.
    """
    hits = action == 1
    player, _ = count(state.total, state.ace)
    dealer = dealer_plays(state.shown + state.hidden, (state.shown == 1) | (state.hidden == 1), cards)
    worth = jnp.where(dealer > 21, 0, dealer)
    outcome = (player > worth).astype(jnp.float32) - (player < worth)

    blackjack = state.untouched & state.ace & (state.total == 11)
    dealer_blackjack = (state.shown + state.hidden == 11) & ((state.shown == 1) | (state.hidden == 1))
    extra = jnp.where(natural & blackjack & (outcome == 1.0), 1.5, outcome)
    outcome = jnp.where(sab, jnp.where(blackjack & ~dealer_blackjack, 1.0, outcome), extra)

    total = jnp.where(hits, state.total + cards[0], state.total)
    state = dataclasses.replace(
        state,
        total=total,
        ace=state.ace | (hits & (cards[0] == 1)),
        untouched=state.untouched & ~hits,
    )
    bust = total > 21
    return state, jnp.where(hits, jnp.where(bust, -1.0, 0.0), outcome), ~hits | bust


def _cards(bits, number: int) -> list[jax.Array]:
    """Up to four cards of one random uint32: its last digits in base 13, uniform to one in 10^5."""
    cards = []
    for _ in range(number):
        cards.append(jnp.minimum((bits % 13).astype(jnp.int32) + 1, 10))
        bits = bits // 13
    return cards
