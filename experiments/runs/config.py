"""`config.toml` in the folder of a run: its configuration, as `jaxrl train --from` reads it.

The keys are the options of `jaxrl train` with underscores. `[config]`, `[hp]` and `[env]` are tables, nested
like the options: `--config.network.hidden-sizes 64x64` is `hidden_sizes = [64, 64]` in `[config.network]`.
TOML has no null: "None" is written where an option may be None, as on the command line.
"""

from pathlib import Path
from typing import Any

from jaxrl import envs, files, sources
from jaxrl.experiments.runs import trial
from jaxrl.experiments.runs.spec import ADDED, Spec

NAME = "config.toml"
NAMES = ("algorithm", "environment", "objective")
# The fields of a Spec that are options of the same name.
NUMBERS = ("steps", "seeds", "seed", "intervals", "eval_episodes", "chunk", "shard")
HEADER = "# The configuration of a run: `jaxrl train --from FILE` trains it again."


def values_of(spec: Spec) -> dict[str, Any]:
    """The values of a Spec, by the names of the options."""
    data = spec.to_json()
    names = {name: data[name] for name in NAMES if data[name]}
    numbers = {name: getattr(spec, name) for name in NUMBERS}
    hp = {name: value for name, value in data["hparams"].items() if name != "total_updates"}
    config = ADDED.get(spec.algorithm, {}) | data["config"]
    return {**names, **numbers, "config": config, "hp": hp, "env": data["env"]}


def write(path: Path, spec: Any, copies: dict[str, dict[str, str]]) -> None:
    """Writes `config.toml` into the folder of a run, unless it is a discovery.

    Args:
      spec: if it has several trials, the file gets the values of the first one, and says so.
      copies: of the files in the names of the Spec, as `sources.keep` returns them.
    """
    if isinstance(spec, Spec):
        which = trial.FIRST if spec.trials or spec.search else ""
        files.replace(path / NAME, _text(trial.first(spec), copies, which))


def update(path: Path, before: Any, spec: Any, copies: dict[str, dict[str, str]]) -> None:
    """Writes `config.toml` again for a Spec that has changed, unless somebody has edited the file."""
    replace(path, (before, ""), (spec, ""), copies)


def replace(path: Path, before: tuple, after: tuple, copies: dict[str, dict[str, str]]) -> None:
    """Writes `config.toml` again, unless somebody has edited the file.

    Args:
      before, after: the Spec of one trial, and of which trial of the run it is; "" for a run without trials.
    """
    file = path / NAME
    if file.exists() and file.read_text(encoding="utf-8") == _text(before[0], copies, before[1]):
        files.replace(file, _text(after[0], copies, after[1]))


def _text(spec: Spec, copies: dict[str, dict[str, str]], which: str = "") -> str:
    return text(spec, copies, f"The run has several trials: these are the values {which}." if which else "")


def text(spec: Spec, copies: dict[str, dict[str, str]], comment: str = "") -> str:
    """The content of a configuration file, which is to be in the folder that has the copies.

    Args:
      comment: the second line of the file; "" for none.
    """
    import tomli_w

    header = f"{HEADER}\n# {comment}\n" if comment else HEADER
    values, entry = values_of(spec), envs.REGISTRY[spec.environment]
    # The time limit may depend on other parameters, so that it is not written unless it was given.
    usual = {name: value for name, value in entry.params().items() if name != "max_steps"}
    values["env"] = usual | ({} if entry.wrapped else {"resets": entry.resets}) | spec.env
    for name, about in copies.items():
        function = sources.shown(name).partition(":")[2]
        file = f"{sources.FOLDER}/{about['file']}" + f":{function}" * bool(function)
        values |= {key: values[key].replace(name, file) for key in NAMES if key in values}
    return f"{header}\n{tomli_w.dumps(_without_none(values))}"


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_none(one) for one in value]
    return "None" if value is None else value
