"""`jaxrl train ALGO ENV`: trains the agents of a run."""

from jaxrl.experiments import processes, runs
from jaxrl.experiments.runs import training
from jaxrl.experiments.spec_options import parse_spec, print_note, train_options


def command(argv: list[str]) -> int:
    """Trains, or with `--dry-run` only compiles. Returns the exit status."""
    with processes.connected(argv):
        return _train(argv)


def _train(argv: list[str]) -> int:
    spec, chosen, extra = parse_spec("train", train_options, argv)
    usual = training.kind_of_training()

    def announcement(*arguments):
        text = usual.announcement(*arguments)  # first, so that no note is printed before an error
        print_note(spec, chosen)
        return text

    with training.new_folder(chosen.out, runs.default_name(spec), chosen.dry_run) as path:
        if chosen.dry_run:
            return training.dry_run(path, spec, extra)
        kind = usual._replace(announcement=announcement)
        return training.carry_on(path, spec, extra, command=["jaxrl", "train", *argv], kind=kind)
