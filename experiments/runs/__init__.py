"""Runs as data: the specification (`Spec`), the folder, and the programs of a run.

`training` trains or continues the run in a folder, `planning` measures what it costs, `extend` makes it
longer, `load` reads its checkpoint; they are imported by name.
"""

from jaxrl.compile_cache import cache_folder, enable_compile_cache
from jaxrl.experiments.json_types import require_types
from jaxrl.experiments.runs.folder import (
    OPTIONS,
    complete_folder,
    create_folder,
    provenance,
    read_info,
    record_session,
    require_seen,
    write_info,
)
from jaxrl.experiments.runs.names import (
    algorithm,
    is_file,
    is_mixture,
    objective,
    objective_given,
    objective_name,
    together,
    typed_params,
    with_objective,
)
from jaxrl.experiments.runs.programs import build, can_trace, check_numbers, make
from jaxrl.experiments.runs.screen import announcement, closing, curves_of, draw_curves, plot_curves
from jaxrl.experiments.runs.sinks import open_sinks, require_extras
from jaxrl.experiments.runs.spec import (
    Spec,
    default_name,
    evaluation_keys,
    from_json,
    objective_from_json,
    parts,
    with_values,
)

__all__ = [
    "OPTIONS",
    "Spec",
    "algorithm",
    "announcement",
    "build",
    "cache_folder",
    "can_trace",
    "check_numbers",
    "closing",
    "complete_folder",
    "create_folder",
    "curves_of",
    "default_name",
    "draw_curves",
    "enable_compile_cache",
    "evaluation_keys",
    "from_json",
    "is_file",
    "is_mixture",
    "make",
    "objective",
    "objective_from_json",
    "objective_given",
    "objective_name",
    "open_sinks",
    "parts",
    "plot_curves",
    "provenance",
    "read_info",
    "record_session",
    "require_extras",
    "require_seen",
    "require_types",
    "together",
    "typed_params",
    "with_objective",
    "with_values",
    "write_info",
]
