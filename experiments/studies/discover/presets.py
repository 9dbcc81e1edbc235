"""The presets of `jaxrl discover`, and the environments in which agents are trained by default."""

import dataclasses

from jaxrl import envs
from jaxrl.discovery import evolve
from jaxrl.experiments import presets, user_files
from jaxrl.experiments.studies.discover.spec import Spec, World
from jaxrl.names import lookup


def default_world(environment: str, steps: int) -> World:
    """An environment with the agents of `jaxrl train ppo ENV`."""
    if environment == "tabular":
        return World(environment, steps)
    environment = user_files.environment(environment)
    lookup("environment", envs.REGISTRY, environment)
    chosen = presets.preset("ppo", environment)
    return World(environment, steps, chosen.config, chosen.hparams)


SMALL = {"num_envs": 8, "num_steps": 32, "num_epochs": 8, "hidden_sizes": (32, 32)}
# The learning rate is PPO's best one there: with another one, a drift would learn to compensate for it.
CARTPOLE = World("CartPole-v1", 10_240, SMALL, {"learning_rate": 7.5e-3})
TABULAR = Spec(
    objective="ta_lpo",
    width=32,
    worlds=(World("tabular", 1536),),
    evolve=evolve.Config(),
    generations=200,
    seed=0,
    seeds=3,
    intervals=20,
    eval_episodes=256,
    held_out=1024,
    transfers={
        "twice the horizon": World("tabular", 3072),
        "denser rewards (15 %)": World("tabular", 1536, {"density": 0.15}),
        "half the epochs": World("tabular", 1536, {"num_epochs": 4}),
    },
)
PRESETS = {
    "tabular": TABULAR,
    "tabular-small": dataclasses.replace(
        TABULAR, generations=50, seeds=1, intervals=5, eval_episodes=64, held_out=256, transfers={}
    ),
    "cartpole": dataclasses.replace(
        TABULAR,
        worlds=(CARTPOLE,),
        evolve=evolve.Config(population=32, tasks=4),
        generations=100,
        seeds=1,
        eval_episodes=16,
        held_out=64,
        transfers={
            "Acrobot": World("Acrobot-v1", 40_960, SMALL, {"learning_rate": 7.5e-3}),
            "Catch": World("Catch-bsuite", 10_240, SMALL, {"learning_rate": 7.5e-3}),
        },
    ),
    "minatar": dataclasses.replace(
        TABULAR,
        width=128,
        worlds=(default_world("SpaceInvaders-MinAtar", 1_000_000),),
        evolve=evolve.Config(tasks=1, std=0.05),
        generations=500,
        seeds=1,
        intervals=50,
        eval_episodes=8,
        held_out=64,
        transfers={
            name: default_world(f"{name}-MinAtar", 1_000_000) for name in ("Breakout", "Asterix", "Freeway")
        },
    ),
}
