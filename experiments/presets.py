"""Tuned settings per (algorithm, environment): what a bare `jaxrl train ALGO ENV` runs."""

from typing import Any, NamedTuple

from jaxrl.algos import ppo


class Preset(NamedTuple):
    """Config and hyperparameters where they differ from the algorithm's defaults, and a budget."""

    config: dict[str, Any]
    hparams: dict[str, Any]
    steps: int


MINATAR = Preset(
    {"num_envs": 64, "num_minibatches": 8, "torso": "mlp", "activation": "relu"},
    {"learning_rate": 5e-3},
    2_000_000,
)

PRESETS: dict[tuple[str, str], Preset] = {
    ("ppo", "CartPole-v1"): Preset({}, {}, 500_000),
    ("ppo", "Acrobot-v1"): Preset({"num_envs": 16}, {"learning_rate": 1e-3}, 1_000_000),
    **{
        ("ppo", f"{game}-MinAtar"): MINATAR
        for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
    },
}

ANY = Preset({}, {}, 1_000_000)
MODULES = {"ppo": ppo}


def preset(algorithm: str, environment: str) -> Preset:
    """The preset of an environment, or the algorithm's defaults."""
    return PRESETS.get((algorithm, environment), ANY)
