"""Tuned settings per (algorithm, environment): what a bare `jaxrl train ALGO ENV` runs."""

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """Config and hyperparameters where they differ from the algorithm's defaults, and a budget.

    A parameter of the objective is named as on the command line: `objective.anneal`.
    """

    config: dict[str, Any]
    hparams: dict[str, Any]
    steps: int


def _games(*games: str) -> list[str]:
    """All names of games of MinAtar, without those with more actions: two of ours, and gymnax's."""
    return [
        name.format(game) for game in games for name in ("{}-MinAtar", "MinAtar/{}-v1", "gymnax/{}-MinAtar")
    ]


# Games are not truncated, and a greedy policy can loop endlessly, so evaluation samples actions. An MLP on
# the flattened grid is several times as fast as a CNN on a CPU.
MINATAR = Preset(
    {"num_envs": 64, "num_minibatches": 8, "torso": "mlp", "activation": "relu", "greedy": False},
    {"learning_rate": 2.5e-3},
    2_000_000,
)
# In Asterix the cells next to the player matter, wherever the player is: an MLP learns this for each cell,
# and has a return of 2 after 800,000 steps, when the convolution has 15. Next in importance are short
# rollouts (for more updates) and a short trace, then the entropy bonus. The network is small and shared for
# speed.
ASTERIX = Preset(
    {
        "num_envs": 64,
        "num_steps": 32,
        "num_epochs": 2,
        "num_minibatches": 8,
        "torso": "cnn",
        "hidden_sizes": (32,),
        "activation": "relu",
        "shared_torso": True,
        "greedy": False,
    },
    {"learning_rate": 2.5e-3, "gae_lambda": 0.8, "ent_coef": 0.03},
    2_000_000,
)

NORMALIZED = {"normalize_obs": True, "normalize_reward": True}

BRAX = {
    "num_envs": 64,
    "num_steps": 64,
    "num_epochs": 5,
    "num_minibatches": 16,
    "init_log_std": -1.0,
    **NORMALIZED,
}

CARTPOLE = Preset(
    {"num_envs": 8, "num_steps": 64},
    {"learning_rate": 1e-3, "gamma": 0.98, "gae_lambda": 0.8},
    300_000,
)
PENDULUM = Preset(
    {"num_envs": 16, "num_steps": 64, "num_epochs": 10, **NORMALIZED},
    {"learning_rate": 1e-3, "gamma": 0.95},
    300_000,
)
QUIET = PENDULUM._replace(hparams={**PENDULUM.hparams, "ent_coef": 0.0})
BESIDE_PPO: dict[tuple[str, str], Preset] = {
    ("fixpo", "CartPole-v1"): CARTPOLE,
    ("fixpo", "Pendulum-v1"): QUIET,
    ("ppo_kl", "CartPole-v1"): CARTPOLE,
    ("ppo_kl", "Pendulum-v1"): QUIET,
    # TRPO takes one policy step per rollout, of the same size even near the optimum: larger rollouts.
    ("trpo", "CartPole-v1"): CARTPOLE._replace(config={"num_envs": 16, "num_steps": 128}),
    ("trpo", "Pendulum-v1"): PENDULUM._replace(config={**PENDULUM.config, "num_steps": 128}),
    ("vmpo", "CartPole-v1"): CARTPOLE._replace(steps=500_000),
    ("vmpo", "Pendulum-v1"): PENDULUM._replace(steps=500_000),
    ("a2c", "CartPole-v1"): Preset(
        {"num_envs": 8, "num_steps": 16, "normalize_advantages": True},
        {"learning_rate": 3e-3, "gamma": 0.98, "ent_coef": 0.0},
        500_000,
    ),
    ("a2c", "Pendulum-v1"): Preset(
        {"num_envs": 16, "num_steps": 8, "activation": "relu", "normalize_advantages": True, **NORMALIZED},
        {"learning_rate": 3e-3, "gamma": 0.9, "ent_coef": 0.0},
        1_000_000,
    ),
}
# As published for gymnax's games. A greedy policy can loop endlessly in games that are not truncated.
PQN_MINATAR = Preset(
    {
        "num_envs": 128,
        "num_epochs": 2,
        "num_minibatches": 32,
        "hidden_sizes": (128,),
        "evaluation_epsilon": 0.01,
    },
    {"learning_rate": 5e-4},
    10_000_000,
)
DQN_MINATAR = Preset(
    {
        "num_envs": 32,
        "num_steps": 4,
        "num_gradient_steps": 8,
        "warmup_steps": 5_000,
        "hidden_sizes": (128,),
        "evaluation_epsilon": 0.01,
    },
    {"exploration": 0.1},
    2_000_000,
)
# Of DQN, by `--preset-of rainbow`. Learned noise explores, so no actions are random. Discounted returns of
# CartPole are at most 1 / (1 - gamma) = 100.
SWITCHES = {"dueling": True, "prioritized": True, "noisy": True, "head": "c51", "lowest_return": 0.0}
NEVER_AT_RANDOM = {"epsilon_start": 0.0, "epsilon_end": 0.0}
RAINBOW = Preset({**SWITCHES, "highest_return": 100.0}, {"learning_rate": 1e-3, **NEVER_AT_RANDOM}, 100_000)
RAINBOW_MINATAR = Preset(
    {**DQN_MINATAR.config, **SWITCHES, "highest_return": 50.0}, NEVER_AT_RANDOM, DQN_MINATAR.steps
)
OFF_POLICY = Preset({"capacity": 30_000}, {}, 30_000)
# Of XQC, by `--preset-of crossq`: the settings of Bhatt et al. 2024, with smaller networks.
CROSSQ = Preset(
    {
        "capacity": 30_000,
        "head": "squared",
        "weight_norm": False,
        "norm_before_activation": False,
        "renorm_after": 100_000,
        "target_networks": False,
        "normalize_reward": False,
    },
    {"lr_decay": 0.0, "adam_b1": 0.5, "temperature": 1.0, "entropy_scale": 1.0},
    30_000,
)
# Wider networks than the default's 64 units, one gradient step per step of an environment; not tuned.
SAC_BRAX = Preset(
    {
        "num_envs": 8,
        "num_gradient_steps": 8,
        "batch_size": 256,
        "hidden_sizes": (256, 256),
        "capacity": 300_000,
    },
    {"learning_rate": 3e-4, "critic_learning_rate": 3e-4, "temperature_learning_rate": 3e-4},
    300_000,
)
# With few environments: many passes over each rollout, and a shorter trace than with thousands.
REPPO_SIZES = {"num_envs": 4, "num_epochs": 24, "num_minibatches": 4, "num_samples": 4, "num_atoms": 61}
REPPO_PENDULUM = Preset(
    {**REPPO_SIZES, "lowest_return": -10.0, "highest_return": 5.0, **NORMALIZED},
    {"learning_rate": 1e-3, "lr_decay": 0.9, "gamma": 0.95, "q_lambda": 0.7, "temperature": 0.3},
    30_000,
)
# The parents have few parameters, and reconstructing them would take longer than playing.
MAZE = {"num_members": 64, "num_steps": 60, "num_candidates": 4, "elite_episodes": 8, "keep_parents": True}

# Presets that are not named like their algorithm: `jaxrl train dqn CartPole-v1 --preset-of rainbow`.
VARIANTS = {"rainbow": "dqn", "crossq": "xqc"}

PRESETS: dict[tuple[str, str], Preset] = {
    **BESIDE_PPO,
    ("ppo", "CartPole-v1"): Preset(
        {"num_envs": 8, "num_steps": 64},
        {"learning_rate": 1e-3, "gamma": 0.98, "gae_lambda": 0.8},
        500_000,
    ),
    # With the published weight, which grows to the end, one seed in eight drops early and does not recover.
    ("ppo --objective mdpo", "CartPole-v1"): Preset(
        {"num_envs": 8, "num_steps": 64},
        {"learning_rate": 1e-3, "gamma": 0.98, "gae_lambda": 0.8, "objective.anneal": 0.0},
        500_000,
    ),
    ("ppo", "Catch-bsuite"): Preset({"num_envs": 8, "num_steps": 32}, {"learning_rate": 1e-3}, 200_000),
    ("ppo", "Pendulum-v1"): Preset(
        {"num_envs": 16, "num_steps": 64, "num_epochs": 10, **NORMALIZED},
        {"learning_rate": 1e-3, "gamma": 0.95, "ent_coef": 0.0},
        500_000,
    ),
    # A wide initial policy: the goal must be reached by chance before not moving seems best.
    ("ppo", "MountainCarContinuous-v0"): Preset(
        {"num_envs": 16, "init_log_std": 1.0, **NORMALIZED},
        {"learning_rate": 1e-3, "ent_coef": 0.0},
        500_000,
    ),
    ("ppo", "Acrobot-v1"): Preset(
        {"num_envs": 16, "num_steps": 64},
        {"learning_rate": 2.5e-3, "gae_lambda": 0.9, "ent_coef": 0.0},
        500_000,
    ),
    # One of a hundred actions matters, and the best reward of the default mapping comes first.
    ("ppo", "DiscountingChain-bsuite"): Preset(
        {"num_envs": 16, "num_steps": 100}, {"learning_rate": 1e-3, "gamma": 0.95}, 300_000
    ),
    # Actions are penalized: with a narrow initial policy (log-std -1) the agents learn to walk early.
    ("ppo", "brax/ant"): Preset(
        BRAX, {"learning_rate": 1e-3, "gamma": 0.97, "gae_lambda": 0.9, "ent_coef": 0.0}, 1_000_000
    ),
    ("ppo", "brax/hopper"): Preset(BRAX, {"learning_rate": 1e-3, "gamma": 0.995, "ent_coef": 0.0}, 1_000_000),
    ("ppo", "Taxi-v3"): Preset({"num_envs": 16, "num_steps": 64}, {"learning_rate": 1e-3}, 500_000),
    # A fall costs 100, a step 1. A greedy policy that is not fully trained can walk in circles endlessly.
    ("ppo", "CliffWalking-v1"): Preset(
        {"num_envs": 16, "num_steps": 64, "normalize_reward": True, "greedy": False},
        {"learning_rate": 1e-3},
        500_000,
    ),
    ("dqn", "CartPole-v1"): Preset({}, {}, 100_000),
    ("rainbow", "CartPole-v1"): RAINBOW,
    ("dqn", "Acrobot-v1"): Preset({}, {"learning_rate": 1e-3}, 100_000),
    **{(name, "Pendulum-v1"): OFF_POLICY for name in ("ddpg", "dsac_t", "mdpo", "sac", "td3", "xqc")},
    ("crossq", "Pendulum-v1"): CROSSQ,
    ("reppo", "Pendulum-v1"): REPPO_PENDULUM,
    ("sac", "brax/hopper"): SAC_BRAX,
    ("sac", "brax/halfcheetah"): SAC_BRAX,
    ("pqn", "CartPole-v1"): Preset({}, {}, 200_000),
    ("pqn", "Acrobot-v1"): Preset({}, {"learning_rate": 2.5e-3, "exploration": 0.2}, 200_000),
    ("es", "CartPole-v1"): Preset({}, {"lr_decay": 0.5}, 2_000_000),
    ("es", "Acrobot-v1"): Preset({}, {"lr_decay": 0.5}, 1_500_000),
    ("es", "DeceptiveMaze-misc"): Preset({"num_steps": 60}, {}, 2_000_000),
    ("ga", "CartPole-v1"): Preset({"num_members": 64, "keep_parents": True}, {}, 2_000_000),
    # Returns lead into the trap: parents are selected only by where their episodes end.
    ("ga", "DeceptiveMaze-misc"): Preset(
        {**MAZE, "archive_size": 512}, {"sigma": 0.5, "novelty_weight": 1.0}, 2_000_000
    ),
    ("ppo", "DeceptiveMaze-misc"): Preset(
        {"num_envs": 16}, {"learning_rate": 1e-3, "ent_coef": 0.0}, 2_000_000
    ),
    **{("ppo", name): MINATAR for name in _games("Breakout", "Freeway", "Seaquest", "SpaceInvaders")},
    **{("ppo", name): ASTERIX for name in _games("Asterix")},
    **{
        ("ppo", name): MINATAR._replace(hparams={"learning_rate": 5e-3})
        for name in ("Breakout-MinAtar", "MinAtar/Breakout-v1")
    },
    **{
        (algorithm, name): preset
        for algorithm, preset in (("dqn", DQN_MINATAR), ("rainbow", RAINBOW_MINATAR), ("pqn", PQN_MINATAR))
        for name in _games("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
    },
    # Without sticky actions, even larger steps are better.
    ("ppo", "gymnax/Breakout-MinAtar"): MINATAR._replace(hparams={"learning_rate": 1e-2}),
}

ANY = Preset({}, {}, 1_000_000)


def preset(algorithm: str, environment: str, objective: str = "") -> Preset:
    """The preset of an environment, that for the objective if there is one, or the algorithm's defaults."""
    with_objective = PRESETS.get((f"{algorithm} --objective {objective}", environment))
    return with_objective or PRESETS.get((algorithm, environment), ANY)
