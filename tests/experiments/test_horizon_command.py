"""`jaxrl horizon`."""

import json

import pytest


def test_the_report_of_a_deep_sea(command):
    """At size 6 the random policy's values suffice; at 12 the cost of moving right hides the treasure."""
    status, output, _ = command("horizon", "DeepSea-bsuite", "--env.size", "6", "--episodes", "512")
    assert status == 0 and "21 states, 2 actions, 6 steps, deterministic" in output
    assert "k = 1, by acting greedily in the random policy's values; effective horizon 6.0" in output
    assert "prediction" in output and "easy: " in output and "return 0.99 with k = 1" in output
    status, output, _ = command("horizon", "DeepSea-bsuite", "--size", "12", "--json")
    found = json.loads(output)
    assert status == 0 and found["k"] == 4 and found["horizon"] == 12
    assert found["effective_horizon"] == pytest.approx(12.0, abs=0.1) and found["gorp_horizon"] == 12.0
    assert found["near_optimal_k"] == 4 and found["near_optimal_horizon"] == 14.0
    assert found["prediction"].startswith("moderate")
    assert found["optimal_return"] == pytest.approx(0.99) and found["random_return"] < 0.0


def test_a_time_limit_is_the_horizon(command):
    _, output, _ = command("horizon", "world/chain", "--env.max-steps", "8", "--json")
    found = json.loads(output)
    assert (found["horizon"], found["deterministic"], found["gorp_horizon"]) == (8, False, None)
    _, output, _ = command("horizon", "world/chain", "--max-k", "2", "--env.max-steps", "30")
    assert "nor after 1 iterations" in output and "hard: " in output


def test_an_estimate_by_sampled_episodes(command):
    """The same k as by the table; a budget that does not suffice says what was reached."""
    words = ("DeepSea-bsuite", "--env.size", "4", "--target", "0.9", "--budget", "4000", "--estimate-k", "2")
    status, output, _ = command("horizon", *words)
    assert status == 0 and "GORP reaches 0.99 with k = 1 and m = " in output
    _, output, _ = command("horizon", *words, "--json")
    found = json.loads(output)
    assert found["estimate"]["reached"] and found["estimate"]["k"] == found["k"] == 1
    assert found["estimate"]["effective_horizon"] <= found["gorp_horizon"] + 1.0
    words = ("CartPole-v1", "--env.max-steps", "5", "--target", "6", "--budget", "200", "--runs", "1")
    status, output, _ = command("horizon", *words, "--estimate-k", "1")
    assert status == 0 and "2 actions, 5 steps, stochastic" in output
    assert "SQIRL does not reach 6 with k up to 1 within 200 steps: at best 5, with k = 1 and m = 8" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "horizon needs an environment"),
        (["CartPole-v1"], "CartPole-v1 has no table: it has more than 1100 states; --target RETURN"),
        (
            ["CartPole-v1", "--target", "9", "--budget", "99"],
            "at least 250,000 steps, more than the budget of 99",
        ),
        (["CliffWalking-v1"], "give --env.max-steps the steps that count"),
        (["world/chain", "--gamma", "2"], "gamma = 2.0 must lie between 0 and 1"),
        (["world/chain", "--max-k", "0"], "max_k = 0 must be at least 1"),
        (["world/chain", "--episodes", "-1"], "episodes = -1 must be at least 0"),
        (["world/chain", "--env.slip", "2"], "slip"),
        (["world/chian"], "world/chain"),
    ],
)
def test_bad_input_is_one_line(command, words, message):
    status, output, errors = command("horizon", *words)
    assert status == 2 and not output and errors.count("\n") == 1 and message in errors
