"""Reference returns of environments: what a normalised score of 0 and of 1 means.

A normalised score is `(return - random) / (tuned_ppo - random)`: 0 is the uniformly random policy, 1 is PPO
with the preset of the environment. Both are measured once and kept as data, in
`results/reference_scores.json`, so that a score does not depend on what else is compared on the same page.

    python -m jaxrl.experiments.reference CartPole-v1 [ENV ...]

measures the random policy and prints a line of JSON for each environment. PPO's number is that of
`jaxrl train ppo ENV` and `jaxrl evaluate`, as docs/results.md has it.
"""

import json
import sys
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

FILE = Path(__file__).parent / "results" / "reference_scores.json"
EPISODES = 1000
MAX_STEPS = {"CliffWalking-v1": 1000}  # a random walk reaches the goal so rarely that it must be cut


@lru_cache(maxsize=1)
def ranges() -> dict[str, tuple[float, float]]:
    """Of each environment with references the returns that are 0 and 1: of a random policy and of tuned PPO.

    They hold for the environment's default parameters alone.
    """
    found = json.loads(FILE.read_text())["environments"]
    return {name: (one["random"]["mean"], one["tuned_ppo"]["iqm"]) for name, one in found.items()}


def random_return(environment: str, episodes: int = EPISODES, seed: int = 0) -> dict[str, float | int]:
    """Mean return of uniformly random actions (valid ones, where there is a mask) and its standard error."""
    from jaxrl import envs, spaces
    from jaxrl.evaluate import evaluate

    env = envs.make(environment)

    def act(memory, key, obs, first, action_mask=None):
        del first
        keys = jax.random.split(key, jax.tree.leaves(obs)[0].shape[0])
        if action_mask is not None:
            logits = jnp.where(action_mask, 0.0, -jnp.inf)
            return memory, jax.vmap(jax.random.categorical)(keys, logits)
        return memory, jax.vmap(lambda own: spaces.sample(env.action_space, own))(keys)

    most = MAX_STEPS.get(environment, 100_000)
    play = jax.jit(lambda key: evaluate(env, act, (), key, episodes, most))
    found = play(jax.random.key(seed))
    returns = np.asarray(found.returns, np.float64)
    error = float(returns.std(ddof=1) / len(returns) ** 0.5)
    summary = {"mean": float(returns.mean()), "standard_error": error, "episodes": episodes, "seed": seed}
    return summary | {"max_steps": most, "unfinished": int((~np.asarray(found.finished)).sum())}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps({"environment": name, "random": random_return(name)}), flush=True)
