"""`jaxrl talk ENV`: evolves an adversary that only sends messages."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from jaxrl import sources, train
from jaxrl.experiments import options, runs
from jaxrl.experiments.studies.study import new
from jaxrl.experiments.studies.talk import study
from jaxrl.experiments.studies.talk.evolution import evolution
from jaxrl.experiments.studies.talk.game import MODES, Setting, make


def command(argv: list[str]) -> int:
    """`jaxrl talk ENV`: evolves an adversary that only sends messages."""
    import tyro

    @dataclasses.dataclass
    class Talk:
        """Evolves messages that harm or help an agent in training, or control a trained one (cheap talk)."""

        environment: Annotated[str, tyro.conf.Positional] = "CartPole-v1"  # see `jaxrl list envs`, or a file
        mode: Literal[MODES] = "harm"  # the purpose; control: CartPole-v1, Pendulum-v1, Reacher-misc
        steps: int = 20_000  # environment steps of each victim's training
        generations: int = 60  # generations of adversaries
        candidates: int = 16  # adversaries per generation, in antithetic pairs
        victims: int = 4  # agents trained with each adversary
        messages: int = 4  # size of a message, whose numbers are in [-1, 1]
        hidden: int = 16  # hidden units of the adversary
        std: float = 0.3  # standard deviation of the candidates around their mean
        goals: int = 8  # control: number of goals for each victim
        seed: int = 0  # of the evolution
        compile_cache: bool = True  # cache compiled programs for later starts
        out: Path | None = None  # folder; otherwise one in runs/

    chosen = options.parse(Talk, argv, "jaxrl talk")
    train.use_cores(quiet=True)
    if chosen.compile_cache:
        runs.enable_compile_cache()
    chosen.environment = sources.named(chosen.environment)
    setting = Setting(**{name: getattr(chosen, name) for name in Setting.__dataclass_fields__})
    evolution(make(setting), setting)
    place = sources.shown(setting.environment).replace(":", "-")
    path = chosen.out or Path("runs") / f"talk-{setting.mode}-{place}-{setting.seed}"
    with new(path, study.MARK) as write:
        write({"setting": dataclasses.asdict(setting), "command": ["jaxrl", "talk", *argv]})
    return study.carry_on(path)
