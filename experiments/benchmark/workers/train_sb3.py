"""PPO of Stable-Baselines3 (PyTorch) or of SBX (the same in JAX), on environments in Python."""

import importlib
import json
import sys
import time

from protocol import Contestant, jax_device, serve

LIBRARIES = {"sb3": "stable_baselines3", "sbx": "sbx"}
LIBRARY = json.loads(sys.argv[1])["library"]


def load():
    importlib.import_module(LIBRARIES[LIBRARY])


def activation(name):
    if LIBRARY == "sbx":
        return getattr(importlib.import_module("flax.linen"), name)
    return getattr(importlib.import_module("torch.nn"), {"tanh": "Tanh", "relu": "ReLU"}[name])


def make(settings):
    import gymnasium
    import numpy as np
    import torch
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv

    library = importlib.import_module(LIBRARIES[LIBRARY])
    sizes, numbers = settings["sizes"], settings["numbers"]
    iteration = sizes["num_envs"] * sizes["num_steps"]

    def environments(count):
        # In this process: for CartPole, subprocesses cost more than they save.
        return DummyVecEnv([lambda: monitored(gymnasium.make(settings["env"]))] * count)

    def agent(seed):
        hidden = list(sizes["hidden_sizes"])
        return library.PPO(
            "MlpPolicy",
            environments(sizes["num_envs"]),
            n_steps=sizes["num_steps"],
            n_epochs=sizes["num_epochs"],
            batch_size=iteration // sizes["num_minibatches"],
            learning_rate=numbers["learning_rate"],
            gamma=numbers["gamma"],
            gae_lambda=numbers["gae_lambda"],
            clip_range=numbers["clip_eps"],
            ent_coef=numbers["ent_coef"],
            vf_coef=numbers["vf_coef"],
            max_grad_norm=numbers["max_grad_norm"],
            policy_kwargs={
                "net_arch": {"pi": hidden, "vf": hidden},
                "activation_fn": activation(settings["activation"]),
            },
            seed=seed,
            device="cpu",  # the fastest for networks of this size, according to SB3's documentation
        )

    model = agent(0)

    def run(iterations):
        model.learn(iterations * iteration, reset_num_timesteps=False)

    threads = fastest_threads(torch, run) if LIBRARY == "sb3" else torch.get_num_threads()

    def learn(steps):
        fresh = agent(1000)
        fresh.learn(-(-steps // iteration) * iteration)
        mean_return, _ = evaluate_policy(
            fresh,
            environments(8),
            n_eval_episodes=settings["eval_episodes_slow"],
            deterministic=False,
            return_episode_rewards=True,
        )
        return [float(np.mean(mean_return))]

    def last_return():
        episodes = [episode["r"] for episode in model.ep_info_buffer]
        return float(np.mean(episodes)) if episodes else None

    def device():
        return {"platform": "cpu", "threads": threads} if LIBRARY == "sb3" else jax_device()

    return Contestant(
        run=run,
        steps_per_unit=iteration,
        learn=learn,
        last_return=last_return,
        device=device,
        source=library.__file__,
        notes=f"{threads} PyTorch threads, the faster choice" if LIBRARY == "sb3" else "",
    )


def monitored(env):
    from stable_baselines3.common.monitor import Monitor

    return Monitor(env)


def fastest_threads(torch, run):
    """Sets PyTorch's number of threads to one or to its default, whichever trains faster on this machine."""
    took = {}
    run(1)
    for threads in {1, torch.get_num_threads()}:
        torch.set_num_threads(threads)
        begun = time.perf_counter()
        run(4)
        took[threads] = time.perf_counter() - begun
    torch.set_num_threads(min(took, key=took.get))
    return min(took, key=took.get)


if __name__ == "__main__":
    serve(load, make)
