"""`jaxrl new`: writes a template for an algorithm, an environment or an objective."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from jaxrl import files, sources
from jaxrl.experiments import options
from jaxrl.names import lookup

# The file that is copied for each kind except an algorithm, and the command that uses it.
TEMPLATES = {
    "env": ("template_env.py", "jaxrl train ppo {} --steps 50000"),
    "objective": ("template_objective.py", "jaxrl train ppo CartPole-v1 --objective {}"),
}


def command(argv: list[str]) -> int:
    """Writes the file and prints a command that uses it. Returns the exit status."""

    @dataclasses.dataclass
    class New:
        """Writes a file as a template: a copy of an algorithm, a small environment, or an objective."""

        kind: Annotated[Literal["algorithm", *TEMPLATES], options.positional()]  # kind of file
        file: Annotated[Path, options.positional()]  # path of the file, such as my_ppo.py
        from_: Annotated[str, _flag("from")] = "ppo"  # the algorithm to copy, see `jaxrl list algos`

    chosen = options.parse(New, argv, "jaxrl new")
    if not sources.is_name(f"{chosen.file.stem}@{'0' * 12}") or chosen.file.suffix != ".py":
        raise ValueError(f"{chosen.file}: call the file NAME.py, of letters, digits, _ and -")
    path = chosen.file if chosen.file.is_absolute() else f"./{chosen.file}"
    if chosen.kind == "algorithm":
        template = _algorithm(chosen.from_)
        train = f"jaxrl train {{}} CartPole-v1 --preset-of {chosen.from_}"
    else:
        name, train = TEMPLATES[chosen.kind]
        template = Path(__file__).parent.parent / name
    _write(chosen.file, template)
    print(f"{chosen.file} is written; train with it: {train.format(path)}")
    return 0


def _algorithm(name: str) -> Path:
    from jaxrl.algos import ALGORITHMS

    return Path(str(lookup("algorithm", ALGORITHMS, name).__file__))


def _write(path: Path, template: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.create(path, template.read_text())
    except FileExistsError:
        raise ValueError(f"{path} exists already: choose another name") from None


def _flag(name: str):
    import tyro

    return tyro.conf.arg(name=name)
