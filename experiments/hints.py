"""Suggestions for flags and algorithms that are known from other programs, but not here."""

import difflib

from jaxrl import names

# Flags of Stable-Baselines3, CleanRL, PureJaxRL and others; of ours, the first that a command has is
# suggested.
FLAGS = {
    "steps": "total-timesteps timesteps num-timesteps total-steps env-steps frames num-frames",
    "seeds": "num-seeds n-seeds agents num-agents",
    "intervals": "eval-freq eval-frequency log-interval log-freq log-frequency eval-every",
    "eval-episodes": "n-eval-episodes num-eval-episodes num-eval-envs",
    "episodes": "n-episodes num-episodes eval-episodes n-eval-episodes",
    "out": "output output-dir outdir log-dir logdir save-dir save-path folder run-dir results-dir",
    "wandb": "track use-wandb wandb-project-name",
    "tensorboard": "tensorboard-log tb tb-log",
    "hp.learning-rate": "lr alpha step-size optimizer-lr learning-rate-start",
    "hp.lr-decay": "anneal-lr lr-anneal lr-schedule linear-decay",
    "hp.gamma": "discount discount-factor discounting",
    "hp.gae-lambda": "lambda lam lambd td-lambda gae",
    "hp.ent-coef": "entropy-coef entropy-cost entropy-coefficient entropy-weight ent",
    "hp.vf-coef": "value-coef vf-coefficient value-loss-coef critic-coef value-cost vf",
    "hp.max-grad-norm": "grad-clip clip-grad gradient-clip max-gradient-norm grad-norm",
    "hp.objective.clip-eps": "clip-coef clip-range clip-ratio clip clip-epsilon clipping-epsilon cliprange",
    "hp.value-clip-eps": "clip-range-vf vf-clip",
    "hp.kl-target": "target-kl kl-targ desired-kl",
    "hp.max-kl": "target-kl delta",
    "config.num-envs": "n-envs envs num-workers n-workers num-actors num-env nenvs",
    "config.num-steps": "n-steps rollout-length rollout-steps unroll-length horizon nsteps num-steps-per-env",
    "config.num-epochs": "n-epochs update-epochs ppo-epochs noptepochs num-update-epochs epochs",
    "config.num-minibatches": "n-minibatches minibatches batch-size minibatch-size nminibatches",
    "config.capacity": "buffer-size replay-size buffer-capacity memory-capacity",
    "config.warmup-steps": "learning-starts start-steps prefill-steps min-buffer-size",
    "config.num-gradient-steps": "gradient-steps num-gradient-updates",
    "config.noisy": "noisynet noisy-net noisy-nets noisy-networks noisy-linear use-noisy",
    "config.num-atoms": "n-atoms atoms n-quantiles num-quantiles v-bins num-bins",
    "config.lowest-return": "v-min vmin",
    "config.highest-return": "v-max vmax",
    "config.target-every": "target-update-interval target-network-frequency target-update-freq",
    "hp.tau": "polyak polyak-tau target-tau soft-target-tau",
    "hp.critic-learning-rate": "q-lr critic-lr qf-learning-rate",
    "hp.temperature": "ent-coef-init init-temperature initial-temperature lam lamda",
    "hp.kl-coef": "klcoeff kl-coeff klconst kl-weight",
    "hp.tsallis-q": "tsallis-coeff tsallis-coef entropic-index",
    "config.old-every": "sgd-steps",
    "config.policy-every": "policy-delay policy-frequency policy-freq actor-update-interval",
    "config.num-critics": "n-critics ensemble-size num-qs num-q",
    "hp.exploration-noise": "action-noise action-noise-std",
    "hp.target-noise": "target-policy-noise policy-noise",
    "hp.target-noise-clip": "noise-clip",
    "hp.q-lambda": "lambda lam lambd td-lambda",
    "hp.exploration": "exploration-fraction eps-decay epsilon-decay",
    "hp.epsilon-start": "start-e exploration-initial-eps eps-start",
    "hp.epsilon-end": "end-e exploration-final-eps eps-finish eps-end",
    "config.num-members": "population-size pop-size popsize population",
    "config.network.hidden-sizes": "net-arch hidden-dims hidden-size hidden-dim layers hidden-layers hidden",
    "config.network.memory-size": "recurrent lstm gru use-rnn rnn hidden-state lstm-size gru-size",
    "config.network.init-log-std": "log-std-init",
    "config.network.num-experts": "n-experts experts",
    "config.network.shared-torso": "share-network shared-network shared",
    "config.normalize-obs": "norm-obs obs-norm normalize-observations normalize-env normalize",
    "config.normalize-reward": "norm-reward reward-norm normalize-rewards",
    "config.normalize-advantages": "norm-adv normalize-advantage",
    "config.clip-value": "clip-vloss",
}
_CONFIGURED = (
    "--from FILE reads a configuration in TOML, such as config.toml in the folder of a run; every option is "
    "also a flag, as --config.num-envs 8 or --hp.gamma 0.99."
)
TEXTS = {
    "target-kl": "A target for the divergence belongs to ppo_kl: jaxrl train ppo_kl ENV --hp.kl-target 0.01.",
    **dict.fromkeys(("config", "config-file", "cfg", "yaml", "toml", "hydra"), _CONFIGURED),
    **dict.fromkeys(
        ("device", "cuda", "gpu", "cpu"),
        "JAX chooses the device; JAX_PLATFORMS=cpu in the environment forces one.",
    ),
    **dict.fromkeys(
        ("capture-video", "render", "render-mode", "save-video", "video"),
        "`jaxrl render RUN` shows an episode of a run.",
    ),
    **dict.fromkeys(
        ("env", "env-id", "env-name", "algo", "algorithm", "task"),
        "Algorithm and environment stand first: jaxrl train ppo CartPole-v1.",
    ),
}

_MISSING = (
    "alphazero",
    "bc",
    "d4pg",
    "dreamer",
    "dreamerv3",
    "impala",
)
_MISSING += ("muzero", "ppg", "r2d2", "tqc")
_SAME = {"a3c": "a2c", "cma-es": "es", "cmaes": "es", "openes": "es", "openai-es": "es", "reinforce": "a2c"}
_SAME |= {"vpg": "a2c", "pg": "a2c", "mpo": "vmpo", "v-mpo": "vmpo", "neuroevolution": "ga"}
_SAME |= {"ddqn": "dqn", "c51": "dqn --config.head c51", "iqn": "dqn --config.head iqn"}
_SAME |= dict.fromkeys(("qr-dqn", "qrdqn"), "dqn --config.head qr")
_SAME |= dict.fromkeys(("noisynet", "noisy-dqn", "noisynet-dqn"), "dqn --config.noisy --hp.epsilon-start 0")
_SAME["rainbow"] = "dqn --preset-of rainbow"
_SAME["crossq"] = "xqc --preset-of crossq"
_SAME |= dict.fromkeys(("redq", "droq", "sac-discrete", "discrete-sac"), "sac")
_SAME |= dict.fromkeys(("dsac", "dsac-t", "dsac-v2"), "dsac_t")
_SAME |= {"mdpo-off": "mdpo", "mdpo_off": "mdpo"}
_SAME |= dict.fromkeys(("mdpo-on", "mdpo_on"), "ppo --objective mdpo")
_SAME |= dict.fromkeys(("recurrentppo", "ppo-lstm", "ppo_lstm", "maskableppo", "ppo2"), "ppo")


def of_flag(unknown: str, known: list[str]) -> str:
    """A sentence, with a leading space, that suggests a flag for an unknown one; "" if none is similar.

    Args:
      unknown, known: with their dashes, such as `--hp.gamma`.
    """
    wanted = unknown.removeprefix("--").replace("_", "-").rpartition(".")[2]
    for flag, others in FLAGS.items():
        if f"--{flag}" in known and wanted in others.split():
            return f" Perhaps you meant --{flag}."
    if wanted in TEXTS and any(flag.startswith("--hp.") for flag in known):
        return f" {TEXTS[wanted]}"
    short = {flag.removeprefix("--").rpartition(".")[2]: flag for flag in reversed(known)}
    near = difflib.get_close_matches(wanted, short, n=1)
    return f" Perhaps you meant {short[near[0]]}." if near else ""


def of_algorithm(name: str) -> str:
    """What to use instead of an algorithm that jaxrl does not have; "" if it is not known."""
    lowered = name.lower()
    if lowered in _SAME:
        return f"take {_SAME[lowered]}"
    if lowered in _MISSING:
        from jaxrl.algos import ALGORITHMS

        return f"it is not available yet; there are {', '.join(sorted(ALGORITHMS))}"
    return ""


names.explain("algorithm", of_algorithm)
