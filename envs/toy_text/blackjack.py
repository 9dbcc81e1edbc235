"""Blackjack: ask for cards to come near 21 without passing it, against a dealer who stands on 17.

After Gymnasium 1.3's Blackjack-v1; Sutton and Barto 2018, example 5.1.
https://gymnasium.farama.org/environments/toy_text/blackjack/
The deck is infinite. A hand is kept as its sum, whether it has an ace and whether it has two cards,
which is all that the rules ask of it. A step draws 10 cards whatever is done: the player takes the
first of them, or the dealer takes as many as needed, which are never more.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Discrete
from jaxrl.types import Env

# Two aces; four more, 6 in all; a six, and the 12 is hard; five aces. No hand under 17 takes more.
DEALER_CARDS = 10


@struct.dataclass
class State:
    """The player's hand and the dealer's two cards, an ace as 1, pictures as 10."""

    total: jax.Array  # of the player's cards, aces as 1
    ace: jax.Array  # whether the player has any
    untouched: jax.Array  # the player has two cards still
    shown: jax.Array  # the dealer's card that is seen
    hidden: jax.Array  # and the other one


def make(*, natural: bool = False, sab: bool = True) -> Env:
    """Action 0 sticks and 1 takes a card; 1 for a win, 0 for a draw, -1 for a loss.

    The observation is the player's sum (a usable ace as 11), the dealer's card that is shown, and
    whether the player has a usable ace.

    Args:
      natural: an ace and a ten that win pay 1.5; only without `sab`.
      sab: Sutton and Barto's rule, the default of the id: an ace and a ten win, unless the dealer has
        them too. (The class behind the id has False.)
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
    """The worth of a hand and whether one of its aces counts as 11 without passing 21."""
    usable = ace & (total <= 11)
    return jnp.where(usable, total + 10, total), usable


def dealer_plays(total, ace, cards):
    """The dealer takes cards, in this order, while the hand is worth less than 17.

    Returns:
      What the hand is worth then.
    """
    for card in cards:
        takes = count(total, ace)[0] < 17
        total, ace = jnp.where(takes, total + card, total), ace | (takes & (card == 1))
    return count(total, ace)[0]


def advance(state: State, action, cards, natural, sab):
    """One step with the cards that come next.

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
    """Up to four cards of one random uint32: its last digits in base 13, each as likely to one in 10^5."""
    cards = []
    for _ in range(number):
        cards.append(jnp.minimum((bits % 13).astype(jnp.int32) + 1, 10))
        bits = bits // 13
    return cards
