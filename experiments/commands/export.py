"""`jaxrl export RUN`: a trained policy as a file for NumPy, ONNX Runtime, C or another JAX program."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from jaxrl import files
from jaxrl.artifact import policy
from jaxrl.experiments import folders, studies

SUFFIXES = {"npz": ".npz", "stablehlo": ".stablehlo", "onnx": ".onnx", "c": ".h"}


def command(argv: list[str]) -> int:
    """Writes the file and prints its path."""
    import tyro

    from jaxrl.experiments.options import parse

    @dataclasses.dataclass
    class Export:
        """The trained policy of a run as one file: see docs/export.md."""

        run: Annotated[Path, tyro.conf.Positional]  # folder of the run, or a policy.npz
        format: Literal["npz", "stablehlo", "onnx", "c"] = "npz"  # for NumPy, JAX, ONNX Runtime or C99
        seed: int | None = (
            None  # agent to export; otherwise the best of the last evaluation, or all in an npz
        )
        out: Path | None = None  # otherwise policy.npz, .stablehlo, .onnx or .h in the run's folder
        best: bool = False  # the best saved checkpoint instead of the last

    chosen = parse(Export, argv, "jaxrl export")
    run = studies.run_of(chosen.run)
    print(export(run, chosen.format, chosen.seed, chosen.out, chosen.best))
    return 0


def export(run: Path, form: str, seed: int | None, out: Path | None, best: bool = False) -> str:
    """Writes a policy to a file. Returns a message of one line.

    Raises:
      ValueError: no such run, no checkpoint yet, no such seed, a missing package, or a policy that the
        format cannot represent.
      OSError: the file cannot be written.
    """
    out = out or (run if run.is_dir() else run.parent) / f"policy{SUFFIXES[form]}"
    folders.require_output(out)
    artifact = _read(run, best)
    if form == "npz":
        artifact = artifact if seed is None else artifact.only(seed)
        _write(out, policy.to_bytes(artifact))
        return f"{out}: {_named(artifact.seeds)}, {_size(out)}"
    seed = artifact.best() if seed is None else seed
    _write(out, translate(artifact.of(seed), form, out.stem, _about(artifact, seed)))
    return f"{out}: {_about(artifact, seed)}, {_size(out)}"


def translate(recipe, form: str, name: str = "policy", about: str = "") -> str | bytes:
    """The policy of one seed in a format other than npz; only what the format needs is imported."""
    if form == "stablehlo":
        from jaxrl.artifact.to_stablehlo import to_stablehlo

        return to_stablehlo(recipe)
    if form == "onnx":
        from jaxrl.artifact.to_onnx import to_onnx

        return to_onnx(recipe)
    from jaxrl.artifact.to_c import to_c

    return to_c(recipe, name, about)


def _read(run: Path, best: bool) -> policy.Artifact:
    """The policies in a run's checkpoint, or in a file."""
    if run.is_file():
        if best:
            raise ValueError(f"--best needs the folder of a run: {run} holds the policies of one checkpoint")
        return policy.read(run)
    if not run.exists():
        raise ValueError(f"{run}: there is no such run")
    if (run / "fit.json").exists():
        if best:
            raise ValueError(f"--best needs a run of `jaxrl train`: {run} holds one by jaxrl.fit")
        return policy.read(run)
    from jaxrl import records
    from jaxrl.experiments.runs import artifacts
    from jaxrl.experiments.runs.load import load

    spec, programs, at = load(run, best)
    rows = [row for row in records.rows(run) if row["num_updates"] <= at.num_updates]
    return artifacts.of_agents(spec, programs, at.state, at.num_updates, rows[-1] if rows else None)


def _write(out: Path, data: str | bytes) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    files.replace(out, data)


def _about(artifact: policy.Artifact, seed: int) -> str:
    score = artifact.scores[artifact.seeds.tolist().index(seed)]
    about = f"{artifact.about.get('algorithm')} on {artifact.about.get('environment')}, seed {seed}"
    return about if np.isnan(score) else f"{about} (return {score:.4g} in the last evaluation)"


def _named(seeds) -> str:
    return f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
