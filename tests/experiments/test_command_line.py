"""The `jaxrl train` line of a Spec gives that Spec again."""

import pytest

from jaxrl.experiments import runs
from jaxrl.experiments.runs.command_line import train_words
from jaxrl.experiments.runs.spec import ADDED
from jaxrl.experiments.spec_options import parse_spec, train_options


def spec_of(words):
    return parse_spec("train", train_options, words)[0]


@pytest.mark.parametrize(
    "words",
    [
        "ppo CartPole-v1",
        "ppo CartPole-v1 --hp.learning-rate 0.0123 --config.network.hidden-sizes 8x16 --steps 320 --seeds 3",
        "ppo CartPole-v1 --objective mdpo --hp.objective.anneal 0.5 --env.max-steps 50 --env.length 0.7",
        "ppo Pendulum-v1 --no-normalize-obs --hp.ent-coef=-1e-5 --config.network.init-log-std=-1.5",
        "a2c Acrobot-v1 --preset-of ppo --config.network.hidden-sizes 16 --seed 7 --eval-episodes 0",
        "trpo CartPole-v1 --intervals 3 --chunk 2",
        "ppo Catch-bsuite --config.num-envs 3 --no-greedy",
    ],
)
def test_a_line_gives_the_same_spec(words):
    spec = spec_of(words.split())
    again = spec_of(train_words(spec))
    assert again == spec and again.to_json() == spec.to_json()


def test_only_what_differs_from_the_defaults_is_in_the_line():
    assert train_words(spec_of(["ppo", "CartPole-v1"])) == ["ppo", "CartPole-v1"]
    words = train_words(spec_of(["ppo", "CartPole-v1", "--hp.gamma", "0.9", "--steps", "1000"]))
    assert words == ["ppo", "CartPole-v1", "--steps", "1000", "--hp.gamma", "0.9"]


def test_a_file_is_in_no_line(tmp_path):
    """It may have changed since: `best.toml` names the copy that the run keeps."""
    text = "from jaxrl import objectives\n\ndef loss():\n    return objectives.dpo(alpha=1.0)\n"
    (tmp_path / "my_loss.py").write_text(text)
    spec = spec_of(["ppo", "CartPole-v1", "--objective", f"{tmp_path / 'my_loss.py'}:loss"])
    assert "@" in spec.objective and train_words(spec) is None
    assert runs.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("algorithm", "flag", "value"), [("ppo", "critic", "hl_gauss"), ("dqn", "noisy", None)]
)
def test_fields_that_were_added_to_a_config_are_saved_only_if_they_are_used(algorithm, flag, value):
    """Checkpoints of earlier versions do not have them, and are compared with what is saved."""
    words = [algorithm, "CartPole-v1"]
    plain = spec_of(words)
    assert not set(ADDED[algorithm]) & set(plain.to_json()["config"])
    assert runs.from_json(plain.to_json()) == plain
    words += [f"--config.{flag}", *([value] if value else [])]
    other = spec_of(words)
    assert flag in other.to_json()["config"] and runs.from_json(other.to_json()) == other
