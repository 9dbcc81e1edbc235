"""What to say of names of environments that are known from elsewhere, but not here."""

import re

from jaxrl import names

# Gymnasium's tasks of MuJoCo, and what they are called in brax.
_MUJOCO = {
    "Ant": "ant",
    "HalfCheetah": "halfcheetah",
    "Hopper": "hopper",
    "Humanoid": "humanoid",
    "HumanoidStandup": "humanoidstandup",
    "InvertedDoublePendulum": "inverted_double_pendulum",
    "InvertedPendulum": "inverted_pendulum",
    "Pusher": "pusher",
    "Reacher": "reacher",
    "Swimmer": "swimmer",
    "Walker2d": "walker2d",
}
_BOX2D = {
    "BipedalWalker": "brax/walker2d or brax/hopper",
    "BipedalWalkerHardcore": "brax/walker2d or brax/hopper",
    "CarRacing": "MountainCarContinuous-v0",
    "LunarLander": "Acrobot-v1 or CartPoleSwingup-bsuite",
    "LunarLanderContinuous": "Pendulum-v1 or brax/hopper",
}
_MINATAR = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
_ATARI = re.compile(r"(?:ALE/)?(\w+?)(?:-ram)?(?:Deterministic|NoFrameskip)?-v\d")
_GROUPS = {
    "dm_control/": "those of the DeepMind Control Suite are here playground/CartpoleBalance and others",
    "MiniGrid-": "those of MiniGrid are here navix/... and xminigrid/...",
    "BabyAI-": "of grid worlds there are navix/... and xminigrid/...",
    "procgen": "Procgen is not available; of worlds that differ in each episode there is craftax/...",
    "minigrid": "those of MiniGrid are here navix/... and xminigrid/...",
}


def meant(name: str) -> str:
    """What to use instead of an environment that jaxrl does not have; "" where it is not known."""
    base, _, version = name.rpartition("-v")
    if base in _MUJOCO and version.isdigit():
        return f"the tasks of MuJoCo are available in brax's version: take brax/{_MUJOCO[base]}"
    if base in _BOX2D:
        return f"environments of Box2D are not available; similar in difficulty: {_BOX2D[base]}"
    atari = _ATARI.fullmatch(name)
    if atari and (name.startswith("ALE/") or "NoFrameskip" in name or "Deterministic" in name):
        game = atari[1].removesuffix("-ram")
        if game in _MINATAR:
            return f"Atari games are not available; a small version of this one is {game}-MinAtar"
        small = ", ".join(f"{one}-MinAtar" for one in _MINATAR)
        return f"Atari games are not available; small versions of five of them are: {small}"
    for start, text in _GROUPS.items():
        if name.startswith(start):
            return f"{text}; `jaxrl list envs WORD` shows the names"
    return ""


names.explain("environment", meant)
