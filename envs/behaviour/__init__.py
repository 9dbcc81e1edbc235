"""The behaviour suite: small tasks that each test one ability, after bsuite 0.3.6.

Osband et al. 2020, "Behaviour Suite for Reinforcement Learning", https://openreview.net/forum?id=rygf-kSYwH.
As in the original, every episode ends by termination: no task has a time limit. Observations lack the
original's leading axis of length 1. `experiments` has the experiments, `scoring` the scores. The MNIST bandit
is not included; gymnax has it.
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
from jaxrl.envs.entry import Entry, entry_for

_entry = partial(entry_for, max_steps=None, checked="bsuite 0.3.6")

ENTRIES: dict[str, Entry] = {
    "Catch-bsuite": _entry(catch.make),
    "DeepSea-bsuite": _entry(deep_sea.make),
    "DeepSea-bsuite/stochastic": _entry(partial(deep_sea.make, deterministic=False)),
    "MemoryChain-bsuite": _entry(memory_chain.make),
    "UmbrellaChain-bsuite": _entry(umbrella_chain.make),
    "DiscountingChain-bsuite": _entry(discounting_chain.make),
    "SimpleBandit-bsuite": _entry(simple_bandit.make),
    "MountainCar-bsuite": _entry(mountain_car.make),
    "CartPole-bsuite": _entry(cartpole.make),
    "CartPoleSwingup-bsuite": _entry(cartpole_swingup.make),
}
for _name in ("Catch-bsuite", "SimpleBandit-bsuite", "MountainCar-bsuite", "CartPole-bsuite"):
    ENTRIES[f"{_name}/noise"] = _entry(with_noise(ENTRIES[_name].make))
    ENTRIES[f"{_name}/scale"] = _entry(with_scale(ENTRIES[_name].make))
