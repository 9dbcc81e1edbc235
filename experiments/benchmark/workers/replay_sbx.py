"""DQN and SAC of SBX (Stable-Baselines3's algorithms in JAX), on environments in Python."""

from protocol import Contestant, jax_device, serve
from train_sb3 import monitored


def load():
    import sbx  # noqa: F401


def make(settings):
    import gymnasium
    import numpy as np
    import sbx
    from flax import linen
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv

    sizes, numbers = settings["sizes"], settings["numbers"]
    num_envs = sizes["num_envs"]

    def environments(count):
        return DummyVecEnv([lambda: monitored(gymnasium.make(settings["env"]))] * count)

    def agent(seed):
        given = {}
        if settings["algorithm"] == "dqn":
            given = {"target_update_interval": num_envs, "exploration_fraction": numbers["exploration"]}
        algorithm = {"dqn": sbx.DQN, "sac": sbx.SAC}[settings["algorithm"]]
        return algorithm(
            "MlpPolicy",
            environments(num_envs),
            learning_rate=numbers["learning_rate"],
            buffer_size=sizes["capacity"],
            learning_starts=sizes["warmup_steps"],
            batch_size=sizes["batch_size"],
            tau=numbers["tau"],
            gamma=numbers["gamma"],
            train_freq=1,
            gradient_steps=sizes["num_gradient_steps"],
            policy_kwargs={
                "net_arch": list(sizes["hidden_sizes"]),
                "activation_fn": getattr(linen, settings["activation"]),
            },
            seed=seed,
            **given,
        )

    model = agent(0)
    model.learn(sizes["warmup_steps"] + num_envs)

    def run(rounds):
        model.learn(rounds * num_envs, reset_num_timesteps=False)

    def learn(steps):
        fresh = agent(1000)
        fresh.learn(steps)
        episodes = settings["eval_episodes_slow"]
        return [float(np.mean(evaluate_policy(fresh, environments(num_envs), n_eval_episodes=episodes)[0]))]

    return Contestant(
        run=run,
        steps_per_unit=num_envs,
        gradient_steps_per_unit=sizes["num_gradient_steps"],
        learn=learn,
        device=jax_device,
        source=sbx.__file__,
        notes="one agent; environments in Python; its DQN is not a double one",
    )


if __name__ == "__main__":
    serve(load, make)
