"""One trial of a run with several, as a run with these values."""

import dataclasses

from jaxrl.experiments.runs.spec import Spec, parts, with_values
from jaxrl.experiments.search.axis import as_number, from_plain

FIRST = "of the first trial"


def alone(spec: Spec, values: dict[str, float]) -> Spec:
    """The run of one trial, with the same seeds.

    Args:
      values: of the trial, as in `Spec.trials`.
    """
    hparams, env = parts(values)
    hparams = with_values(spec.hparams, hparams)
    return dataclasses.replace(
        spec, hparams=hparams, env=spec.env | env, trials=(), search=None, chunk=0, shard="agents"
    )


def first(spec: Spec) -> Spec:
    """The run of the first trial; a run without trials is unchanged."""
    if not (spec.trials or spec.search):
        return spec
    if not spec.search:
        return alone(spec, spec.trials[0])
    axes = map(from_plain, spec.search["axes"])
    return alone(
        spec, {one.name: as_number(one.flag, one.at(share)) for one, share in zip(axes, spec.search["x"][0])}
    )
