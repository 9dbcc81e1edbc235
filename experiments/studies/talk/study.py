"""The stages of an evolution of messages, from the state of its folder, and its summary."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from jaxrl import checkpoint, files, hosts, logger, loop, sources
from jaxrl.experiments import folders, runs
from jaxrl.experiments.studies.talk.evolution import evaluated, evolution
from jaxrl.experiments.studies.talk.game import Setting, make
from jaxrl.reporters import spread
from jaxrl.statistics import across_tasks, probability_of_improvement


def carry_on(path: Path) -> int:
    """Continues an evolution from the state of its folder, and prints the result. Returns the exit status."""
    if hosts.several():
        raise ValueError("cheap talk is for one process: leave --coordinator out")
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
