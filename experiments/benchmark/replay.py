"""The cases of the suite `replay`: the common settings of algorithms that learn from a replay, and draws."""

from typing import Any

from jaxrl.experiments.benchmark.suites import Case
from jaxrl.names import lookup

# Every round, each environment takes one step, all of them are stored, and the gradient steps follow; then
# the target network moves by `tau`. These are rejax's rounds, which cannot be configured.
DQN = {"learning_rate": 5e-4, "gamma": 0.99, "tau": 0.01, "max_grad_norm": 10.0, "exploration": 0.2}
SAC = {"learning_rate": 1e-3, "gamma": 0.99, "tau": 0.005}
SIZES = {"num_envs": 8, "batch_size": 128, "capacity": 100_000, "warmup_steps": 1_000}
SIZES |= {"hidden_sizes": [64, 64]}
TRAINING: dict[str, dict[str, Any]] = {
    "CartPole-v1": {"algorithm": "dqn", "sizes": {**SIZES, "num_gradient_steps": 1}, "numbers": DQN},
    # A smaller replay: rejax stores 400 float32 twice per row, of which 128 agents x 100,000 do not fit.
    "gymnax/Breakout-MinAtar": {
        "algorithm": "dqn",
        "sizes": {**SIZES, "num_gradient_steps": 1, "capacity": 10_000},
        "numbers": DQN,
    },
    "Pendulum-v1": {"algorithm": "sac", "sizes": {**SIZES, "num_gradient_steps": 8}, "numbers": SAC},
}
LEARN_STEPS = {"CartPole-v1": 100_000, "gymnax/Breakout-MinAtar": 200_000, "Pendulum-v1": 10_000}

# A draw: 8 rows of CartPole are added, then a batch is drawn, whose priorities are replaced if there are any.
DRAWN = "CartPole-v1"


def cases(options) -> list[Case]:
    """Training with each number of agents, then uniform and prioritized draws by capacity."""
    found = []
    for env in () if options.only == "draw" else options.env:
        for agents in options.agents:
            found.append(_training(env, agents, options))
    for prioritized in () if options.only == "train" else (False, True):
        kind = "prioritized" if prioritized else "uniform"
        for capacity in options.capacities:
            name = f"draw, {kind}, {capacity:,} rows"
            found.append(Case(name, _draws(capacity, prioritized, options.seconds)))
    return found


def _training(env: str, agents: int, options) -> Case:
    chosen = lookup("environment of the benchmark", TRAINING, env)
    steps = LEARN_STEPS[env] if options.learn_steps is None else options.learn_steps
    settings = {
        **chosen,
        "env": env,
        "agents": agents,
        "activation": "relu",
        "seconds": options.seconds,
        "learn_seeds": options.learn_seeds,
        "eval_episodes": 128,
        "eval_episodes_slow": 32,
    }
    name = f"{chosen['algorithm']}, {env}, {agents} agent{'s' * (agents > 1)}"
    return Case(name, settings, steps if agents == 1 else 0)


def _draws(capacity: int, prioritized: bool, seconds: float) -> dict[str, Any]:
    sizes = {"num_envs": SIZES["num_envs"], "batch_size": SIZES["batch_size"], "capacity": capacity}
    return {
        "algorithm": "draw",
        "prioritized": prioritized,
        "env": DRAWN,
        "sizes": sizes,
        "seconds": seconds,
    }
