"""The behaviour suite: small tasks that each ask for one ability, after bsuite 0.3.6.

Osband et al. 2020, "Behaviour Suite for Reinforcement Learning", https://openreview.net/forum?id=rygf-kSYwH.
Every episode ends by termination, with nothing to come, as in the original: no task has a time limit.
Observations lack the original's leading axis of length 1. `scoring` has its experiments and scores. The
MNIST bandit is not here; gymnax has it.
"""

from functools import partial

from jaxrl.envs.behaviour import (
    cartpole,
    cartpole_swingup,
    catch,
    deep_sea,
    discounting_chain,
    memory_chain,
    mountain_car,
    simple_bandit,
    umbrella_chain,
)
from jaxrl.envs.behaviour.common import with_noise, with_scale
from jaxrl.envs.entry import Entry, own

_own = partial(own, max_steps=None, checked="bsuite 0.3.6")

ENTRIES: dict[str, Entry] = {
    "Catch-bsuite": _own(catch.make),
    "DeepSea-bsuite": _own(deep_sea.make),
    "DeepSea-bsuite/stochastic": _own(partial(deep_sea.make, deterministic=False)),
    "MemoryChain-bsuite": _own(memory_chain.make),
    "UmbrellaChain-bsuite": _own(umbrella_chain.make),
    "DiscountingChain-bsuite": _own(discounting_chain.make),
    "SimpleBandit-bsuite": _own(simple_bandit.make),
    "MountainCar-bsuite": _own(mountain_car.make),
    "CartPole-bsuite": _own(cartpole.make),
    "CartPoleSwingup-bsuite": _own(cartpole_swingup.make),
}
for _name in ("Catch-bsuite", "SimpleBandit-bsuite", "MountainCar-bsuite", "CartPole-bsuite"):
    ENTRIES[f"{_name}/noise"] = _own(with_noise(ENTRIES[_name].make))
    ENTRIES[f"{_name}/scale"] = _own(with_scale(ENTRIES[_name].make))
