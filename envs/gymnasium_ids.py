"""Our environments in Gymnasium's registry, under the namespace `jaxrl`.

    import gymnasium
    import jaxrl.envs.gymnasium_ids

    env = gymnasium.make("jaxrl/CartPole-v1", render_mode="rgb_array", length=0.7)
    many = gymnasium.make_vec("jaxrl/Breakout-MinAtar", num_envs=64)

Importing this module registers all names of `jaxrl.envs.REGISTRY`; a slash in them becomes a dash
("jaxrl/brax-ant"), for an id of Gymnasium has only one. `import jaxrl.envs` does it too if Gymnasium has been
imported before. `gymnasium.make("jaxrl.envs.gymnasium_ids:jaxrl/CartPole-v1")` needs no import.
"""

from gymnasium.envs.registration import register, registry

from jaxrl.envs.registry import REGISTRY


def announce(name: str) -> None:
    """Registers the environment `name` of `jaxrl.envs`."""
    known = f"jaxrl/{name.replace('/', '-')}"
    if known not in registry:
        make = "jaxrl.envs.to_gymnasium:to_gymnasium"
        register(known, entry_point=make, vector_entry_point=make, kwargs={"env": name})


for _name in REGISTRY:
    announce(_name)
