"""Reports: the records, the content of the page, and errors for bad input in one line."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import run_command

from jaxrl.experiments import reference, runs, search
from jaxrl.experiments.report import compare, curves, data, figures, page, scales, trials
from jaxrl.experiments.report.schema import Source
from jaxrl.experiments.report.script import SCRIPT
from jaxrl.experiments.studies import sweep
from jaxrl.statistics import bootstrap_interval, iqm, signed_rank_p

SMALL = ["--config.num-envs", "4", "--config.num-epochs", "1", "--config.num-minibatches", "2"]
SMALL += ["--config.num-steps", "8", "--config.hidden-sizes", "8", "--env.max-steps", "50"]
SMALL += ["--steps", "128", "--intervals", "4", "--eval-episodes", "2"]


# --- synthetic records ----------------------------------------------------------------------------


def record(per_seed, first_seed=0, steps=1000, died=(), values=None, **others):
    """A trial's record as `data` makes it, with a curve that rises to the final returns."""
    finite = [x for i, x in enumerate(per_seed) if x is not None and first_seed + i not in died]
    points = [steps // 2, steps]
    return {
        "values": values or {},
        "first_seed": first_seed,
        "per_seed": list(per_seed),
        "score": float(iqm(finite)) if 2 * len(finite) > len(per_seed) else None,
        "died": {str(seed): 64 for seed in died},
        "steps": steps,
        "curve": {
            "timesteps": points,
            "iqm": [float(iqm(finite)) / 2, float(iqm(finite))] if finite else [None, None],
            "per_seed": [[None if x is None else x / 2, x] for x in per_seed],
        },
        **others,
    }


def source(results, confirms=(), words=(), environment="CartPole-v1", axes=(), **others):
    kind = "sweep" if len(results) > 1 else "run"
    command = ["jaxrl", "train" if kind == "run" else "sweep", "ppo", environment, *words]
    about = {"report": 1, "kind": kind, "name": kind, "command": command, "algorithm": "ppo"}
    about |= {"environment": environment, "env": {}, "objective": "ppo", "metric": "evaluation"}
    about |= {"axes": list(axes), "steps": 1000, "seed": 0, "seeds": len(results[0]["per_seed"]), **others}
    return Source(about, list(results), list(confirms))


def a_sweep(num_trials=32, seeds=8, seed=0, confirm=True):
    """The score depends on the learning rate; gamma and the objective have no effect."""
    generator = np.random.default_rng(seed)
    result = []
    for number in range(num_trials):
        rate, gamma = 10 ** generator.uniform(-4, -1), generator.choice([0.9, 0.95, 0.99])
        level = 400 - 100 * abs(np.log10(rate) + 2.5)
        values = {"--hp.learning-rate": repr(float(rate)), "--hp.gamma": str(gamma)}
        values["--objective"] = str(generator.choice(["ppo", "dpo"]))
        result.append(record(level + generator.normal(size=seeds) * 10, values=values, trial=number))
    result.sort(key=lambda one: -one["score"])
    again = record(np.array(result[0]["per_seed"]) - 20, first_seed=seeds, values=result[0]["values"])
    again["confirms"] = result[0]["trial"]
    axes = ["--hp.learning-rate", "--hp.gamma", "--objective"]
    return source(result, [again] if confirm else [], axes=axes, search="random")


AXES = ["--hp.learning-rate", "--hp.gamma"]


def asha(**others):
    """Three rungs: of nine trials, three continue, and one to the end."""
    result = [
        record(np.full(4, 10.0 * steps + number), steps=steps, values=at(number), trial=number, curve=None)
        for steps, numbers in ((1000, [8]), (100, [6, 7]), (10, range(6)))
        for number in numbers
    ]
    again = record(np.full(8, 9000.0), first_seed=4, values=result[0]["values"], confirms=8)
    others = {"search": "asha", "slots": 3, "spent": 9000, "log_axes": AXES[:1], **others}
    return source(result, [again], axes=AXES, **others)


def at(number):
    return dict(zip(AXES, (repr(10.0 ** -(1 + number % 4)), repr(0.9 + number / 100))))


def pbt(num_populations=3, confirm=True, members=12):
    """Populations whose winners went from a learning rate of 0.1 to 1e-4 in four generations."""
    path = dict(zip(AXES, ([0.1, 0.01, 0.01, 1e-4], [0.9, 0.9, 0.9, 0.9])))
    values = {axis: repr(levels[-1]) for axis, levels in path.items()}
    result = [
        record([500.0 - seed], seed, values=values, trial=seed, path=path, curve=None)
        | {"ancestry": [2, seed, 0, 0]}
        for seed in range(num_populations)
    ]
    fresh = [497.0 - seed for seed in range(num_populations)]
    again = record(fresh, confirms="members", episodes=128, curve=None)
    others = {"search": "pbt", "slots": members, "spent": 36000, "log_axes": AXES[:1]}
    swept = source(result, [again] if confirm else [], axes=AXES, **others)
    swept.about.update(kind="sweep", seeds=num_populations)
    return swept


def cmaes(confirm=True, num_generations=3):
    """Six candidates per generation, whose scores approach 300."""
    result = [
        record(np.full(4, 100.0 * g + c), trial=6 * g + c, generation=g, values=at(g + c), curve=None)
        for g in range(num_generations)
        for c in range(6)
    ]
    result.sort(key=lambda one: -one["score"])
    mean = record(np.full(8, 290.0), first_seed=4, values=at(2), confirms=None)
    others = {"search": "cmaes", "slots": 6, "spent": 72000, "log_axes": AXES[:1]}
    return source(result, [mean] if confirm else [], axes=AXES, **others)


def optuna():
    levels = [3, 9, 5, 2, 7, 12, 11, 1, 10]
    result = [
        record(np.full(4, float(x)), trial=i, batch=1 + i // 3, values=at(i)) for i, x in enumerate(levels)
    ]
    result.sort(key=lambda one: -one["score"])
    return source(result, axes=AXES, search="optuna", log_axes=AXES[:1])


def unscored(swept):
    """The same search, in which no episode ever ended."""
    lost = [one | {"per_seed": [None] * len(one["per_seed"]), "score": None} for one in swept.trials]
    return Source(swept.about, lost, [])


def html_of(*sources, **ranges):
    return page.build(list(sources), ranges)[0]


def sentence_of(*sources):
    return page.build(list(sources), {})[1]


def without_script(html):
    """The page without its own script, which is the only one that it may have."""
    own = f"<script>{SCRIPT}</script>"
    assert html.count(own) == 1
    return html.replace(own, "")


def text_of(html):
    """The visible text of a page."""
    body = without_script(html).partition("</head>")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


class Checker(HTMLParser):
    """Fails for tags that are not balanced."""

    VOID = ("meta",)

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> where {self.open[-3:]} are open"
        self.open.pop()


def well_formed(html):
    """Parses a page; nothing in it is loaded from elsewhere."""
    checker = Checker()
    checker.feed(without_script(html))
    checker.close()
    assert not checker.open
    assert html.startswith("<!DOCTYPE html>")
    for tag, attrs in checker.seen:
        assert tag not in ("script", "link", "iframe", "img", "object", "embed"), tag
        assert not {"src", "href", "xlink:href", "style", "onload"} & set(attrs), (tag, attrs)
        assert "nan" not in " ".join(map(str, attrs.values())).replace("nance", ""), (tag, attrs)
    assert "http" not in html and "@import" not in html and "url(" not in html
    return checker


ODD = {
    "a run": [source([record([1.0, 2.0, 3.0, 4.0])])],
    "one seed": [source([record([1.0])])],
    "two seeds, one diverged": [source([record([1.0, 2.0], died=[1])])],
    "no returns": [source([record([None, None])])],
    "no returns in several": [source([record([None])]), source([record([None])], words=["--hp.gamma", "1"])],
    "no curve": [source([record([1.0, 2.0]) | {"curve": None}])],
    "a constant": [source([record([5.0] * 4)]), source([record([5.0] * 4)], words=["--hp.gamma", "1"])],
    "a sweep": [a_sweep()],
    "a sweep without fresh seeds": [a_sweep(confirm=False)],
    "two trials of one seed": [a_sweep(2, seeds=1)],
    "trials without values": [source([record([2.0, 1.0], trial=0), record([1.0, 1.0], trial=1)])],
    "a sweep without any score": [
        source(
            [record([None, None], values={"--hp.gamma": g}, trial=i) for i, g in enumerate("01")],
            axes=["--hp.gamma"],
        )
    ],
    "a sweep, a run and another environment": [
        a_sweep(),
        source([record([1.0, 2.0, 3.0])]),
        source([record([7.0, 8.0])], environment="Acrobot-v1"),
    ],
    "nine methods": [
        source([record(np.arange(4.0) + i)], words=["--hp.gamma", f"0.{i}"], environment=name)
        for i in range(9)
        for name in ("A", "B")
    ],
    "the same command thrice": [source([record([1.0, 2.0])])] * 3,
    "no environment in common": [
        source([record([1.0, 2.0])], environment="A"),
        source([record([1.0, 2.0])], environment="B", words=["--hp.gamma", "1"]),
    ],
    "successive halving": [asha()],
    "populations": [pbt()],
    "a population alone": [pbt(1)],
    "a population beside a run": [pbt(1), source([record([1.0, 2.0])])],
    "more populations than colours": [pbt(10)],
    "populations that were not evaluated again": [pbt(confirm=False)],
    "an evolution strategy": [cmaes()],
    "one generation": [cmaes(num_generations=1)],
    "an evolution strategy without its mean": [cmaes(confirm=False)],
    "batches": [optuna()],
    "searches": [asha(), pbt(), cmaes(), optuna()],
    "searches without any score": [unscored(asha()), unscored(pbt()), unscored(cmaes()), unscored(optuna())],
    **{f"{made.__name__} without any score": [unscored(made())] for made in (asha, pbt, cmaes, optuna)},
    "axes of words and huge numbers": [
        source(
            [
                record([x, x + 1.0], trial=i, values={"--config.hidden-sizes": size, "--hp.x": "1e30"})
                for i, (x, size) in enumerate([(1e9, "64x64"), (-1e9, "8"), (1e-9, "16x16")] * 3)
            ],
            axes=["--config.hidden-sizes", "--hp.x"],
        )
    ],
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("error")
def test_odd_records_make_a_page(name, tmp_path):
    html = html_of(*ODD[name])
    well_formed(html)
    assert html == html_of(*ODD[name])
    assert "nan" not in text_of(html)
    data.write(tmp_path / "data.jsonl", ODD[name])
    assert html_of(*data.read([tmp_path / "data.jsonl"])) == html


def test_everything_is_escaped():
    bad = "<script>alert('&')</script>"
    one = record([1.0, 2.0], trial=0, values={f"--hp.{bad}": bad})
    two = record([0.0, 1.0], trial=1, values={f"--hp.{bad}": "2"})
    about = {"name": bad, "objective": bad, "device": {"kind": bad}, "versions": {"jax": bad}}
    about |= {"git_commit": bad, "search": bad, "metric": bad}
    swept = source([one, two], words=[bad], environment=bad, axes=[f"--hp.{bad}"], **about)
    for sources in ([swept], [swept, source([record([1.0, 3.0])], environment=bad, **about)]):
        html = html_of(*sources)
        well_formed(html)
        assert "<script" not in without_script(html) and "&lt;script&gt;" in html


def test_a_page_of_many_trials_is_small():
    html = html_of(a_sweep(256))
    assert len(html) < 5e6
    assert html.count('class="path') == 256  # all of them are in the parallel coordinates


# --- sentences ------------------------------------------------------------------------------------


def test_a_run_is_its_iqm_over_seeds():
    values = [1.0, 5.0, 6.0, 7.0, 100.0]
    low, high = bootstrap_interval(values, iqm)
    assert sentence_of(source([record(values)])) == (
        f"IQM 6 (95 % {scales.number(low)} to {scales.number(high)}) over 5 seeds after 1,000 steps."
    )
    assert "It is not finished: 500 of 1,000 steps." in text_of(html_of(source([record(values, steps=500)])))
    assert "not finished" not in text_of(html_of(source([record(values)])))


def test_the_best_trial_is_reported_by_its_fresh_seeds():
    result = [
        record([500.0] * 4, trial=7, values={"--hp.learning-rate": "0.0031622776601683794"}),
        record([400.0] * 4, trial=2, values={"--hp.learning-rate": "0.01"}),
    ]
    again = record([497.0] * 8, first_seed=4, values=result[0]["values"], confirms=7)
    swept = source(result, [again], axes=["--hp.learning-rate"])
    assert sentence_of(swept) == (
        "Best: learning rate 0.003162 – IQM 497 (95 % 497 to 497) over 8 fresh seeds; "
        "selected with a score of 500, so 3 less."
    )
    assert trials.winners_curse(swept) == (3, 3, 3)
    text = text_of(html_of(swept))
    assert "as the best of 2 trials it scored 3 (95 % 3 to 3) more than with fresh seeds" in text
    better = record([503.0] * 8, first_seed=4, values=result[0]["values"], confirms=7)
    assert "so 3 more." in sentence_of(source(result, [better], axes=["--hp.learning-rate"]))
    alone = sentence_of(source(result, axes=["--hp.learning-rate"]))
    assert "over the 4 seeds that selected it" in alone and "is biased upwards" in alone


def test_indistinguishable_trials_are_counted():
    best = np.array([10.0, 12.0, 14.0, 16.0])
    result = [best, best - 1, best[::-1] - 0.1, best - 9]
    swept = source([record(x, trial=i) for i, x in enumerate(result)])
    losses = trials.behind(swept)
    assert losses[0] is None
    np.testing.assert_allclose(losses[1], 1)  # seed by seed: clearly behind, though the intervals overlap
    assert losses[2].low < 0 < losses[2].high
    text = text_of(html_of(swept))
    assert (
        "1 of the other 3 trials did not differ significantly from the first with their 4 seeds, which are "
        "few." in text
    )


def test_agents_that_diverged_are_listed_and_count_as_the_worst():
    swept = source([record([1.0, 2.0, 3.0], trial=4), record([9.0, 9.0, 2.0], died=[0, 1], trial=5)])
    assert compare.seeds_of(compare.scored(swept).trials[1]) == {0: 1.0, 1: 1.0, 2: 2.0}
    text = text_of(html_of(swept))
    assert "2 agents diverged" in text and "5 0 (by step 64) and 1 (by step 64)" in text
    assert "Diverged agents" not in text_of(html_of(source([record([1.0, 2.0])])))


def test_important_hyperparameters_are_identified():
    swept = a_sweep(64)
    first, *others = trials.importance(swept)
    assert first.axis == "--hp.learning-rate" and first.share.value > 0.6
    assert {one.axis for one in others} == {"--hp.gamma", "--objective"}
    assert all(one.share.low == 0 for one in others)
    (words,) = [one for one in others if one.axis == "--objective"]
    assert np.isnan(words.correlation.value)  # words have no order
    assert re.search(r"Learning rate explains \d+ % of the variance", text_of(html_of(swept)))
    noise = np.mean([np.var(one["per_seed"], ddof=1) / 8 for one in swept.trials])
    scores = [one["score"] for one in swept.trials]
    assert trials.noise_share(swept) == pytest.approx(noise / np.var(scores))


def test_trials_that_diverged_count_as_the_worst_and_early_ones_not_at_all():
    swept = a_sweep(24)
    diverged = record([None] * 8, trial=99, values=swept.trials[0]["values"])
    early = record([0.0] * 8, trial=98, steps=100, values=swept.trials[0]["values"])
    more = compare.scored(swept._replace(trials=[*swept.trials, early, diverged]))
    assert len(trials.comparable(more)) == 25
    scores = trials.filled_scores(trials.comparable(more))
    assert scores[-1] == 0 < min(scores[:-1])  # the worst of all agents, also of those of other lengths
    assert "over 25 trials" in text_of(html_of(more))


def test_too_few_trials_give_no_importance():
    text = text_of(html_of(a_sweep(7)))
    assert "The importance of axes is unknown" in text and "explains" not in text


# --- searches --------------------------------------------------------------------------------------


def circles(html, name):
    """The dots of a figure: their classes, positions, and tooltips."""
    (drawn,) = re.findall(f'<svg[^>]*aria-label="{name}">.*?</svg>', html)
    results = re.findall(r'<circle class="([^"]*)" cx="([^"]*)" cy="([^"]*)"[^>]*><title>([^<]*)', drawn)
    return [(style, float(x), float(y), words) for style, x, y, words in results]


def points(html, name, style):
    """The points of the lines of a figure with a given class."""
    (drawn,) = re.findall(f'<svg[^>]*aria-label="{name}">.*?</svg>', html)
    lines = re.findall(f'<polyline class="{style}" points="([^"]*)"', drawn)
    return [np.array([pair.split(",") for pair in line.split()], float) for line in lines]


def test_populations_are_reported_by_their_winners():
    low, high = bootstrap_interval([497.0, 496.0, 495.0], iqm)
    assert sentence_of(pbt()) == (
        f"The winners of 3 populations of 12 members: IQM 496 (95 % {scales.number(low)} to "
        f"{scales.number(high)}) in 128 fresh episodes each; chosen by training returns of 499."
    )
    assert sentence_of(pbt(1)) == (
        "The winner of 1 population of 12 members: IQM 497 in 128 fresh episodes; "
        "chosen by training returns of 500."
    )
    assert "which are biased upwards" in sentence_of(pbt(confirm=False))
    html = html_of(pbt())
    text = text_of(html)
    for words in ("behind the first", "What matters", "Share of variance", "Seed by seed", "explains"):
        assert words not in text
    assert 'class="path' not in html
    assert "0 500 497 1e−4 0.9 1 of 3" in text and "1 499 496 1e−4 0.9 2 of 3" in text
    assert "The search took 36,000 steps in total." in text


def test_schedules_are_steps_on_the_axis_that_was_searched():
    (line,) = points(html_of(pbt(1)), "schedules of the learning rate", "line c0")
    assert len(line) == 8  # four generations, the two ends of each
    np.testing.assert_allclose(np.diff(line[::2, 0]), np.diff(line[::2, 0])[0], atol=0.11)
    rates = line[::2, 1]
    np.testing.assert_allclose(line[1::2, 1], rates)
    # 0.1, 0.01, 0.01, 1e-4 and downwards, a decade always as far
    np.testing.assert_allclose(np.diff(rates), (rates[1] - rates[0]) * np.array([1, 0, 2]), atol=0.11)
    many = html_of(pbt(10))
    assert len(points(many, "schedules of the gamma", "thin trials")) == 2
    assert len(points(many, "schedules of the gamma", r"line [\w ]*")) == 8
    assert "</svg>other populations" in many and "</svg>other populations" not in html_of(pbt())


def test_halving_reports_the_trials_trained_to_the_end():
    swept = asha()
    text = text_of(html_of(swept))
    assert (
        "1 of 9 trials were trained to the end; the search took 9,000 steps in total, 25 % of training every "
        "trial to the end." in text
    )
    assert "1 of 9 trials were trained to the end." in text_of(html_of(asha(spent=None)))
    assert trials.behind(swept) == [None] * 9 and "behind the first" not in text
    assert "it takes at least 8 trials of one length" in text
    html = html_of(swept)
    assert 'class="path' not in html  # only one trial was trained to the end
    dots = circles(html, "IQM where it ended over steps trained")
    assert len(dots) == 9
    (best,) = [one for one in dots if "best" in one[0]]
    assert "trial 8: 1.001e4" in best[3] or "trial 8: 10,008" in best[3]
    assert best[1] == max(one[1] for one in dots) and best[2] == min(one[2] for one in dots)
    for axis in ("learning rate", "gamma"):
        far = circles(html, f"steps trained against {axis}")
        assert len(far) == 9 and sorted(y for *_, y, _ in far).count(min(y for *_, y, _ in far)) == 1


def test_halving_compares_trials_of_one_length():
    swept = asha()
    swept.trials[1]["steps"] = 1000
    losses = trials.behind(swept)
    assert losses[1].value == 10008 - 1006 and losses[2:] == [None] * 7
    swept.trials[1]["per_seed"] = [10008.0 - x for x in (-1, 1, -1, 1)]
    text = text_of(html_of(swept))
    assert "1 of the other 1 trials trained to the end did not differ significantly" in text


def test_an_evolution_strategy_is_reported_by_its_mean():
    swept = cmaes()
    assert sentence_of(swept) == (
        "Mean after 3 generations of 6 candidates: learning rate 0.001, gamma 0.92 – IQM 290 "
        "(95 % 290 to 290) over 8 fresh seeds."
    )
    assert trials.winners_curse(swept) is None and trials.importance(swept) == []
    assert set(trials.behind(swept)) == {None}
    html = html_of(swept)
    text = text_of(html)
    assert "Best single candidate: trial 17, of generation 3, with 205" in text
    assert "an evolution strategy draws its candidates around its mean" in text and "curse" not in text
    assert "mean, fresh" in text and "None" not in text
    for name in ("IQM", "learning rate", "gamma"):
        dots = circles(html, f"{name} over generation")
        assert len(dots) == 19 and dots[-1][0] == "dot best" and "mean, fresh" in dots[-1][3]
        ((*_, last),) = [line.tolist() for line in points(html, f"{name} over generation", "line c5")]
        assert last[0] < dots[-1][1]
    (line,) = points(html, "IQM over generation", "line c5")
    assert len(line) == 3
    np.testing.assert_allclose(np.diff(line[:, 1]), np.diff(line[:, 1])[0], atol=0.11)  # 2.5, 102.5, 202.5
    alone = html_of(cmaes(confirm=False))
    assert "It was not trained again with fresh seeds" in text_of(alone)
    assert len(circles(alone, "IQM over generation")) == 18


def test_batches_come_in_order():
    html = html_of(optuna())
    assert "The best trial comes from batch 2 of 3." in text_of(html)
    dots = circles(html, "IQM over trial")
    places = {words.partition(":")[0]: x for _, x, _, words in dots}
    order = [f"trial {number}" for number in range(9)]
    assert sorted(places, key=places.get) == order
    (line,) = points(html, "IQM over trial", "line c0")
    assert (np.diff(line[:, 1]) <= 0).all()  # upwards on the page
    assert len(set(line[:, 1])) == 3  # 3, 9 and 12 were the best so far
    assert line[:, 1].min() == min(y for _, _, y, _ in dots)
    (drawn,) = re.findall('<svg[^>]*aria-label="IQM over trial">.*?</svg>', html)
    upright = [x for x, end in re.findall(r'class="grid" x1="([^"]*)"[^>]*x2="([^"]*)"', drawn) if x == end]
    assert len(upright) == 2  # between three batches


def test_methods_show_how_they_were_searched():
    words = ["--hp.learning-rate", "log:1e-4:1e-1", "--search", "asha", "--eta", "4", "--trials", "9"]
    words += ["--slots=3", "--rungs", "2", "--decisions", "3", "--generations", "2", "--config.x", "1"]
    named = []
    for swept in (asha(), pbt(), pbt(1), cmaes(), optuna(), a_sweep(4)):
        swept.about["command"][4:] = words
        named.append(compare.method(swept).removeprefix("ppo --config.x 1 "))
    assert named == [
        "(asha, 9 trials)",
        "(pbt, 3 populations of 12 members)",
        "(pbt, 1 population of 12 members)",
        "(cmaes, 3 generations of 6 candidates)",
        "(optuna, 9 trials)",
        "(best of 4 trials)",
    ]
    (entry,) = compare.entries([pbt()])
    assert entry.returns == {0: 497.0, 1: 496.0, 2: 495.0} and not entry.chosen


# --- several methods ------------------------------------------------------------------------------


def test_a_method_is_named_by_its_arguments():
    def named(*words, **others):
        return compare.method(source([record([1.0])], words=words, **others))

    assert (
        named() == named("--seeds", "8", "--out=runs/x", "--no-compile-cache", "--env.length", "1") == "ppo"
    )
    assert named("--seed", "1", "--hp.gamma", "0.9", "--steps", "10") == "ppo --hp.gamma 0.9"
    assert named("--hp.gamma=0.9") == "ppo --hp.gamma 0.9"
    swept = a_sweep(12)
    swept.about["command"][4:] = ["--hp.learning-rate", "log:1e-4:1e-1", "--trials", "12", "--config.x", "1"]
    assert compare.method(swept) == "ppo --config.x 1 (best of 12 trials)"
    assert compare.environment(source([record([1.0])], env={"length": 0.7})) == "CartPole-v1 (length 0.7)"


def two_methods(shift, first_seed=0, environments=("CartPole-v1", "Acrobot-v1"), seeds=8):
    generator = np.random.default_rng(0)
    made = []
    for name in environments:
        values = 100 + 10 * generator.normal(size=seeds)
        better = values + shift + np.resize([1.0, -1.0], seeds) * np.linspace(1, 2, seeds)
        made.append(source([record(values)], environment=name))
        made.append(source([record(better, first_seed)], environment=name, words=["--hp.gamma", "1"]))
    return made


def test_a_better_method_is_distinguished():
    result = compare.entries(two_methods(30.0))
    (pair,) = compare.pairs(result, compare.ranges(result, {}))
    assert (pair.first, pair.second) == ("ppo --hp.gamma 1", "ppo")
    assert pair.paired and pair.significant and pair.probability.value > 0.9
    assert pair.p == signed_rank_p(np.arange(1, 17)) == 2 / 2**16  # all 16 pairs on one side
    text = sentence_of(*two_methods(30.0))
    assert text.startswith("Best in 2 environments: ppo --hp.gamma 1 – normalised IQM")
    assert text.endswith("; better than ppo.")


def test_similar_methods_are_not_distinguished():
    text = sentence_of(*two_methods(0.0))
    assert "not significantly different from" in text and "better than" not in text


def test_different_seeds_are_not_paired():
    sources = two_methods(30.0, first_seed=4)
    result = compare.entries(sources)
    (pair,) = compare.pairs(result, compare.ranges(result, {}))
    assert not pair.paired and pair.significant
    assert "2 × 8, not paired" in text_of(html_of(*sources))
    assert "2 × 8, paired" in text_of(html_of(*two_methods(30.0)))


def test_an_agent_that_diverged_is_the_worst_of_its_pair():
    x, y = record([1.0, 2.0, 3.0, 4.0]), record([5.0, 5.0, 5.0, 9.0], died=[3])
    result = compare.entries([source([x]), source([y], words=["--hp.gamma", "1"])])
    (pair,) = compare.pairs(result, {"CartPole-v1": (0.0, 1.0)})
    assert pair.paired and pair.seeds == 4 and pair.difference.value == 5 - 2.5  # of 5, 5, 5 and 1


def test_too_few_seeds_for_significance_are_reported():
    text = text_of(html_of(*two_methods(100.0, environments="A", seeds=4)))
    assert "With so few seeds p can be no less than 0.125" in text
    assert "With so few seeds" not in text_of(html_of(*two_methods(100.0, seeds=8)))


def test_more_comparisons_need_more():
    made = two_methods(6.0, environments="A")
    (alone,) = compare.pairs(compare.entries(made), {"A": (0.0, 1.0)})
    extra = source(
        [record(100 + 10 * np.random.default_rng(5).normal(size=8))], environment="A", words=["--x"]
    )
    among = compare.pairs(compare.entries([*made, extra]), {"A": (0.0, 1.0)})
    (same,) = [pair for pair in among if {pair.first, pair.second} == {alone.first, alone.second}]
    assert same.p == pytest.approx(min(1, 3 * alone.p)) and len(among) == 3


def test_returns_are_normalised_by_references_or_given_ranges():
    sources = [
        source([record([0.0, 10.0])], environment="A"),
        source([record([23.184, 500.0])], environment="CartPole-v1"),
    ]
    result = compare.entries(sources)
    known = reference.ranges()["CartPole-v1"]
    assert compare.ranges(result, {}) == {"CartPole-v1": known}
    given = compare.ranges(result, {"A": (0.0, 20.0)})
    np.testing.assert_allclose(compare.normalised(result[0], given), [0, 0.5])
    np.testing.assert_allclose(compare.normalised(result[1], given), [0, 1], atol=1e-3)
    text = text_of(html_of(*sources))
    assert "CartPole-v1 23.18 to 500" in text and "excluded from aggregates: A." in text
    assert "A 0 to 20; CartPole-v1 23.18 to 500" in text_of(html_of(*sources, A=(0.0, 20.0)))
    with pytest.raises(ValueError, match="only A, CartPole-v1"):
        compare.ranges(result, {"C": (0.0, 1.0)})


def test_a_sweep_is_represented_by_its_fresh_seeds():
    swept = a_sweep(12)
    (entry,) = compare.entries([swept])
    assert set(entry.returns) == set(range(8, 16)) and not entry.chosen
    (entry,) = compare.entries([a_sweep(12, confirm=False)])
    assert set(entry.returns) == set(range(8)) and entry.chosen
    other = source([record([1.0, 2.0])])
    assert "8* 1,000" in text_of(html_of(a_sweep(12, confirm=False), other))
    assert "These seeds selected" not in text_of(html_of(swept, other))


def test_incomparable_runs_are_reported():
    sources = [
        source([record([1.0, 2.0])]),
        source([record([1.0, 2.0], steps=10)], words=["--hp.gamma", "1"]),
    ]
    assert "different numbers of steps" in text_of(html_of(*sources))
    sources[1].about["metric"] = "training"
    assert "evaluation and training returns are mixed" in text_of(html_of(*sources))


# --- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0, 500, False, [0, 100, 200, 300, 400, 500]),
        (-0.3, 1.1, False, [0, 0.5, 1]),
        (0.91, 0.99, False, [0.92, 0.94, 0.96, 0.98]),
        (1e-4, 1e-1, True, [1e-4, 1e-3, 1e-2, 1e-1]),
        (0.02, 0.7, True, [0.02, 0.05, 0.1, 0.2, 0.5]),
        (1e-9, 1e6, True, [1e-9, 1e-5, 1e-1, 1e3]),
    ],
)
def test_ticks_are_round_and_few(low, high, log, ticks):
    scale = scales.Scale(low, high, 0, 100, log)
    np.testing.assert_allclose(scale.ticks(), ticks, rtol=1e-9)
    assert scale(low) == 0 and scale(high) == 100


def test_values_over_decades_lie_on_a_logarithmic_axis():
    values = [repr(float(10.0**power)) for power in np.linspace(-4, -1, 10)]
    places, ticks = scales.positions(values, 0, 100)
    np.testing.assert_allclose(np.diff(places), np.diff(places)[0], atol=0.11)
    assert [words for _, words in ticks] == ["1e−4", "0.001", "0.01", "0.1"]
    eight = [0.9048, 0.9165, 0.9323, 0.9444, 0.9586, 0.9704, 0.9801, 0.9922]
    assert len(scales.positions(eight, 52, 316)[1]) < 8  # as labels in equal steps they would overlap
    assert len(scales.positions(eight, 200, 26)[1]) == 8  # not one below the other
    places, ticks = scales.positions(["0.99", "0.9", "0.95", "0.9"], 0, 90)  # few values: equal steps
    assert places == [75, 15, 45, 15] and ticks == [(15, "0.9"), (45, "0.95"), (75, "0.99")]
    places, ticks = scales.positions(["b", "a"], 0, 100)
    assert places == [75, 25] and ticks == [(25, "a"), (75, "b")]


def test_a_better_trial_is_drawn_darker():
    dots = [figures.Dot((str(i), str(-i)), float(i), f"trial {i}") for i in range(16)]
    dots[3] = dots[3]._replace(score=None)
    drawn = figures.parallel(["a", "b"], dots, "IQM")
    shades = dict(re.findall(r'class="path (\w+)" points="[^"]*"><title>(trial \d+)', drawn))
    by_trial = {
        trial: shade for shade, trial in re.findall(r'class="path (\w+)"[^>]*><title>(trial \d+)', drawn)
    }
    assert len(by_trial) == 16 and shades
    assert by_trial["trial 15"] == "q7" and by_trial["trial 0"] == "q0" and by_trial["trial 3"] == "lost"


def test_a_slice_has_a_dot_for_each_trial_and_a_bar_for_each_bin():
    dots = [figures.Dot((str(i),), float(i), f"trial {i}", "best" * (i == 9)) for i in range(10)]
    dots[4] = dots[4]._replace(score=None)
    drawn = figures.slice_plot("a", dots, 0, [([0, 1, 2], 1.0), ([3, 5], 4.0)], "IQM")
    assert (
        drawn.count("<circle") == 9 and drawn.count('class="dead"') == 1 and drawn.count('class="mean"') == 2
    )
    assert drawn.rindex("trial 9") > drawn.rindex("trial 8")  # the best is on top


def test_the_curve_is_the_iqm_and_its_band():
    returns = np.random.default_rng(0).normal(size=(8, 2))
    one = record(returns[:, 1])
    one["curve"]["per_seed"] = returns.tolist()
    line = curves.curve_line(one, "a", "c0", thin=True)
    np.testing.assert_allclose(line.y, iqm(returns))
    np.testing.assert_allclose([line.low, line.high], bootstrap_interval(returns, iqm))
    assert len(line.thin) == 8


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (500.0, "500"), (-0.25, "−0.25"), (3.1622e-5, "3.162e−5"), (1e-4, "1e−4"), (12345, "12,345"),
     (1e30, "1e30"), (float("nan"), "–"), (None, "–"), (0.002263053, "0.002263")],
)  # fmt: skip
def test_numbers_are_formatted(value, text):
    assert scales.number(value) == text


# --- folders --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A sweep with a trial that diverges, and a run."""
    folder = tmp_path_factory.mktemp("trained")
    start = ["ppo", "CartPole-v1", *SMALL, "--seeds", 2]
    axes = ["--hp.learning-rate", "1e-3,1e-2,1e30", "--confirm-seeds", 3]
    for words in (
        ["sweep", *start, *axes, "--out", folder / "sweep"],
        ["train", *start, "--out", folder / "run"],
    ):
        status, output = run_command(*words)
        assert status == 0, output
    return folder


@pytest.mark.slow
def test_a_sweep_is_read_from_its_folder(trained):
    (swept,) = data.read([trained / "sweep"])
    lines = [json.loads(line) for line in (trained / "sweep" / "results.jsonl").read_text().splitlines()]
    assert [one["trial"] for one in swept.trials] == [one["trial"] for one in lines[:-1]]
    assert [one["per_seed"] for one in swept.trials] == [one["per_seed"] for one in lines[:-1]]
    assert swept.about["search"] == "grid" and swept.about["axes"] == ["--hp.learning-rate"]
    rows = [json.loads(x) for x in (trained / "sweep" / "group-1" / "metrics.jsonl").read_text().splitlines()]
    for one in swept.trials:  # its lanes are those of its number
        lanes = slice(2 * one["trial"], 2 * one["trial"] + 2)
        expected = np.array([row["evaluation/return"][lanes] for row in rows], np.float64).T
        np.testing.assert_allclose(np.array(one["curve"]["per_seed"], np.float64), expected, rtol=1e-4)
        assert one["curve"]["timesteps"] == [row["timesteps"] for row in rows]
    (again,) = swept.confirms
    assert again["first_seed"] == 2 and len(again["per_seed"]) == 3
    assert again["values"] == swept.trials[0]["values"]
    assert trials.score(swept.trials[0])[1:] == tuple(swept.trials[0]["interval"])


def test_data_makes_the_same_page(trained, tmp_path):
    paths = [trained / "sweep", trained / "run"]
    status, output = run_command(
        "report", *paths, "--out", tmp_path / "a.html", "--data", tmp_path / "x" / "a.jsonl"
    )
    assert status == 0 and output.endswith("a.html\n") and output.startswith("Best in CartPole-v1")
    assert run_command("report", tmp_path / "x" / "a.jsonl", "--data", tmp_path / "b.jsonl")[0] == 0
    html = (tmp_path / "a.html").read_text()
    assert (tmp_path / "x" / "a.html").read_text() == html
    well_formed(html)
    written = (tmp_path / "x" / "a.jsonl").read_text()
    assert (tmp_path / "b.jsonl").read_text() == written
    assert str(trained) not in written and str(trained) not in html and str(Path.home()) not in written
    assert "--out sweep" in text_of(html)
    text = text_of(html)
    assert "(max_steps 50)" in text and "Diverged agents" in text and "1e30" in text


def test_the_page_is_written_to_the_first_folder(trained):
    for name in ("run", "sweep"):
        status, output = run_command("report", trained / name)
        assert status == 0 and output.splitlines()[-1] == str(trained / name / "report.html")
        well_formed((trained / name / "report.html").read_text())


def test_a_group_of_a_sweep_is_a_run_of_several_trials(trained):
    (group,) = data.read([trained / "sweep" / "group-1"])
    (swept,) = data.read([trained / "sweep"])
    assert [one["per_seed"] for one in group.trials] == [one["per_seed"] for one in swept.trials]
    assert group.about["axes"] == ["--hp.learning-rate"] and not group.confirms


def test_further_keys_are_tolerated(trained, tmp_path):
    """A search that stops trials early reports their steps, and may have no fixed lanes."""
    swept = tmp_path / "sweep"
    swept.mkdir()
    for name in ("sweep.json", "results.jsonl"):
        (swept / name).write_text((trained / "sweep" / name).read_text())
    lines = [json.loads(line) for line in (swept / "results.jsonl").read_text().splitlines()][:-1]
    lines[1] |= {"steps": 32, "rung": 0, "parent": 4, "score": None, "interval": None}
    (swept / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (results,) = data.read([swept])
    assert (
        results.trials[1]["steps"] == 32
        and results.trials[1]["rung"] == 0
        and "curve" not in results.trials[0]
    )
    well_formed(html_of(results))


def searched_folder(path, trained, swept):
    """The folder of a search on the device, written without training."""
    spec = runs.from_json(runs.read_info(trained / "run")["spec"])
    kind, steps = swept.about["search"], {"steps": swept.about["spent"]}
    axes = [sweep.axis(AXES[0], "log:1e-4:1e-1"), sweep.axis(AXES[1], "0.9:1")]
    given = {"rungs": 2, "decisions": 3, "generations": 3}
    known = search.SEARCHES[kind].options
    options = sweep.options_of(kind, {name: x for name, x in given.items() if name in known})
    shares = np.full((swept.about["slots"], len(axes)), 0.5)
    group = sweep.searched(kind, axes, shares, spec, options)
    words = ["jaxrl", "sweep", "ppo", "CartPole-v1", "--out", str(path)]
    kept = {"confirm_seeds": 8, "batches": 1}
    sweep.create_folder(path, axes, kind, [], [group], kept, words)
    length = spec.hparams.total_updates
    own = dataclasses.replace(group.spec, hparams=group.spec.hparams.replace(total_updates=length))
    for name, own_spec in [("group-1", own), ("confirm", spec)][: 1 if kind == "pbt" else 2]:
        (path / name).mkdir()
        info = json.dumps({"spec": own_spec.to_json(), "sessions": [{"wall_seconds": 1.5}], "options": {}})
        (path / name / "run.json").write_text(info)
        (path / name / "metrics.jsonl").write_text((trained / "run" / "metrics.jsonl").read_text())
    recommended = None if kind == "pbt" else {"learning_rate": 0.003, "gamma": 0.97}
    record_of_search = steps | {"recommended": recommended, "trials": []}
    (path / "group-1" / "search.json").write_text(json.dumps(record_of_search))
    left_out = ("first_seed", "curve")
    lines = [{key: x for key, x in one.items() if key not in left_out} | {"group": 1} for one in swept.trials]
    left_out += ("values", "steps")
    lines += [{key: x for key, x in one.items() if key not in left_out} for one in swept.confirms]
    (path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("made", [asha, pbt, cmaes])
def test_a_search_is_read_from_its_folder(made, trained, tmp_path):
    if made is cmaes:
        pytest.importorskip("evosax")
    path = searched_folder(tmp_path / "found", trained, made())
    (swept,) = data.read([path])
    about = swept.about
    assert (about["search"], about["spent"]) == (made.__name__, made().about["spent"])
    assert about["slots"] == (1 if made is asha else made().about["slots"])
    assert about["log_axes"] == AXES[:1] and about["wall_seconds"] == (1.5 if made is pbt else 3.0)
    assert all("curve" not in one for one in swept.trials)
    (again,) = swept.confirms
    if made is asha:
        assert again["values"] == swept.trials[0]["values"]
    if made is cmaes:
        assert again["values"] == {"--hp.learning-rate": 0.003, "--hp.gamma": 0.97}
    if made is pbt:
        assert [one["first_seed"] for one in swept.trials] == [0, 1, 2]
        assert (again["first_seed"], again["steps"]) == (0, swept.trials[0]["steps"])
    status, output = run_command("report", path, "--data", tmp_path / "a.jsonl")
    assert status == 0
    html, written = (path / "report.html").read_text(), (tmp_path / "a.jsonl").read_text()
    sentence = output.splitlines()[0]
    assert sentence == sentence_of(swept) and sentence in html
    well_formed(html)
    assert run_command("report", tmp_path / "a.jsonl") == (0, f"{sentence}\n{tmp_path / 'a.html'}\n")
    assert (tmp_path / "a.html").read_text() == html
    assert str(tmp_path) not in written and str(tmp_path) not in html
    refused(path / "group-1", words="is part of a search")
    (path / "group-1" / "search.json").unlink()
    refused(path, words="search.json cannot be read")


def test_batches_match_their_groups(trained, tmp_path):
    swept = tmp_path / "found"
    shutil.copytree(trained / "sweep", swept)
    info = json.loads((swept / "sweep.json").read_text()) | {"search": "optuna"}
    (swept / "sweep.json").write_text(json.dumps(info))
    (results,) = data.read([swept])
    assert [one["batch"] for one in results.trials] == [1, 1, 1]
    assert "comes from batch 1 of 1" in text_of(html_of(results))


# --- many runs, and a single one ------------------------------------------------------------------


def test_a_page_of_many_runs_stays_small():
    """The first methods have colours, names and tests; the others grey curves, and rows in sorted tables."""
    words = [["--hp.gamma", f"0.{n:03}"] for n in range(60)]
    runs = [source([record([n, n + 1.0, n + 2.0])], words=words[n], name=f"run-{n}") for n in range(60)]
    html, sentence = page.build(runs, {})
    well_formed(html)
    assert len(sentence) < 400 and "and 12 others with these seeds" in sentence
    assert "not compared with the 44 methods below these" in sentence
    assert html.count('<polygon class="band') <= 2 * 12 and html.count('class="thin trials"') == 48
    assert len(html) < 60 * 3000 and html.count("all 60 rows") == 3  # returns, settings, seeds
    assert '<table class="sort">' in html and "the commands of all 60" in html
    few = page.build(runs[:3], {})[0]
    assert "<button" not in few and 'class="sort"' not in few and "thin trials" not in few


def test_a_long_table_of_trials_is_one_table():
    html = html_of(a_sweep(32))
    assert "all 33 rows" in html and html.count("<td>31</td>") <= 1
    assert "querySelectorAll" in html  # the script that sorts it


def test_a_run_shows_its_hyperparameters_and_losses(trained, tmp_path):
    (one,) = data.read([trained / "run"])
    learning, settings = one.about["learning"], one.about["settings"]
    rows = [json.loads(line) for line in (trained / "run" / "metrics.jsonl").read_text().splitlines()]
    assert learning["timesteps"] == [row["timesteps"] for row in rows]
    for row, (centre, low, high) in zip(rows, learning["metrics"]["loss/policy"]):
        expected = np.mean(row["loss/policy"]), min(row["loss/policy"]), max(row["loss/policy"])
        np.testing.assert_allclose((centre, low, high), expected, rtol=1e-3)
    assert settings["hp.gamma"] == 0.98 and settings["config.num_envs"] and settings["env.max_steps"] == 50
    assert not any(name.startswith("agent/") for name in learning["metrics"])
    text = text_of(html_of(one))
    assert "hp.gamma 0.98" in text and "Losses and other metrics" in text and "policy/entropy" in text
    data.write(tmp_path / "run.jsonl", [one])
    assert data.read([tmp_path / "run.jsonl"]) == [one]
    several = data.read([trained / "run", trained / "sweep"])
    assert "learning" not in several[0].about  # which a page of several does not show


def test_a_sweep_shows_the_command_of_its_winner(trained):
    (swept,) = data.read([trained / "sweep"])
    rate = swept.trials[0]["values"]["--hp.learning-rate"]
    assert swept.about["winner"][:4] == ["jaxrl", "train", "ppo", "CartPole-v1"]
    position = swept.about["winner"].index("--hp.learning-rate") if rate != 1e-3 else None
    assert position is None or swept.about["winner"][position + 1] == repr(rate)
    assert "The winner again, with the seeds of the search" in text_of(html_of(swept))


# --- bad input ------------------------------------------------------------------------------------


def refused(*argv, words):
    status, output = run_command("report", *argv)
    assert status == 2 and output.startswith("jaxrl: error: ") and output.count("\n") == 1, output
    assert words in output, output


def test_paths_that_are_not_runs(tmp_path, trained):
    refused(words="jaxrl report RUN")
    refused(tmp_path / "none", words="does not exist")
    refused(tmp_path, words="neither a run nor a sweep")
    (tmp_path / "a.txt").write_text("")
    refused(tmp_path / "a.txt", words="not a .jsonl data file")
    refused(trained / "run", "--out", tmp_path / "a.pdf", words="must end in .html")
    refused(trained / "run", "--data", tmp_path / "a.json", words="must end in .jsonl")
    refused(trained / "run", "--out", tmp_path / "a.txt" / "a.html", words="a.txt")
    refused(trained / "run", "--aut", "x", words="--out")
    (tmp_path / "taken.html").mkdir()
    refused(trained / "run", "--out", tmp_path / "taken.html", words="is a folder")


def test_nothing_finished(tmp_path, trained):
    for name, file in (("run", "run.json"), ("sweep", "sweep.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text((trained / name / file).read_text())
        refused(tmp_path / name, words="nothing finished yet: continue with `jaxrl resume")
    (tmp_path / "sweep" / "results.jsonl").write_text("")
    refused(tmp_path / "sweep", words="no trials")
    (tmp_path / "sweep" / "results.jsonl").write_text('{"trial": 0, "gro')
    refused(tmp_path / "sweep", words="results.jsonl, line 1 is not valid JSON")
    (tmp_path / "sweep" / "results.jsonl").write_text('{"trial": 0}')
    refused(tmp_path / "sweep", words="values is missing")


@pytest.mark.parametrize(
    "given", ["CartPole-v1", "CartPole-v1=5", "CartPole-v1=5:5", "=0:1", "CartPole-v1=a:b"]
)
def test_invalid_ranges(trained, given):
    refused(trained / "run", "--range", given, words="write ENV=LOW:HIGH")


def test_a_range_of_an_environment_that_is_not_there(trained):
    refused(trained / "run", "--range", "Acrobot-v1=0:1", words="only CartPole-v1")


HEADER = source([record([1.0])]).about
LINE = record([1.0, 2.0])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "nothing finished"),
        ([HEADER], "nothing finished"),
        ([HEADER, LINE, HEADER], "nothing finished"),
        ([LINE], "not a report data file"),
        ([[1, 2]], "line 1, is broken"),
        ([HEADER | {"report": 2}, LINE], "another version"),
        ([HEADER | {"command": None}, LINE], "line 1, is broken: command"),
        ([HEADER | {"axes": [1]}, LINE], "line 1, is broken: axes"),
        ([HEADER | {"versions": ["jax"]}, LINE], "line 1, is broken: versions"),
        (
            [HEADER | {"learning": {"timesteps": [1], "metrics": {"a": [[1, 2]]}}}, LINE],
            "line 1, is broken: learning",
        ),
        ([HEADER, LINE | {"per_seed": ["a", 1]}], "line 2, is broken: per_seed"),
        ([HEADER, LINE | {"per_seed": [float("nan")]}], "line 2, is broken: per_seed"),
        ([HEADER, LINE | {"died": {"a": 1}}], "line 2, is broken: died"),
        ([HEADER, LINE | {"died": {"1": None}}], "line 2, is broken: died"),
        ([HEADER, LINE | {"score": "high"}], "line 2, is broken: score"),
        ([HEADER, LINE | {"curve": {"timesteps": [1]}}], "line 2, is broken: curve"),
        ([HEADER, LINE | {"curve": LINE["curve"] | {"per_seed": [[1.0]]}}], "line 2, is broken: curve"),
        ([HEADER, {"values": {}}], "line 2, is broken: per_seed"),
        ([HEADER, LINE | {"confirms": [1]}], "line 2, is broken: confirms"),
        ([HEADER | {"log_axes": "all"}, LINE], "line 1, is broken: log_axes"),
        ([pbt().about, LINE], "line 2, is broken: ancestry"),
        ([pbt().about, LINE | {"ancestry": [], "path": {}}], "line 2, is broken: path"),
        ([pbt().about, LINE | {"ancestry": [0, 0], "path": {"--hp.x": [1.0]}}], "line 2, is broken: path"),
        ([pbt().about, LINE | {"ancestry": [0], "path": {"--hp.x": ["a"]}}], "line 2, is broken: path"),
        ([cmaes().about, LINE], "line 2, is broken: generation"),
        ([optuna().about, LINE | {"batch": "a"}], "line 2, is broken: batch"),
    ],
)
def test_corrupt_data(tmp_path, lines, words):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused(tmp_path / "a.jsonl", words=words)


def test_truncated_data(tmp_path):
    data.write(tmp_path / "a.jsonl", [source([record([1.0, 2.0])])])
    whole = (tmp_path / "a.jsonl").read_text()
    (tmp_path / "a.jsonl").write_text(whole[:-20])
    refused(tmp_path / "a.jsonl", words="line 2, is broken")
