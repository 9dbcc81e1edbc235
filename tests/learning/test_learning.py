"""The presets learn: the returns of a plain `jaxrl train ALGO ENV`, by the command line and the evaluation.

Slow: `pytest -m slow`. The observed distributions are in docs/results.md.
"""

import json

import pytest

from jaxrl.experiments import cli

# Of ppo: (environment, seeds, statistic of the evaluation returns, threshold)
TARGETS = [
    ("CartPole-v1", 8, "mean", 475.0),
    ("Acrobot-v1", 8, "median", -90.0),
    ("Pendulum-v1", 8, "median", -250.0),
    ("MountainCarContinuous-v0", 8, "median", 85.0),
    ("Catch-bsuite", 8, "median", 0.99),  # 1 is the most
    ("DiscountingChain-bsuite", 8, "median", 1.09),  # 1.1 is the most, the other chains give 1
    ("Breakout-MinAtar", 10, "median", 15.0),  # a random policy: 0.4
    ("SpaceInvaders-MinAtar", 8, "median", 60.0),  # 4
    ("Asterix-MinAtar", 8, "median", 16.0),  # 0.5
    ("Freeway-MinAtar", 8, "median", 30.0),  # 0.3
    ("Seaquest-MinAtar", 8, "median", 2.0),  # 0.1
    ("Taxi-v3", 8, "median", 7.0),  # 7.9 is the most, on average
    ("CliffWalking-v1", 8, "median", -17.0),  # -13 is the most
    ("brax/ant", 8, "median", 2500.0),
    ("brax/hopper", 8, "median", 800.0),
]

# Algorithms without gradients: (algorithm, environment, seeds, statistic, threshold)
EVOLVED = [
    ("es", "CartPole-v1", 8, "mean", 475.0),
    ("es", "Acrobot-v1", 8, "median", -90.0),
    ("ga", "CartPole-v1", 8, "mean", 475.0),
]

# Values of actions, alone or as critics of a policy: the same form
VALUES = [
    (name, environment, 8, "median", threshold)
    for name in ("dqn", "pqn")
    for environment, threshold in (("CartPole-v1", 475.0), ("Acrobot-v1", -90.0))
]

VALUES += [
    (name, "Pendulum-v1", 8, "median", -170.0)
    for name in ("sac", "td3", "ddpg", "dsac_t", "mdpo", "xqc", "reppo")
]

# Variants of presets: the same form
VARIANTS = [
    ("dqn --preset-of rainbow", "CartPole-v1", 8, "median", 475.0),
    ("xqc --preset-of crossq", "Pendulum-v1", 8, "median", -170.0),
    ("ppo --config.critic hl_gauss", "CartPole-v1", 8, "median", 475.0),
]

# Other algorithms, and objectives of PPO: on CartPole and Pendulum, with the same targets.
OTHERS = ["a2c", "fixpo", "ppo_kl", "trpo", "vmpo", "ppo --objective mdpo", "ppo --objective spo"]
CASES = [("ppo", *target) for target in TARGETS]
CASES += [(other, *target) for other in OTHERS for target in (TARGETS[0], TARGETS[2])]
CASES += EVOLVED + VALUES + VARIANTS


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("algorithm", "environment", "seeds", "statistic", "threshold"), CASES)
def test_preset_reaches_its_target(algorithm, environment, seeds, statistic, threshold, tmp_path, capsys):
    result = evaluated(algorithm, environment, seeds, tmp_path / "run", capsys)
    assert result[statistic] >= threshold, result["per_seed"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_novelty_gets_out_of_the_trap_in_which_rewards_end(tmp_path, capsys):
    """The same number of steps for all: 1.6 and more is the goal, 0.45 and less the dead end."""
    returns = {}
    for algorithm in ("ga", "es", "ppo"):
        result = evaluated(algorithm, "DeceptiveMaze-misc", 8, tmp_path / algorithm, capsys)
        returns[algorithm] = result["per_seed"]
    assert sum(one > 1.5 for one in returns["ga"]) >= 7, returns
    assert max(returns["es"] + returns["ppo"]) < 0.5, returns


def evaluated(algorithm, environment, seeds, path, capsys):
    """The returns of a trained preset."""
    name, *flags = algorithm.split()
    words = [name, environment, *flags, "--seeds", str(seeds), "--out", str(path)]
    assert cli.main(["train", *words]) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", str(path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["per_seed"]) == seeds
    return result
