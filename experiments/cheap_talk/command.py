"""`jaxrl talk ENV`: the folder of an evolution, its resumption, and its summary."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np

from jaxrl import checkpoint, files, hosts, logger, loop, sources, train
from jaxrl.experiments import folders, options, runs
from jaxrl.experiments.cheap_talk.evolution import evaluated, evolution
from jaxrl.experiments.cheap_talk.game import MODES, Setting, make
from jaxrl.reporters import spread
from jaxrl.statistics import across_tasks, probability_of_improvement


def carry_on(path: Path) -> int:
    """Continues an evolution from the state of its folder, and prints the result. Returns the exit status."""
    if hosts.several():
        raise options.UsageError("cheap talk is for one process: leave --coordinator out")
    try:
        info = json.loads((path / "talk.json").read_text())
        setting = Setting(**info["setting"])
        sources.remember(path, info.get("sources", {}))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path / 'talk.json'} was edited ({error})") from None
    runs.require_types(setting, where=path / "talk.json")
    game = make(setting)
    init, step = evolution(game, setting)
    metadata = {"setting": dataclasses.asdict(setting)}
    with folders.claim(path), loop.interruptible() as interrupted:  # before any file is changed
        if checkpoint.latest(path / "checkpoints") is None:
            state = init()
        else:
            state, _ = checkpoint.restore(path / "checkpoints", jax.eval_shape(init), metadata=metadata)
        done = int(state.generation)
        sink = logger.jsonl(path / "metrics.jsonl", keep_updates=done)
        try:
            while done < setting.generations and not interrupted():
                state, candidate_scores = step(state)
                done += 1
                candidate_scores = np.asarray(candidate_scores, np.float64)
                sink.write({"num_updates": done, "score": candidate_scores.tolist()})
                broken = int((~np.isfinite(candidate_scores)).sum())
                lost = f"; {broken} candidates with diverged victims" * (broken > 0)
                print(f"generation {done}: {spread(candidate_scores.tolist())}{lost}", flush=True)
                checkpoint.save(path / "checkpoints", done, state, metadata)
        finally:
            sink.close()
    if done < setting.generations:
        print(f"stopped after {done} generations; continue with: jaxrl resume {files.quoted(path)}")
        return 130
    scores = evaluated(game, setting, state.es.mean)
    plain = {name: logger.finite(values) for name, values in scores.items()}
    result = {"setting": dataclasses.asdict(setting), "scores": plain, **runs.provenance()}
    files.replace(path / "result.json", json.dumps(result, indent=1) + "\n")
    print(summary(setting, scores))
    return 0


def summary(setting: Setting, scores: dict[str, list[float]]) -> str:
    """The scores with intervals over victims, and how often that of the evolved adversary is higher.

    A victim that diverged counts as the worst result for its adversary: in mode harm, as the highest return.
    """
    sign = -1.0 if setting.mode == "harm" else 1.0
    known = [sign * x for values in scores.values() for x in values if np.isfinite(x)]
    worst = sign * min(known, default=np.nan)
    scores = {name: [x if np.isfinite(x) else worst for x in values] for name, values in scores.items()}
    what = "minus the distance to goals" if setting.mode == "control" else "return while training"
    count = len(scores["evolved"])
    place = sources.shown(setting.environment)
    lines = [f"{setting.mode} on {place}: {what}, IQM over {count} fresh victims"]
    for name, values in scores.items():
        one = across_tasks([values])
        lines.append(f"  {name:8s} {one.value:.4g} ({one.low:.4g} to {one.high:.4g})")
    for other in ("random", "silent"):
        more = probability_of_improvement([scores["evolved"]], [scores[other]])
        lines.append(
            f"  evolved above {other}: probability {more.value:.2f} ({more.low:.2f} to {more.high:.2f})"
        )
    return "\n".join(lines)


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
    about = {"setting": dataclasses.asdict(setting), "command": ["jaxrl", "talk", *argv]}
    with folders.new(path, "talk.json"):
        about |= {"sources": kept} if (kept := sources.keep(path, about["setting"])) else {}
        files.create(path / "talk.json", json.dumps({**about, **runs.provenance()}, indent=1) + "\n")
    return carry_on(path)
