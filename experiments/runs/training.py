"""What a command that trains does: from the state of a folder to a complete run, or to a stop in between."""

import contextlib
import dataclasses
import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl import checkpoint, files, hosts, loop, reporters, sources
from jaxrl.experiments import errors, folders, runs
from jaxrl.experiments.runs import artifacts, extend, planning, searches
from jaxrl.programs import compile_programs


class Kind(NamedTuple):
    """The functions that differ between kinds of runs.

    Attributes:
      build: `(spec) -> (spec, programs)`, the spec completed.
      announcement: `(spec, programs, path) -> text`, printed before the start.
      reporter: `(spec, programs) -> Reporter`.
      finish: `(path, spec, programs, state, how)`: saves and prints the result of a complete run.
    """

    build: Callable
    announcement: Callable
    reporter: Callable
    finish: Callable


def kind_of_training() -> Kind:
    """Training runs, including searches."""

    def build(spec):
        programs = runs.build(spec)
        hparams = spec.hparams.replace(total_updates=float(programs.agent_updates))
        return dataclasses.replace(spec, hparams=hparams), programs

    def reporter(spec, programs):
        title, algo = sources.shown(f"{spec.algorithm} {spec.environment}"), programs.algo
        sizes = (programs.num_updates, algo.steps_per_update, spec.agents)
        return reporters.choose(title, *sizes, warmup_steps=algo.warmup_steps)

    def finish(path, spec, programs, state, how):
        searches.keep_search(path, spec, programs, state)
        if hosts.leads():
            runs.draw_curves(path)
            print(runs.closing(path, how))

    return Kind(build, runs.announcement, reporter, finish)


@contextlib.contextmanager
def new_folder(out: Path | None, name: str, dry_run: bool = False) -> Iterator[Path]:
    """The folder of a new run, the same in all processes: `out`, or a reserved one in runs/."""
    if out:
        yield out
        return
    path = Path(hosts.by_leader(lambda: str((folders.free if dry_run else folders.reserve)(name))))
    try:
        yield path
    finally:
        if hosts.leads() and not dry_run:
            folders.release(path)


def dry_run(path: Path, spec, options: dict[str, Any]) -> int:
    """Performs all stages of a new run up to its first updates, and writes only the compilation cache."""
    begun = time.perf_counter()
    if options["compile_cache"]:
        runs.enable_compile_cache()
    runs.require_extras(options)
    programs = runs.build(spec)
    print(runs.announcement(spec, programs, path), "compiling ...", sep="\n", flush=True)
    compiled = compile_programs(programs)
    if compiled.evaluate:
        compiled.evaluate.result()
    print(f"compiled in {time.perf_counter() - begun:.1f} s, kept for the next start", flush=True)
    print(planning.in_a_process(spec, options["compile_cache"]))
    print("nothing trained, nothing written")
    return 0


def carry_on(
    path: Path,
    spec,
    options: dict[str, Any],
    command: list[str] | None = None,
    whole: Path | None = None,
    kind: Kind | None = None,
) -> int:
    """Continues a run from the state of its folder, and prints the outcome.

    Args:
      command: the command line of a new run, whose folder is created after all checks.
      whole: the sweep that contains the run, which is to be resumed instead.
      kind: of the run; by default a training run.
    """
    begun = time.perf_counter()
    hosts.require_same("the run", [str(path), spec.to_json()])
    options = {**runs.OPTIONS, **options}  # a study of an earlier version does not have all of them
    if options["compile_cache"]:
        runs.enable_compile_cache()
    runs.require_extras(options)
    kind = kind or kind_of_training()
    spec, programs = kind.build(spec)
    hosts.require_same("the data of the algorithm", programs.fingerprint)
    announcement = kind.announcement(spec, programs, path)  # traces: mismatches are reported here
    created = False
    try:
        if command:
            hosts.by_leader(lambda: runs.create_folder(path, spec, options, command))
            created = True
        with contextlib.ExitStack() as held:
            hosts.by_leader(lambda: folders.require_no_links(path, whole))
            hosts.by_leader(lambda: held.enter_context(folders.claim(path)))
            hosts.together(lambda: runs.require_seen(path))
            hosts.by_leader(lambda: runs.complete_folder(path, spec))
            print(announcement, flush=True)
            return _train(path, whole or path, spec, programs, options, begun, kind)
    except BrokenPipeError:  # the output was closed
        raise
    except KeyboardInterrupt as interrupt:  # before there is anything to save, or the second one
        hosts.report_failure(interrupt)
        if not (path / "run.json").exists():
            raise
        print(
            f"jaxrl: interrupted; continue with: jaxrl resume {files.quoted(whole or path)}", file=sys.stderr
        )
        return 130
    except OSError as error:
        if command and not created:
            raise
        remedy = f"correct that and continue with: jaxrl resume {files.quoted(whole or path)}"
        raise ValueError(f"{errors.in_one_line(error)}: {remedy}") from error
    except Exception:  # often in a file of the user, who will correct it and give the same command again
        if created and hosts.leads():
            folders.discard(path)
        raise


def _train(path: Path, whole: Path, spec, programs, options: dict[str, Any], begun: float, kind: Kind) -> int:
    at = None
    if hosts.by_leader(lambda: checkpoint.latest(path / "checkpoints")) is not None:
        at = loop.restore(programs, path, identity=extend.as_saved(programs.identity, path))
    if at and loop.is_complete(programs, at):
        kind.finish(path, spec, programs, at.state, "complete already")
        return 0
    if at:
        loop.warn_of_refill(programs)
    reporter = kind.reporter(spec, programs)
    sinks = []
    try:
        if not at:
            loop.report_refill(programs, reporter)
        reporter.status("compiling ...")
        compiled = compile_programs(programs, state_exists=at is not None)
        compile_seconds = time.perf_counter() - begun
        reporter.status(reporters.compiled(compile_seconds, compiled.memory))
        at = at or loop.start(programs, compiled)
        gc.freeze()
        gc.enable()
        if hosts.leads():
            sinks = runs.open_sinks(path, spec, at.num_updates, options)
        seconds = options["save_every_seconds"]
        write_policy = artifacts.writer(path, spec, programs)
        at, complete = loop.run(
            programs,
            path,
            compiled,
            at,
            reporter,
            sinks,
            seconds,
            saved=lambda at, row: write_policy(at.state, at.num_updates, row),
        )
    finally:
        reporter.close()
        for sink in sinks:
            sink.close()
    wall = time.perf_counter() - begun
    hosts.by_leader(lambda: runs.record_session(path, at.num_updates, compile_seconds, wall))
    if not complete:
        print(
            f"stopped and saved after {at.num_updates} of {programs.num_updates} updates; "
            f"continue with: jaxrl resume {files.quoted(whole)}"
        )
        return 130
    how = f"done in {wall:.1f} s ({compile_seconds:.1f} s of it compiling)"
    kind.finish(path, spec, programs, at.state, how)
    return 0
