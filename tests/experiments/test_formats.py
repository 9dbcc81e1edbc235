"""Format numbers: every kind of folder has one, and a folder of a later version is refused by name."""

import json

import pytest
from conftest import run_command

import jaxrl
from jaxrl import decode, formats
from jaxrl.experiments import runs, spec_options, studies, tracking

FOLDERS = {
    **{name: (kind.mark, {"spec": {kind.field: []}}) for name, kind in studies.STUDIES.items()},
    "run": ("run.json", {"spec": {}}),
    "fit": ("fit.json", {}),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_of_a_later_version_is_refused_in_one_line_that_names_it(kind, tmp_path):
    """The number is looked at before anything else, which may differ in any way."""
    mark, content = FOLDERS[kind]
    later = {"format": formats.FORMAT + 1, "versions": {"jaxrl": "9.1"}, **content}
    (tmp_path / mark).write_text(json.dumps(later))
    assert studies.name_of(tmp_path) == (kind if kind in studies.STUDIES else "")
    line = (
        f"jaxrl: error: {tmp_path / mark} was edited, or written by another version of jaxrl (9.1): "
        f"its format is 2; jaxrl {jaxrl.__version__} reads format 1\n"
    )
    for command in ("report", "plot", "watch", *["resume"] * (kind != "fit")):
        assert run_command(command, tmp_path) == (2, line), command


def test_new_folders_have_the_number(tmp_path):
    """Those of studies: see `test_studies`; those of `jaxrl.fit`: see `test_fit`."""
    spec = spec_options.parse_spec("train", spec_options.train_options, ["ppo", "CartPole-v1"])[0]
    runs.create_folder(tmp_path / "run", spec, {}, ["jaxrl"])
    info = runs.read_info(tmp_path / "run")
    assert info.pop("format") == formats.FORMAT
    runs.write_info(tmp_path / "run", info)
    assert "format" not in runs.read_info(tmp_path / "run")  # as in earlier versions, which wrote none


def test_the_numbers_of_trials_are_read_typed(tmp_path):
    path = tmp_path / "group-2"
    path.mkdir()
    groups = [{"trials": [0, 2]}, {"trials": [1, 3]}]
    (tmp_path / "sweep.json").write_text(json.dumps({"trials": [[0.1]] * 4, "groups": groups}))
    assert tracking.trial_numbers(path, 2) == [1, 3]
    assert tracking.trial_numbers(tmp_path / "group-3", 2) == [4, 5]  # a batch after those that were planned
    for damaged, what in (("{", "not valid JSON"), ("{}", "sweep.json: groups is missing")):
        (tmp_path / "sweep.json").write_text(damaged)
        with pytest.raises(ValueError, match=what):
            tracking.trial_numbers(path, 2)
    assert decode.decode({"format": 3, "x": 1}, formats.Numbered, "x").format == 3
