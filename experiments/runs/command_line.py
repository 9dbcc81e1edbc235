"""The `jaxrl train` line of a run: its names, and the options that differ from their defaults."""

from typing import Any

from jaxrl import fields, sources
from jaxrl.experiments import preset_choice
from jaxrl.experiments.runs.names import algorithm, is_typed, typed_params
from jaxrl.experiments.runs.spec import Spec, with_values

# The defaults of the options of `jaxrl train` that are fields of a Spec, except the steps.
DEFAULTS = {"seeds": 1, "seed": 0, "intervals": 20, "eval_episodes": 16, "chunk": 0, "shard": "agents"}


def train_words(spec: Spec) -> list[str] | None:
    """The words after `jaxrl train` that give this Spec; None if a command line cannot contain it.

    It cannot contain weights of an objective, and a file may have changed since the run started.
    """
    names = (spec.algorithm, spec.environment, *spec.objective.split("+"))
    if spec.trials or spec.search or any(map(sources.is_name, names)):
        return None
    module = algorithm(spec.algorithm)
    objective: dict[str, Any] = {}
    if spec.objective:
        if not is_typed(spec.hparams.objective):
            return None
        objective = {"objective": typed_params(spec.objective)}
    parts = module.Config(), module.Hparams(**objective)
    preset, _ = preset_choice.chosen_preset(spec.algorithm, spec.environment, spec.objective, "", parts)
    config = fields.flatten(fields.configured(parts[0], preset.config))
    hparams = fields.flatten(with_values(parts[1], preset.hparams))
    words = [spec.algorithm, spec.environment]
    if spec.objective not in ("", "ppo"):
        words += ["--objective", spec.objective]
    given = {name: getattr(spec, name) for name in ("steps", *DEFAULTS)}
    words += _changed("", given, {"steps": preset.steps, **DEFAULTS})
    words += _changed("config.", fields.flatten(spec.config), config)
    words += _changed("hp.", fields.flatten(spec.hparams), hparams)
    return words + _changed("env.", spec.env, {})


def _changed(prefix: str, values: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    """The options whose values differ from the defaults."""
    changed = {
        name: value
        for name, value in values.items()
        if name != "total_updates" and (name not in defaults or defaults[name] != value)
    }
    return [word for name, value in changed.items() for word in _option(prefix + name, value)]


def _option(name: str, value: Any) -> list[str]:
    *path, last = name.replace("_", "-").split(".")
    if isinstance(value, bool):
        return ["--" + ".".join([*path, last if value else f"no-{last}"])]
    flag = "--" + ".".join([*path, last])
    if isinstance(value, tuple):
        return [flag, "x".join(map(str, value))] if len(value) > 1 else [flag, *map(str, value)]
    text = repr(value) if isinstance(value, float) else str(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]
