"""`jaxrl distil`: approximates a learned drift by formulas, and measures the loss in score."""

import dataclasses
from pathlib import Path
from typing import Annotated

from jaxrl import objective_file, objectives, sources
from jaxrl.compile_cache import enable_compile_cache
from jaxrl.discovery.distil import Fit, distil
from jaxrl.discovery.family import repeated
from jaxrl.experiments import options, user_files
from jaxrl.experiments.studies.discover import comparison, memory, presets, worlds
from jaxrl.train import use_cores
from jaxrl.types import Objective


def command(argv: list[str]) -> int:
    """`jaxrl distil FILE`."""
    import tyro

    @dataclasses.dataclass
    class Distil:
        """Fits formulas to a learned objective, and compares the scores of training with each of them."""

        file: Annotated[Path, tyro.conf.Positional]  # file written by `jaxrl discover`, or a Python file
        terms: tuple[int, ...] = (1, 2, 4, 8, 16)  # numbers of terms, one formula for each
        held_out: int = 1024  # random tables on which to compare scores; 0: no comparison
        out: Path | None = None  # folder for the objectives of the formulas; by default that of the file

    chosen = options.parse(Distil, argv, "jaxrl distil")
    sizes, most = sorted(set(chosen.terms)), 2 * len(objectives.TERMS)
    if not sizes or not 1 <= sizes[0] <= sizes[-1] <= most:
        raise ValueError(f"terms = {chosen.terms} must be numbers from 1 to {most}")
    if chosen.held_out < 0 or chosen.held_out == 1:
        raise ValueError(f"held_out = {chosen.held_out} must be at least 2, or 0")
    use_cores(quiet=True)
    enable_compile_cache()
    given = str(chosen.file)
    if user_files.is_source(given):
        name, objective = user_files.objective(given)
    else:
        name, objective = user_files.load_objective(chosen.file)
    if chosen.held_out:
        memory.require_tasks([worlds.family(presets.TABULAR.worlds[0])], chosen.held_out, "--held-out")
    fits = distil(objective, sizes)
    folder = chosen.out or chosen.file.parent
    folder.mkdir(parents=True, exist_ok=True)
    scores = _scored(objective, fits, chosen.held_out) if chosen.held_out else [""] * (len(fits) + 1)
    print(f"{chosen.file} ({sources.shown(name)}){scores[0]}")
    for size, fit, score in zip(["dpo", *(f"{size}-terms" for size in sizes)], fits, scores[1:]):
        file = folder / f"{chosen.file.stem}-{size}.json"
        objective_file.save(
            file, fit.name, fit.params, {"distilled": chosen.file.name, "formula": fit.formula}
        )
        print(f"{file}: explains {fit.explained:.0%} of the slopes{score}\n  {fit.formula}")
    return 0


def _scored(objective: Objective, fits: list[Fit], count: int) -> list[str]:
    """Texts with mean scores of the learned objective and of the formulas, and their differences."""
    family = worlds.family(presets.TABULAR.worlds[0])
    score = comparison.scorer(family, count)
    hps = repeated(family.hparams, 1)

    def scores_of(apply, params):
        return score(apply, repeated(params, 1), hps)[0]

    each = [scores_of(objective.apply, objective.params)]
    each += [scores_of(objective_file.named(fit.name).apply, fit.params) for fit in fits]
    mine, *theirs = comparison.filled(*each)
    texts = [f": mean score {mine.mean():.4f} in {count} held-out tasks"]
    for fit, its in zip(fits, theirs):
        row = comparison.row(fit.name, its, mine)
        low, high = row["interval"]
        texts.append(f", scores {row['mean']:.4f}: {row['difference']:+.4f} ({low:+.4f} to {high:+.4f})")
    return texts
