"""Which preset a command takes: that of its pair, or another that `--preset-of` names."""

from typing import Any

from jaxrl import fields, sources
from jaxrl.experiments.presets import ANY, PRESETS, Preset, preset


def chosen_preset(
    algorithm: str, environment: str, objective: str, preset_of: str, parts: tuple[Any, Any]
) -> tuple[Preset, list[str]]:
    """The preset of a pair, or that of another algorithm, reduced to the fields that this one has.

    Args:
      preset_of: `ALGO` or one of `VARIANTS`, or `ALGO:ENV` for another environment; "" for the preset of the
        pair.
      parts: a Config and Hparams of the algorithm.

    Returns:
      The preset, and the names of its values for which the algorithm has no field.

    Raises:
      ValueError: `preset_of` has no preset.
    """
    if not preset_of:
        return preset(algorithm, environment, objective), []
    other, _, place = preset_of.partition(":")
    place = place or environment
    given = preset(other, place, objective)
    if given is ANY:
        where = sources.shown(place)
        raise ValueError(f"there is no preset of {other} for {where}; `jaxrl list presets` shows all of them")
    known = [
        {name: value for name, value in its.items() if fields.matching(fields.flatten(part), name)}
        for part, its in zip(parts, given[:2])
    ]
    missing = [name for part, its in zip(known, given[:2]) for name in its if name not in part]
    return Preset(*known, given.steps), missing


def note(algorithm: str, environment: str, objective: str, preset_of: str, parts: tuple[Any, Any]) -> str:
    """A note that a pair has no preset, or that parts of it are not used; otherwise ""."""
    chosen, missing = chosen_preset(algorithm, environment, objective, preset_of, parts)
    name, place = sources.shown(algorithm), sources.shown(environment)
    if missing:
        return f"{name} has no {', '.join(missing)}: these values of the preset of {preset_of} are not used"
    if chosen is not ANY:
        return ""
    if sources.is_name(algorithm):
        here = ("ppo", environment) in PRESETS
        example = "ppo" if here else "ppo:CartPole-v1"
    else:
        example = f"{algorithm}:CartPole-v1"
    return (
        f"there is no preset for {name} on {place}: the defaults are used; "
        f"--preset-of {example} takes what is tuned for {example.replace(':', ' on ')}"
    )
