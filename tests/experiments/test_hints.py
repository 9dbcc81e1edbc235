"""Names, flags and numbers that are common in other programs: hints, and accepted forms."""

import fnmatch

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import envs
from jaxrl.envs import parameters
from jaxrl.envs.entry import explanations
from jaxrl.experiments import cli, hints, runs, spec_options, words
from jaxrl.experiments import options as parsing


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("Ant-v4", "use brax/ant"),
        ("HalfCheetah-v5", "use brax/halfcheetah"),
        ("InvertedPendulum-v2", "use brax/inverted_pendulum"),
        ("LunarLander-v3", "Box2D environments are not available; .*Acrobot-v1"),
        ("LunarLanderContinuous-v2", "Box2D environments are not available; .*Pendulum-v1"),
        ("BreakoutNoFrameskip-v4", "small version of this one is Breakout-MinAtar"),
        ("ALE/Breakout-v5", "small version of this one is Breakout-MinAtar"),
        ("ALE/Breakout-ram-v5", "small version of this one is Breakout-MinAtar"),
        ("SpaceInvadersDeterministic-v4", "SpaceInvaders-MinAtar"),
        ("PongNoFrameskip-v4", "Atari games are not available; small versions of five"),
        ("dm_control/cartpole-balance-v0", "playground/CartpoleBalance"),
        ("MiniGrid-DoorKey-5x5-v0", "navix/.* and xminigrid/"),
        ("cartpole", "the nearest: CartPole-v1"),
        ("Pong-v5", "the nearest: Pong-misc"),
    ],
)
def test_environments_of_other_suites_are_explained(name, remedy):
    with pytest.raises(ValueError, match=f"unknown environment '{name}'; .*{remedy}"):
        envs.make(name)


def test_environments_that_hints_name_exist():
    named = {f"brax/{name}" for name in envs.hints._MUJOCO.values()}
    named |= {one for text in envs.hints._BOX2D.values() for one in text.split(" or ")}
    named |= {f"{game}-MinAtar" for game in envs.hints._MINATAR} | {"playground/CartpoleBalance"}
    assert named <= set(envs.names())


@pytest.mark.parametrize("name", ["dreamer", "TQC"])
def test_algorithms_that_are_not_available_are_explained(name):
    with pytest.raises(
        ValueError, match=f"unknown algorithm '{name}'; it is not available yet; .*ppo, ppo_kl"
    ):
        runs.algorithm(name)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("reinforce", "a2c"),
        ("rainbow", "dqn --preset-of rainbow"),
        ("crossq", "xqc --preset-of crossq"),
        ("IQN", "dqn --config.head iqn"),
        ("noisynet", "dqn --config.noisy"),
        ("mdpo-on", "ppo --objective mdpo"),
    ],
)
def test_other_names_of_algorithms_are_explained(name, remedy):
    with pytest.raises(ValueError, match=f"unknown algorithm '{name}'; take {remedy}"):
        runs.algorithm(name)


def test_rainbow_is_a_preset_of_dqn(capsys):
    """Its values are all options of DQN, and the command to run it is listed."""
    argv = ["dqn", "CartPole-v1", "--preset-of", "rainbow"]
    spec, chosen, _ = spec_options.parse_spec("train", spec_options.train_options, argv)
    assert spec.config.noisy and spec.config.head == "c51" and spec.config.double and spec.config.n_step == 3
    assert spec.hparams.epsilon_start == spec.hparams.epsilon_end == 0.0 and spec.steps == 100_000
    spec_options.print_note(spec, chosen)
    assert not capsys.readouterr().err
    assert cli.main(["list", "presets", "rainbow CartPole"]) == 0
    assert capsys.readouterr().out.startswith("dqn --preset-of rainbow CartPole-v1: 100000 steps")


def known(algorithm):
    return parsing.flags(spec_options.train_options(algorithm, "CartPole-v1", "")())


@pytest.mark.parametrize(
    ("algorithm", "flag", "hint"),
    [
        ("ppo", "--total-timesteps", "Perhaps you meant --steps."),
        ("ppo", "--total_timesteps", "Perhaps you meant --steps."),
        ("ppo", "--lr", "Perhaps you meant --hp.learning-rate."),
        ("ppo", "--n-envs", "Perhaps you meant --config.num-envs."),
        ("ppo", "--clip-coef", "Perhaps you meant --hp.objective.clip-eps."),
        ("ppo", "--hp.target-kl", "belongs to ppo_kl: jaxrl train ppo_kl ENV --hp.kl-target"),
        ("ppo_kl", "--hp.target-kl", "Perhaps you meant --hp.kl-target."),
        ("trpo", "--target-kl", "Perhaps you meant --hp.max-kl."),
        ("dqn", "--buffer-size", "Perhaps you meant --config.capacity."),
        ("mdpo", "--sgd-steps", "Perhaps you meant --config.old-every."),
        ("mdpo", "--lam", "Perhaps you meant --hp.temperature."),
        ("dqn", "--exploration-fraction", "Perhaps you meant --hp.exploration."),
        ("ppo", "--config", "--from FILE reads a configuration in TOML"),
        ("ppo", "--env", "Algorithm and environment stand first"),
        ("ppo", "--config.num-env", "Perhaps you meant --config.num-envs."),
        ("ppo", "--qqqq", ""),
    ],
)
def test_flags_of_other_programs_are_explained(algorithm, flag, hint):
    output = hints.of_flag(flag, known(algorithm))
    assert hint in output and bool(hint) == bool(output)


def test_flags_that_hints_name_exist():
    """In one algorithm or command or the other."""
    flags = {
        flag
        for algorithm in ("ppo", "ppo_kl", "trpo", "es", "dqn", "pqn", "sac", "td3", "mdpo")
        for flag in known(algorithm)
    }
    assert {f"--{flag}" for flag in hints.FLAGS} <= flags | {"--episodes"}


# --- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [("20", 20), ("20_000", 20_000), ("1e6", 10**6), ("1.5E3", 1500), ("2.50e+1", 25), ("-1e2", -100)],
)
def test_whole_numbers_may_have_exponents(text, number):
    assert words.whole_number(text) == number and isinstance(words.whole_number(text), int)


@pytest.mark.parametrize("text", ["1e-3", "2.5", "1.55e1", "1e999", "e5", "2.0"])
def test_other_numbers_are_not_whole(text):
    with pytest.raises(ValueError, match="invalid literal"):
        words.whole_number(text)


def test_counts_and_sizes_accept_common_notations():
    typed = "--steps 1e6 --seeds 1_0 --config.num-envs 1e1 --hidden-sizes 64x32 --env.max-steps=1e2"
    *_, chosen, env = spec_options.understand(
        "train", spec_options.train_options, ["ppo", "CartPole-v1", *typed.split()]
    )
    assert (chosen.steps, chosen.seeds, chosen.config.num_envs) == (1_000_000, 10, 10)
    assert chosen.config.network.hidden_sizes == (64, 32) and env == {"max_steps": 100}
    for sizes in (["64", "32"], ["64x32"]):
        argv = ["ppo", "CartPole-v1", "--config.hidden_sizes", *sizes, "--out", "2x2"]
        *_, chosen, _ = spec_options.understand("train", spec_options.train_options, argv)
        assert chosen.config.network.hidden_sizes == (64, 32) and str(chosen.out) == "2x2"


# --- time limits and parameters of environments ------------------------------------------------------


def test_an_endless_environment_takes_a_time_limit():
    argv = ["ppo", "CliffWalking-v1", "--env.max-steps", "200"]
    *_, env = spec_options.understand("train", spec_options.train_options, argv)
    assert env == {"max_steps": 200}
    env = envs.make("CliffWalking-v1", **env)

    def step(carry, _):
        key, state = carry
        state, then = env.step(key, state, jnp.int32(0))  # up
        return (key, state), then.truncated

    key = jax.random.key(0)
    start = (key, env.reset(key)[0])
    truncated = jax.jit(lambda start: jax.lax.scan(step, start, length=400)[1])(start)
    assert np.flatnonzero(truncated).tolist() == [199, 399]


def test_every_environment_takes_a_time_limit():
    endless = [name for name, entry in envs.REGISTRY.items() if entry.max_steps is None]
    assert len(endless) >= 60
    for name in endless:
        if envs.REGISTRY[name].origin == "jaxrl":
            options = spec_options.train_options("ppo", name, "")
            assert options().env.max_steps is None


def test_parameters_of_environments_are_explained(capsys):
    texts = explanations(envs.REGISTRY["CartPole-v1"].make)
    assert texts["length"] == "from the axle to the pole's middle, half of the pole [m]"
    assert texts["masspole"] == "gravity, masscart, masspole: [m/s^2], [kg], [kg]"
    assert explanations(dict) == {} and explanations(lambda: None) == {}
    assert cli.main(["train", "ppo", "CartPole-v1", "--help"]) == 0
    output = capsys.readouterr().out
    assert "half of the pole [m]" in output and "episodes are truncated after so many steps" in output


def test_every_parameter_is_explained():
    """Those of brax and of the extras are not looked at, since importing them takes long."""
    for name, entry in envs.REGISTRY.items():
        if entry.origin == "jaxrl" or entry.origin.startswith("gymnax"):
            missing = set(entry.params()) - set(parameters.texts(name, entry.make))
            assert not missing, (name, missing)
    for pattern, texts in parameters.TEXTS.items():
        assert fnmatch.filter(envs.REGISTRY, pattern) and all(texts.values()), pattern
