"""Hints for names of environments of other libraries that are not available here."""

import re

from jaxrl import names

# Gymnasium's MuJoCo tasks, and their names in brax.
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
    "dm_control/": "the DeepMind Control Suite is available as playground/CartpoleBalance and others",
    "MiniGrid-": "MiniGrid is available as navix/... and xminigrid/...",
    "BabyAI-": "grid worlds are available as navix/... and xminigrid/...",
    "procgen": "Procgen is not available; craftax/... also generates a new level in each episode",
    "minigrid": "MiniGrid is available as navix/... and xminigrid/...",
}


def suggestion(name: str) -> str:
    """What to use instead of an environment that jaxrl does not have; "" if there is no suggestion."""
    base, _, version = name.rpartition("-v")
    if base in _MUJOCO and version.isdigit():
        return f"MuJoCo tasks are available in brax's version: use brax/{_MUJOCO[base]}"
    if base in _BOX2D:
        return f"Box2D environments are not available; similar in difficulty: {_BOX2D[base]}"
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


names.explain("environment", suggestion)
