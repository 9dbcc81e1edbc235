"""The scripts that complete commands, names and options in shells."""

import shutil
import subprocess

import pytest

from jaxrl import envs
from jaxrl.experiments import cli, completion_scripts, spec_options
from jaxrl.experiments import options as parsing
from jaxrl.experiments.commands import completion


@pytest.fixture(scope="module")
def known():
    """In a process that has loaded an environment from a file, which is not completed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(envs.REGISTRY, "mine@0123456789ab", envs.REGISTRY["CartPole-v1"])
        return completion.tables()


# What the line editor of zsh provides: registering a function, and adding the words with the prefix.
BEFORE = {"zsh": "compdef() { }; _files() { }; compadd() { shift; print -l -- ${(M)@:#$PREFIX*} }; "}


def completed(folder, shell, known, line):
    """What a shell completes at the end of a line."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    file = folder / f"jaxrl.{shell}"
    file.write_text(completion_scripts.script(shell, known))
    *before, last = line.split(" ")
    if shell == "fish":
        command = f"complete -C {line!r}"
    elif shell == "bash":
        command = f"COMP_WORDS=({line}); COMP_CWORD={len(before)}; _jaxrl; "
        command += "printf '%s\\n' \"${COMPREPLY[@]}\""
    else:
        command = f"words=({line}); CURRENT={len(before) + 1}; PREFIX={last}; _jaxrl"
    command = f"{BEFORE.get(shell, '')}source {file}; {command}"
    answer = subprocess.run([shell, "-c", command], capture_output=True, text=True, cwd=folder, timeout=60)
    assert answer.returncode == 0 and not answer.stderr, answer.stderr
    return answer.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_names_and_options_are_completed(tmp_path, known, shell):
    for line, words in (
        ("jaxrl tr", ["train"]),
        ("jaxrl train pp", ["ppo", "ppo_kl"]),
        ("jaxrl train ppo CartPole-v", ["CartPole-v1"]),
        ("jaxrl train ppo CartPole-v1 --see", ["--seed", "--seeds"]),
        ("jaxrl train ppo CartPole-v1 --hp.gam", ["--hp.gamma"]),
        ("jaxrl train ppo CartPole-v1 --env.len", ["--env.length"]),
        ("jaxrl train ppo CartPole-v1 --learn", ["--learning-rate"]),
        ("jaxrl sweep ppo CartPole-v1 --no-gre", ["--no-greedy"]),
        ("jaxrl train ppo CartPole-v1 --leng", ["--length"]),
        ("jaxrl train trpo CartPole-v1 --hp.max-k", ["--hp.max-kl"]),
        ("jaxrl train ppo CartPole-v1 --hp.max-k", []),
        ("jaxrl train ppo CartPole-v1 --objective dp", ["dpo"]),
        ("jaxrl sweep ppo CartPole-v1 --search as", ["asha"]),
        ("jaxrl list al", ["algos", "all"]),
        ("jaxrl new alg", ["algorithm"]),
        ("jaxrl export run --format st", ["stablehlo"]),
        ("jaxrl evaluate --epi", ["--episodes"]),
        ("jaxrl help comp", ["compare", "completion"]),
        ("jaxrl train --from p", []),  # the value of an option
    ):
        assert sorted(completed(tmp_path, shell, known, line)) == words, line


def test_a_short_option_is_offered_if_it_has_one_meaning(known):
    """For all algorithms in all environments."""
    of_algorithms, of_environments = known.algorithms["ppo"], known.environments["CartPole-v1"]
    assert {"--gamma", "--clip-eps", "--hidden-sizes", "--no-greedy"} < set(of_algorithms)
    assert {"--length", "--gravity", "--max-steps"} < set(of_environments)
    both = [*of_algorithms, *of_environments]
    assert len(set(both)) == len(both) and not set(both) & set(known.options["train"])
    options = spec_options.train_options("ppo", "CartPole-v1", "ppo")
    has = {name.replace(".no-", ".") for name in parsing.flags(options)}
    for flag in (one for one in both if "." not in one):
        (full,) = parsing.with_full_flags([flag], options)
        if f"--hp.objective.{flag[2:]}" not in of_algorithms or flag == "--clip-eps":  # of other objectives
            assert full != flag and full.replace(".no-", ".") in has, flag
    for name, flags in known.environments.items():
        assert not {one for one in flags if "." not in one} & set(of_algorithms), name


def test_every_command_is_completed(known, command):
    assert set(known.options) == set(cli.commands.known()) and set(cli.commands.known()) < set(known.commands)
    for flags in ("--steps", "--from", "--no-compile-cache", "--out"):
        assert flags in known.options["train"]
    assert "--hp.objective.alpha" in known.algorithms["ppo"] and "--objective" not in known.algorithms["es"]
    status, _, errors = command("completion", "tcsh")
    assert status == 2 and "bash" in errors and errors.count("\n") == 1
