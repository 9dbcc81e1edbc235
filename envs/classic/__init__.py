"""Classic control: reimplementations of the five tasks of Gymnasium.

Their constants may be traced: with `jax.vmap`, the environments of a population can differ in pole length.
"""

from jaxrl.envs.classic import acrobot, cartpole, mountain_car, mountain_car_continuous, pendulum
from jaxrl.envs.entry import Entry, entry_for

ENTRIES: dict[str, Entry] = {
    "CartPole-v1": entry_for(cartpole.make, 500, checked="gymnasium 1.3.0"),
    "MountainCar-v0": entry_for(mountain_car.make, 200, checked="gymnasium 1.3.0"),
    "MountainCarContinuous-v0": entry_for(mountain_car_continuous.make, 999, checked="gymnasium 1.3.0"),
    "Acrobot-v1": entry_for(acrobot.make, 500, checked="gymnasium 1.3.0"),
    "Pendulum-v1": entry_for(pendulum.make, 200, checked="gymnasium 1.3.0"),
}
