"""Classic control: the five small tasks of Gymnasium, each after its original, in closed form.

Their constants may be traced: `jax.vmap` over pole lengths makes a population of worlds.
"""

from jaxrl.envs.classic import acrobot, cartpole, mountain_car, mountain_car_continuous, pendulum
from jaxrl.envs.entry import Entry, own

ENTRIES: dict[str, Entry] = {
    "CartPole-v1": own(cartpole.make, 500, checked="gymnasium 1.3.0"),
    "MountainCar-v0": own(mountain_car.make, 200, checked="gymnasium 1.3.0"),
    "MountainCarContinuous-v0": own(mountain_car_continuous.make, 999, checked="gymnasium 1.3.0"),
    "Acrobot-v1": own(acrobot.make, 500, checked="gymnasium 1.3.0"),
    "Pendulum-v1": own(pendulum.make, 200, checked="gymnasium 1.3.0"),
}
