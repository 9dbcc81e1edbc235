"""The stages of an evolution of messages, from the state of its folder, and its verdict."""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl import checkpoint, files, logger, loop, reporters, sources
from jaxrl.experiments import folders, runs
from jaxrl.experiments.studies import Study, study
from jaxrl.experiments.studies.parts import Part, Rows
from jaxrl.experiments.studies.talk.evolution import Evolution, evaluated, evolution
from jaxrl.experiments.studies.talk.game import Game, Setting, make
from jaxrl.experiments.verdict import Table, Verdict, screen
from jaxrl.statistics import across_tasks, probability_of_improvement

MARK = "talk.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """The content of `talk.json`."""

    setting: Setting
    command: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Result:
    """The content of `result.json`: returns of new victims, None for those that diverged."""

    setting: Setting
    scores: dict[str, list[float | None]]

    def __post_init__(self):
        counts = set(map(len, self.scores.values()))
        if set(self.scores) != {"evolved", "random", "silent"} or len(counts) > 1 or 0 in counts:
            raise ValueError("scores must have the same number of evolved, random and silent")


def carry_on(path: Path) -> int:
    """Continues an evolution from the state of its folder, and prints the result. Returns the exit status."""
    setting = study.read(path, MARK, Plan)[0].setting
    game = make(setting)
    with folders.claim(path):  # before any file is changed
        state = _evolved(path, setting, game)
        if state is None:
            return 130

        def result() -> dict[str, Any]:
            print("evaluating with new victims ...", flush=True)
            scores = evaluated(game, setting, state.es.mean)
            plain = {name: logger.finite(values) for name, values in scores.items()}
            return {"setting": dataclasses.asdict(setting), "scores": plain, **runs.provenance()}

        study.once(path / "result.json", Result, result)
    print(screen(verdict(path)))
    return 0


def _evolved(path: Path, setting: Setting, game: Game) -> Evolution | None:
    """The state after the last generation; None if the evolution was interrupted."""
    init, step = evolution(game, setting)
    metadata = {"setting": dataclasses.asdict(setting)}
    with loop.interruptible() as interrupted:
        if checkpoint.latest(path / "checkpoints") is None:
            state = init()
        else:
            state, _ = checkpoint.restore(path / "checkpoints", jax.eval_shape(init), metadata=metadata)
        done = first = int(state.generation)
        begun = time.perf_counter()
        sink = logger.jsonl(path / "metrics.jsonl", keep_updates=done)
        try:
            while done < setting.generations and not interrupted():
                state, candidate_scores = step(state)
                done += 1
                candidate_scores = np.asarray(candidate_scores, np.float64)
                sink.write({"num_updates": done, "score": candidate_scores.tolist()})
                broken = int((~np.isfinite(candidate_scores)).sum())
                lost = f"; {broken} candidates with diverged victims" * (broken > 0)
                each = (time.perf_counter() - begun) / (done - first)
                left = reporters.duration(each * (setting.generations - done))
                values = reporters.spread(candidate_scores.tolist())
                print(f"generation {done} of {setting.generations}: {values}{lost}, {left} left", flush=True)
                checkpoint.save(path / "checkpoints", done, state, metadata)
        finally:
            sink.close()
    if done < setting.generations:
        print(f"stopped after {done} generations; continue with: jaxrl resume {files.quoted(path)}")
        return None
    return state


def verdict(path: Path) -> Verdict:
    """The scores of a complete evolution."""
    result = study.result(path, "result.json", Result)
    return verdict_of(result.setting, result.scores)


def verdict_of(setting: Setting, scores: dict[str, list[float | None]]) -> Verdict:
    """The scores with intervals over victims, and how often that of the evolved adversary is higher.

    A victim that diverged counts as the worst result for its adversary: in mode harm, as the highest return.
    """
    sign = -1.0 if setting.mode == "harm" else 1.0
    numbers = {name: np.array(values, np.float64) for name, values in scores.items()}
    known = np.concatenate([sign * x[np.isfinite(x)] for x in numbers.values()])
    worst = sign * known.min() if known.size else np.nan
    filled = {name: np.where(np.isfinite(x), x, worst) for name, x in numbers.items()}
    rows, notes = [], []
    for name, values in filled.items():
        one = across_tasks([values])
        rows.append((name, f"{one.value:.4g} ({one.low:.4g} to {one.high:.4g})"))
    for other in ("random", "silent"):
        more = probability_of_improvement([filled["evolved"]], [filled[other]])
        ends = f"{more.low:.2f} to {more.high:.2f}"
        notes.append(f"evolved above {other}: probability {more.value:.2f} ({ends})")
    title = f"{setting.mode} on {sources.shown(setting.environment)}"
    what = "minus the distance to goals" if setting.mode == "control" else "return while training"
    over = f"{title}: {what}, IQM over {len(filled['evolved'])} fresh victims"
    head = ("adversary", "IQM (95 % interval)")
    return Verdict(title, (Table(over, head, tuple(rows), tuple(notes), labelled=True),))


def curves(path: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """The scores of the candidates of each generation, by the environment steps of all victims until then."""
    if not (rows := _rows(path).rows):
        raise study.unfinished(path)
    return [(path.name, rows)]


def _rows(path: Path) -> Rows:
    setting = study.read(path, MARK, Plan)[0].setting
    steps = setting.candidates * setting.victims * setting.steps
    found = [(row["num_updates"], row.get("score")) for row in logger.read_jsonl(path / "metrics.jsonl")]
    rows = [{"num_updates": n, "timesteps": steps * n, "episode/return": scores} for n, scores in found]
    return Rows(setting.candidates, setting.generations, rows)


def parts(path: Path) -> list[Part]:
    """The generations, and the evaluation with new victims."""
    evolved = Part("generations", path, partial(_rows, path))
    return [evolved, Part("evaluation with new victims", path / "result.json")]


STUDY = Study(carry_on, verdict, curves, parts=parts)
