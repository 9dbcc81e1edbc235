"""`jaxrl list [WHAT [WORD]]`: what there is by name."""

import dataclasses
from typing import Annotated

from jaxrl import envs, objectives
from jaxrl.algos import ALGORITHMS
from jaxrl.experiments import options
from jaxrl.experiments.presets import PRESETS, VARIANTS
from jaxrl.names import lookup, nearest


def command(argv: list[str]) -> int:
    """Prints a list. Returns the exit status."""

    @dataclasses.dataclass
    class List:
        """Lists algos, envs, objectives, presets, or all of them."""

        what: Annotated[str, options.positional()] = "all"  # one of them
        word: Annotated[str, options.positional()] = ""  # only lines that contain this, in any case

    chosen = options.parse(List, argv, "jaxrl list")
    print(listed(chosen.what, chosen.word))
    return 0


def list_algos() -> str:
    return "\n".join(f"{name:8s} {_first_line(module)}" for name, module in ALGORITHMS.items())


def list_envs() -> str:
    width = max(map(len, envs.REGISTRY))

    def line(name, entry):
        how = "" if entry.checked == "solved exactly" else "verified against "
        verified = f"{how}{entry.checked}" if entry.checked else ""
        return f"{name:{width}s}  {entry.origin:10s}  {verified}".rstrip()

    return "\n".join(line(*item) for item in sorted(envs.REGISTRY.items()))


def list_objectives() -> str:
    width = max(map(len, objectives.OBJECTIVES))
    return "\n".join(f"{name:{width}s} {_first_line(make)}" for name, make in objectives.OBJECTIVES.items())


def list_presets() -> str:
    names = {variant: f"{algo} --preset-of {variant}" for variant, algo in VARIANTS.items()}
    return "\n".join(
        f"{names.get(algo, algo)} {env}: {preset.steps} steps, "
        + ", ".join(f"{k} {v}" for k, v in {**preset.config, **preset.hparams}.items())
        for (algo, env), preset in sorted(PRESETS.items())
    )


def list_all() -> str:
    parts = [f"{name}\n{make()}" for name, make in LISTS.items() if name != "all"]
    return "\n\n".join(parts)


def listed(what: str, word: str = "") -> str:
    """One of `LISTS`, or only its lines that contain a word, ignoring case."""
    text = lookup("list", LISTS, what)()
    lines = [line for line in text.splitlines() if word.lower() in line.lower()]
    if word and not lines:
        known = [line.split()[0] for line in text.splitlines() if line]
        raise ValueError(f"no line of `jaxrl list {what}` contains {word!r}; {nearest(word, known)}")
    return "\n".join(lines) if word else text


def _first_line(thing) -> str:
    lines = (thing.__doc__ or "").strip().splitlines()
    return lines[0] if lines else ""  # `python -OO` removes docstrings


LISTS = {
    "algos": list_algos,
    "envs": list_envs,
    "objectives": list_objectives,
    "presets": list_presets,
    "all": list_all,
}
