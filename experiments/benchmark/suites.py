"""The cases of each suite, with settings that are the same for all contenders."""

import itertools
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxrl import memory
from jaxrl.names import lookup


class Case(NamedTuple):
    """One comparison: all contenders get `settings`.

    Attributes:
      agents: trained at once.
      learn_steps: steps of the new agents whose returns are compared; 0: none.
      only_ours: other contenders are left out.
      environment: additional environment variables for jaxrl.
    """

    name: str
    settings: dict[str, Any]
    learn_steps: int = 0
    only_ours: bool = False
    environment: Mapping[str, str] = {}


# The settings of PureJaxRL's examples, with a constant learning rate: not all contenders can anneal it.
# Lu et al. 2022. https://github.com/luchris429/purejaxrl
COMMON = {"gamma": 0.99, "gae_lambda": 0.95, "clip_eps": 0.2, "ent_coef": 0.01, "vf_coef": 0.5}
COMMON |= {"max_grad_norm": 0.5}
TRAINING: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "activation": "tanh",
        "sizes": {
            "num_envs": 4,
            "num_steps": 128,
            "num_epochs": 4,
            "num_minibatches": 4,
            "hidden_sizes": [64, 64],
        },
        "numbers": {"learning_rate": 2.5e-4, **COMMON},
    },
    "Breakout-MinAtar": {
        "activation": "relu",
        "sizes": {
            "num_envs": 64,
            "num_steps": 128,
            "num_epochs": 4,
            "num_minibatches": 8,
            "hidden_sizes": [64, 64],
        },
        "numbers": {"learning_rate": 5e-3, **COMMON},
    },
}
TRAINING["gymnax/Breakout-MinAtar"] = TRAINING["Breakout-MinAtar"]  # that of gymnax, without sticky actions
LEARN_STEPS = {"CartPole-v1": 300_000, "Breakout-MinAtar": 1_000_000, "gymnax/Breakout-MinAtar": 1_000_000}

# All environments that both jaxrl and gymnax have.
STEPPED = (
    "CartPole-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Acrobot-v1",
    "Pendulum-v1",
    "Breakout-MinAtar",
    "Asterix-MinAtar",
    "Freeway-MinAtar",
    "Seaquest-MinAtar",
    "SpaceInvaders-MinAtar",
    "Catch-bsuite",
    "DeepSea-bsuite",
    "MemoryChain-bsuite",
    "UmbrellaChain-bsuite",
    "DiscountingChain-bsuite",
    "SimpleBandit-bsuite",
    "FrozenLake-misc",
    "FourRooms-misc",
    "Pong-misc",
)
BRAX = ("brax/ant", "brax/hopper")

RATES = (1e-5, 1e-1)  # the range of a sweep over learning rates
SCALE = (64, 128, 256, 512, 1024, 2048, 4096)
SCALE_STEPS = 10_000


def training(env: str, agents: int, num_envs: int | None, seconds: float) -> dict[str, Any]:
    """The settings of a training case; all contenders sample actions in evaluations."""
    chosen = lookup("environment of the benchmark", TRAINING, env)
    sizes = chosen["sizes"] | ({"num_envs": num_envs} if num_envs else {})
    return {
        **chosen,
        "sizes": sizes,
        "env": env,
        "agents": agents,
        "seconds": seconds,
        "learn_seeds": 8,
        "eval_episodes": 128,
        "eval_episodes_slow": 32,
    }


def require_memory(case: Case) -> None:
    """Raises `memory.NotEnough` if the agents or the environments of a case do not fit into memory.

    The processes of the contenders have the devices to themselves, so this one must not start JAX. Only what
    all of them hold is counted: a number and a reward of each environment, the largest weights of an agent
    and their two moments of Adam, and a reward of each row of a replay.
    """
    settings = case.settings
    sizes = settings.get("sizes", settings)
    layers = sizes.get("hidden_sizes", ())
    weights = 12 * sum(a * b for a, b in itertools.pairwise(layers))
    rows = 4 * sizes.get("capacity", 0)
    each = weights + rows + 8 * sizes["num_envs"]
    agents, learners = settings.get("agents", 1), settings.get("learn_seeds", 0) * (case.learn_steps > 0)
    option = "--capacities" if settings.get("algorithm") == "draw" else "--agents"
    needs = {"--num-envs" if 8 * sizes["num_envs"] > agents * (weights + rows) else option: agents * each}
    memory.require(case.name or "the benchmark", needs, memory.on_machine())
    memory.require(case.name or "the benchmark", {"--learn-seeds": learners * each}, memory.on_machine())


def train_cases(options) -> list[Case]:
    cases = []
    for env in options.env:
        settings = training(env, 1, options.num_envs, options.seconds)
        steps = LEARN_STEPS[env] if options.learn_steps is None else options.learn_steps
        cases.append(Case(env, {**settings, "learn_seeds": options.learn_seeds}, steps))
    return cases


def population_cases(options) -> list[Case]:
    cases = []
    for env in options.env:
        for agents in options.agents:
            settings = training(env, agents, options.num_envs, options.seconds)
            cases.append(Case(f"{env}, {agents} agents", settings))
            if options.rates:
                rates = np.geomspace(*RATES, options.rates).repeat(agents // options.rates).tolist()
                name = f"{env}, {options.rates} learning rates x {agents // options.rates} seeds"
                cases[-1] = Case(name, {**settings, "learning_rates": rates})
            cases += [_simulated(cases[-1], count) for count in options.devices]
        if options.scale:
            cases += [_scaled(env, agents, options) for agents in SCALE]
    return cases


def _scaled(env: str, agents: int, options) -> Case:
    settings = training(env, agents, options.num_envs, options.seconds)
    sizes = settings["sizes"]
    updates = -(-SCALE_STEPS // (sizes["num_envs"] * sizes["num_steps"]))
    name = f"{env}, {agents} agents, {SCALE_STEPS} steps each"
    return Case(name, {**settings, "units": updates}, only_ours=True)


def _simulated(case: Case, count: int) -> Case:
    """The same case on a CPU divided into several devices."""
    given = os.environ.get("XLA_FLAGS", "")
    flags = {"XLA_FLAGS": f"{given} --xla_force_host_platform_device_count={count}".strip()}
    name = f"{case.name}, {count} simulated devices"
    return case._replace(name=name, only_ours=True, environment=flags)


def envs_cases(options) -> list[Case]:
    from jaxrl import envs

    names = options.envs or (STEPPED + (BRAX if options.brax else ()))
    for name in names:
        lookup("environment", envs.REGISTRY, name)
    return [
        Case(f"{name}, {lanes} lanes", {"num_envs": lanes, "seconds": options.seconds, "env": name})
        for name in names
        for lanes in options.num_envs
    ]


def compile_cases(options) -> list[Case]:
    """One case, whose parts are defined in `starts`."""
    return [Case("", training(options.env, 1, None, 1.0))]
