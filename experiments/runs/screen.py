"""What a run shows before and after training: two texts and the plot of its curves."""

import logging
from pathlib import Path

import jax

from jaxrl import files, fit_record, keeping, logger, records, reporters, sources, train
from jaxrl.experiments import diverged, folders, plot
from jaxrl.experiments.runs import per_trial
from jaxrl.experiments.runs.folder import read_info
from jaxrl.experiments.runs.spec import Spec, from_json
from jaxrl.programs import Programs
from jaxrl.reporters import count, size, spread
from jaxrl.statistics import bootstrap_interval, iqm

MOST_CURVES = 12  # in a figure; with more, neither their colours nor their labels can be distinguished


def announcement(spec: Spec, programs: Programs, path: Path) -> str:
    """The text before training: device, agents, steps, memory, folder."""
    device = jax.devices()[0]
    state = jax.eval_shape(programs.init, spec.keys, *programs.data)
    keeping.require_part(programs.keep, state)
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state) if x.dtype.itemsize)
    seeds = f"seeds {spec.seed} to {spec.seed + spec.seeds - 1}" if spec.seeds > 1 else f"seed {spec.seed}"
    trials = f"{spec.slots} trials, " if spec.trials else f"{spec.slots} at a time, " if spec.search else ""
    agents = f"{spec.agents} agent{'s' * (spec.agents > 1)} ({trials}{seeds})"
    if spec.lanes > spec.agents:
        agents += f" in {spec.lanes} lanes"
    length = f"{programs.agent_updates} updates"
    if programs.algo.steps_per_update:
        length = f"{count(train.steps_after(programs.algo, programs.agent_updates))} steps each in {length}"
    return (
        f"{sources.shown(f'{spec.algorithm} on {spec.environment}')}: {agents}, {length}, "
        f"on {device.device_kind} ({device.platform}), {size(held)} of state; into {path}"
    )


def closing(path: Path, how: str) -> str:
    """The text after training: how the run ended, and the commands that can follow."""
    rows = records.rows(path)
    last = rows[-1] if rows else {}
    name = "evaluation/return" if "evaluation/return" in last else "episode/return"
    agents = {"per_seed": last.get(name, []), "died": reporters.diverged_lanes(last)}
    values = diverged.counted(agents, diverged.worst([agents]))
    returns = spread(values)
    if len(values) > 1:
        low, high = bootstrap_interval(values, iqm)
        returns = f"IQM {iqm(values):.4g} (95 % interval {low:.4g} to {high:.4g})"
    lost = f"; {len(agents['died'])} of {len(agents['per_seed'])} agents diverged and count as the worst"
    where = files.quoted(path)
    return (
        f"{how}: return {returns}{lost * bool(agents['died'])}\n"
        f"jaxrl evaluate {where} | jaxrl render {where} | jaxrl plot {where}"
    )


def curves_of(path: Path) -> plot.Curves:
    """The learning curves of a run: its label and rows, or those of each of its trials, the best first.

    Raises:
      ValueError: a folder without a run, without rows, or with a search that is not complete.
    """
    by_fit = (path / fit_record.MARK).exists()
    written = fit_record.identity(path) if by_fit else read_info(path)["spec"]
    if not logger.read_jsonl(path / "metrics.jsonl", records.NEEDED):
        raise plot.Nothing(f"{path} has no rows of metrics yet: let it train for an interval first")
    rows = records.rows(path)
    if by_fit or not (written.get("trials") or written.get("search")):
        return [(path.name, rows)]
    trials = per_trial.trials_of(path, from_json(written), rows)
    return [(one.label, one.rows) for one in sorted(trials, key=per_trial.last_return, reverse=True)]


def plot_curves(curves: plot.Curves, out: Path) -> str:
    """Draws curves, the first `MOST_CURVES` of them. Raises ValueError if there is nothing to draw."""
    folders.require_output(out)
    some = f"the best {MOST_CURVES} of {len(curves)} trials" if len(curves) > MOST_CURVES else None
    plot.curves(curves[:MOST_CURVES], out, title=some)
    return str(out)


def draw_curves(path: Path) -> None:
    """Draws `curves.png` of a run, unless no episode has ended."""
    try:
        plot_curves(curves_of(path), path / "curves.png")
    except plot.Nothing:
        pass
    except ValueError as error:
        logging.getLogger("jaxrl").warning("curves.png is not drawn: %s", error)
