"""The values in a TOML file or of a run, which `jaxrl train --from` takes as defaults of the options."""

import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl import decode, fields, files, objectives, sources
from jaxrl.experiments import hints, json_types, runs
from jaxrl.experiments.options import flags, is_short_for
from jaxrl.experiments.runs.config import NAMES, values_of
from jaxrl.experiments.studies.sweep.best import require_best, require_winner
from jaxrl.names import nearest

LARGEST = 2**20  # bytes of a TOML file
PARTS = ("config", "hp", "env")  # the tables
# Options of `train` that are about one call, so that a file cannot set them.
CALL = ("from", "out", "dry_run", "coordinator", "num_processes", "process_id", "join_seconds")


class Given(NamedTuple):
    """The values of a file or a run.

    Attributes:
      where: the path, for messages; "" if there is no `--from`.
      values: of options by name; a dict for each of `PARTS`, whose keys may be dotted.
    """

    where: str = ""
    values: Mapping[str, Any] = types.MappingProxyType({})

    def objective(self, algorithm: str) -> str:
        """The objective of the file, unless that is of another algorithm; "" if it has none."""
        of_another = not _same(algorithm, self.values.get("algorithm", algorithm))
        return "" if of_another else self.values.get("objective", "")

    def env(self, environment: str) -> dict[str, Any]:
        """The parameters of an environment; none if those of the file are of another one."""
        same = _same(environment, self.values.get("environment", environment))
        return self.values.get("env", {}) if same else {}

    def weights(self, objective: str) -> Any:
        """The parameters of a learned objective or a mixture, which a command line cannot contain, or None.

        Raises:
          ValueError: they are not those of this objective.
        """
        data = self.params(objective)
        if not data or not _has_weights(objective):
            return None
        try:
            return runs.objective_from_json(objective, data)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"{self.where}: [hp.objective] does not fit {objective}: {error}") from None

    def params(self, objective: str) -> dict[str, Any]:
        """The parameters of an objective; none if those of the file are of another one."""
        same = _same(objective, self.values.get("objective", objective))
        return self.values.get("hp", {}).get("objective", {}) if same else {}


def _same(one: str, other: str) -> bool:
    """Whether two names are the same, or those of two versions of a file."""
    return sources.shown(one) == sources.shown(other)


def _has_weights(objective: str) -> bool:
    return objective in objectives.LEARNED or runs.is_mixture(objective)


def read(place: str) -> Given:
    """The values in a TOML file, or of the run in a folder; nothing for "".

    Raises:
      ValueError: there is neither, it cannot be read, or the best of the run's trials is not known yet.
    """
    if not place:
        return Given()
    path = Path(place)
    if (path / "sweep.json").is_file():
        return Given(place, values_of(require_winner(path)))
    if path.is_dir():
        info = runs.read_info(path)
        spec = runs.from_json(info["spec"])
        several = spec.search or spec.trials
        return Given(place, values_of(require_best(path, spec) if several else spec))
    try:
        values = tomllib.loads(files.read(path, LARGEST).decode())
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"--from {path}: there is no such file, and no folder of a run") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not a readable TOML file: {error}") from None
    decode.decode(values, dict[str, Any], path, nan=True)
    for name in (*NAMES, "preset_of"):
        if not isinstance(values.get(name, ""), str):
            raise ValueError(f"{path}: {name} = {values[name]!r} must be a name in quotation marks")
        if name in values and name in NAMES:
            values[name] = _from_folder(values[name], path.parent)
    for name in PARTS:
        if not isinstance(values.setdefault(name, {}), dict):
            raise ValueError(f"{path}: {name} must be a table, as [{name}]")
    return Given(place, values)


def _from_folder(words: str, folder: Path) -> str:
    """A name, or several joined by +, in which files are relative to a folder; Python files are read."""
    names = []
    for word in words.split("+"):
        is_file = sources.is_file(word) or word.endswith(".json")
        names.append(sources.named(str(folder / word)) if is_file else word)
    return "+".join(names)


def with_names(argv: list[str], given: Given) -> list[str]:
    """The words after `jaxrl train`; a missing algorithm or environment is that of the file."""
    count = next((i for i, word in enumerate(argv[:2]) if word.startswith("-")), len(argv[:2]))
    named = [given.values[name] for name in ("algorithm", "environment")[count:] if name in given.values]
    return [*argv[:count], *named, *argv[count:]]


def applied(given: Given, options: Any, environment: str) -> Any:
    """The options of a command with the values of a file as defaults.

    Prefixes may be left out as on the command line: `learning_rate` for `hp.learning_rate`.

    Args:
      options: an instance of the dataclass of the command, for this environment.

    Raises:
      ValueError: a name that is not an option, with the nearest one, or a value of another type.
    """
    tables = {part: dict(given.values.get(part, {})) for part in PARTS} | {"env": given.env(environment)}
    objective = getattr(options, "objective", "")
    params = {} if _has_weights(objective) else given.params(objective)
    tables["hp"] = {name: value for name, value in tables["hp"].items() if name != "objective"}
    tables["hp"] |= {"objective": params} if params else {}
    top = {name: value for name, value in given.values.items() if name not in (*PARTS, *NAMES)}
    known = fields.flatten(options)
    for name, value in json_types.dotted(top | tables).items():
        if name in CALL:
            raise ValueError(f"{given.where}: {name} belongs on the command line, as {_flag(name)}")
        full = [name] if name in known else [one for one in known if is_short_for(name, one)]
        if len(full) > 1:
            raise ValueError(f"{given.where}: {name} is ambiguous, take {' or '.join(full)}")
        if not full:
            raise ValueError(f"{given.where}: unknown option {name!r};{_suggestion(name, options)}")
        options = fields.replace(options, {full[0]: _typed(options, full[0], value, given.where)})
    return options


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _suggestion(name: str, options: Any) -> str:
    """The option that an unknown name may mean, with a leading space."""
    hint = hints.of_flag(_flag(name), flags(options))
    if not hint:
        return f" {nearest(name, fields.flatten(options))}"
    return re.sub(r"--([\w.-]+)", lambda flag: flag[1].replace("-", "_"), hint).rstrip(".")


def _typed(options: Any, name: str, value: Any, where: str) -> Any:
    """A value of a file as the option of this dotted name takes it. Raises ValueError for another type."""
    *path, last = name.split(".")
    for part in path:
        options = getattr(options, part)
    kind = typing.get_type_hints(type(options))[last]
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value == "None" and types.NoneType in kinds:
        value = None
    elif type(value) is int and float in kinds and int not in kinds:
        value = float(value)
    elif type(value) is float and int in kinds and float not in kinds and value.is_integer():
        value = int(value)  # 1e6, which is a float in TOML
    json_types.require_type(name, value, kind, where)
    return value
