"""`jaxrl meta tune` and `jaxrl meta two-colours`: the experiments of docs/meta.md."""

import dataclasses
import json

USAGE = """\
usage: jaxrl meta EXPERIMENT [OPTIONS]

  tune           hyperparameters by meta-gradients, evaluated on new agents
  two-colours    entropy coefficient from recent reward: bootstrapped, meta-gradients, fixed

`--help` after the name shows the options; --out FILE.json saves the result."""


def command(argv: list[str]) -> int:
    """Runs an experiment and prints its table."""
    from jaxrl import train
    from jaxrl.compile_cache import enable_compile_cache
    from jaxrl.experiments import folders, runs
    from jaxrl.experiments.options import parse
    from jaxrl.experiments.studies.meta import tune, two_colours
    from jaxrl.names import lookup

    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    experiments = {"tune": (tune, tune.Tune), "two-colours": (two_colours, two_colours.TwoColours)}
    name, *words = argv
    module, options = lookup("experiment", experiments, name)
    chosen = parse(options, words, f"jaxrl meta {name}")
    train.use_cores()
    enable_compile_cache()
    result = module.measure(chosen)
    print(module.table(chosen, result))
    if chosen.out:
        settings = {key: value for key, value in dataclasses.asdict(chosen).items() if key != "out"}
        facts = {"experiment": name, "settings": settings, **runs.provenance(), **result}
        folders.write_output(chosen.out, json.dumps(facts, indent=1) + "\n")
    return 0
