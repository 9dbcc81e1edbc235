"""Adversarial Cheap Talk: messages that harm, help or control an agent, evolved over whole training runs.

    max over phi  E over keys [ fitness(victim trained with messages tanh(f_phi(obs))) ]

    harm      minus the return during the victim's training
    help      the return during its training
    control   minus the distance to a goal, when another adversary psi(obs, goal) sends messages to the
              trained victim; phi and psi are evolved together

Lu et al. 2022. https://arxiv.org/abs/2211.11030 The adversary observes what the victim observes, and only
appends to it (`wrappers.cheap_talk`). The victim is PPO with the preset of its environment. All candidates of
a generation have victims with the same keys; every generation has different keys. Axes: `K` candidates, `V`
victims, `M` messages.
"""

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.flatten_util import ravel_pytree

from jaxrl import checkpoint, envs, fields, files, hosts, logger, loop, sources, train
from jaxrl.algos import ppo
from jaxrl.envs import wrappers
from jaxrl.evolution import evolution_strategy
from jaxrl.experiments import folders, options, runs, user_files
from jaxrl.experiments.presets import preset
from jaxrl.reporters import spread
from jaxrl.rollout import rollout, vectorize, without_extras
from jaxrl.statistics import across_tasks, probability_of_improvement
from jaxrl.types import Env, Stream

MODES = ("harm", "help", "control")
RATE = 0.05  # learning rate of Adam, for the mean of the candidates


class Goal(NamedTuple):
    """What is controlled: the victim's position, `(obs) -> [G]`, and a random goal, `(key) -> [G]`."""

    position: Any
    draw: Any
    size: int


def _on_circle(key):
    angle = jax.random.uniform(key, minval=-jnp.pi, maxval=jnp.pi)
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def _in_reach(key):
    return sum(map(_on_circle, jax.random.split(key)))


GOALS = {
    "CartPole-v1": Goal(lambda obs: obs[:1], lambda key: jax.random.uniform(key, (1,), minval=-1.0), 1),
    "Pendulum-v1": Goal(lambda obs: obs[:2], _on_circle, 2),
    "Reacher-misc": Goal(lambda obs: jnp.stack([obs[:2].sum(), obs[2:4].sum()]), _in_reach, 2),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """Everything that determines the evolution; stored in `talk.json`."""

    environment: str
    mode: str
    steps: int
    generations: int
    candidates: int
    victims: int
    messages: int
    hidden: int
    std: float
    goals: int
    seed: int


@struct.dataclass
class Speaker:
    """Weights of an adversary: tanh layers `[D, H]`, `[H, M]`, with biases."""

    hidden: jax.Array
    hidden_bias: jax.Array
    out: jax.Array
    out_bias: jax.Array


def speaker(key, inputs: int, hidden: int, messages: int) -> Speaker:
    """A random adversary, whose messages before the tanh have a standard deviation near 1."""
    hidden_key, out_key, bias_key = jax.random.split(key, 3)
    return Speaker(
        jax.random.normal(hidden_key, (inputs, hidden)),
        jax.random.normal(bias_key, (hidden,)),
        jax.random.normal(out_key, (hidden, messages)) / hidden**0.5,
        jnp.zeros(messages),
    )


def say(params: Speaker, heard):
    """The messages `[M]` of an adversary, before the tanh, for an input `[D]`."""
    return jnp.tanh(heard @ params.hidden + params.hidden_bias) @ params.out + params.out_bias


class Game(NamedTuple):
    """Adversaries as vectors `[D]`, and their scores.

    Attributes:
      draw: `(key) -> [D]`, a random adversary, the baseline for evolved ones.
      silent: `[D]`, an adversary whose messages are 0.
      score: `([D], key) -> number`, of one victim: its return, or minus its distance to the goals; NaN if the
        victim diverged, which does not count as harm.
      sign: of the score in the fitness, -1 in mode harm.
    """

    draw: Any
    silent: jax.Array
    score: Any
    sign: float


def make(setting: Setting) -> Game:
    """The game of a setting. Raises ValueError for an invalid setting."""
    from jaxrl.names import lookup

    lookup("environment", envs.REGISTRY, user_files.environment(setting.environment))
    if setting.mode == "control":
        if sources.is_name(setting.environment):
            raise ValueError(f"mode control needs an environment with goals, {', '.join(GOALS)}, not a file")
        goal = lookup("environment with goals", GOALS, setting.environment)
    for name in ("steps", "generations", "victims", "messages", "hidden", "goals"):
        if getattr(setting, name) < 1:
            raise ValueError(f"{name} = {getattr(setting, name)} must be at least 1")
    if setting.candidates < 4 or setting.candidates % 2:
        raise ValueError(f"candidates = {setting.candidates} must be even and at least 4")
    if not (0 < setting.std < np.inf and 0 <= setting.seed < 2**31):
        raise ValueError(f"std = {setting.std} must be positive, and seed = {setting.seed} not negative")
    env = wrappers.flatten_obs(envs.make(setting.environment))
    inputs = env.observation_space.shape[0]
    chosen = preset("ppo", setting.environment)
    config = fields.configured(ppo.Config(), chosen.config)

    def draw(key):
        train_key, test_key = jax.random.split(key)
        parts = {"train": speaker(train_key, inputs, setting.hidden, setting.messages)}
        if setting.mode == "control":
            heard = inputs + goal.size
            parts["test"] = speaker(test_key, heard, setting.hidden, setting.messages)
        return parts

    example = jax.eval_shape(draw, jax.random.key(0))
    zeros, unravel = ravel_pytree(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), example))

    def victim(talk, key):
        """The algorithm, its last state, its metrics, and whether the agent diverged."""
        algo = ppo.make(wrappers.cheap_talk(env, partial(say, talk), setting.messages), config)
        updates = train.updates_for(algo, setting.steps)
        hp = algo.hparams.replace(**chosen.hparams, total_updates=float(updates))
        state, metrics = train.run(algo, key, hp, updates)
        return algo, state, metrics, train.diverged(state.params, metrics)

    def return_of(x, key):
        """Mean return over the second half of training, in the updates in which an episode ended."""
        _, _, metrics, broken = victim(unravel(x)["train"], key)
        late = metrics["episode/count"].shape[0] // 2
        count, total = (metrics[f"episode/{name}"][late:] for name in ("count", "return_sum"))
        ended = count > 0
        mean = jnp.where(ended, total / jnp.maximum(count, 1), 0.0).sum() / jnp.maximum(ended.sum(), 1)
        return jnp.where(broken, jnp.nan, mean)

    def closeness(x, key):
        """Minus the mean distance to goals of a trained victim with messages of the test-time adversary."""
        talk = unravel(x)
        train_key, goal_key, play_key = jax.random.split(key, 3)
        algo, state, _, broken = victim(talk["train"], train_key)

        def steered(goal_key, play_key):
            wanted = goal.draw(goal_key)
            distance = partial(_distance, goal.position, wanted)
            heard = wrappers.cheap_talk(
                env, lambda obs: say(talk["test"], jnp.concatenate([obs, wanted])), setting.messages
            )
            return -distances(heard, partial(algo.act, state), state.stream.memory, play_key, distance).mean()

        goal_keys, play_keys = (jax.random.split(k, setting.goals) for k in (goal_key, play_key))
        return jnp.where(broken, jnp.nan, jax.vmap(steered)(goal_keys, play_keys).mean())

    score = closeness if setting.mode == "control" else return_of
    sign = -1.0 if setting.mode == "harm" else 1.0
    return Game(lambda key: ravel_pytree(draw(key))[0], zeros, score, sign)


STEERED_STEPS = 100  # steps of a trained victim with a goal, the second half of which counts


def distances(env: Env, act, memory, key, distance):
    """The distance of a policy from its goal in each of the last steps of a short rollout: `[T]`."""
    env = vectorize(env, 1)
    reset_key, play_key = jax.random.split(key)
    memory = jax.tree.map(lambda m: jnp.zeros((1, *m.shape[1:]), m.dtype), memory)
    stream = Stream(*env.reset(reset_key), memory)
    _, played = rollout(env, without_extras(act), play_key, stream, STEERED_STEPS)
    return jax.vmap(distance)(played.next_obs[STEERED_STEPS // 2 :, 0])


def _distance(position, wanted, obs):
    return jnp.linalg.norm(position(obs) - wanted)


# --- evolution ------------------------------------------------------------------------------------


@struct.dataclass
class Evolution:
    """Everything that changes: the strategy's state, the key, and the number of generations done."""

    es: Any
    key: jax.Array
    generation: jax.Array


def evolution(game: Game, setting: Setting):
    """`init() -> Evolution`, and `step(Evolution) -> (Evolution, scores [K])`, jitted, means over victims.

    OpenES (Salimans et al. 2017, https://arxiv.org/abs/1703.03864) by evosax, with centred ranks, antithetic
    candidates and Adam. It starts from a random adversary.

    Raises:
      ValueError: evosax is not installed.
    """
    es = evolution_strategy("openes", setting.candidates, game.silent, RATE, setting.std)
    lanes = setting.candidates * setting.victims
    scores = train.over_agents(game.score, (0, 0), train.mesh(lanes))

    def init():
        key, start_key, es_key = jax.random.split(jax.random.key(setting.seed), 3)
        return Evolution(es.init(es_key, game.draw(start_key)), key, jnp.zeros((), jnp.int32))

    def step(state):
        key, ask_key, victim_key, tell_key = jax.random.split(state.key, 4)
        asked, x = es.ask(ask_key, state.es)
        keys = jax.random.split(victim_key, setting.victims)
        who = jnp.repeat(x, setting.victims, axis=0)
        candidate_scores = (
            scores(who, jnp.tile(keys, setting.candidates)).reshape(setting.candidates, -1).mean(axis=1)
        )
        # Victims that diverged are not a success.
        fitness = jnp.nan_to_num(game.sign * candidate_scores, nan=-jnp.inf)
        updated = es.tell(tell_key, asked, x, fitness)
        return Evolution(updated, key, state.generation + 1), candidate_scores

    return jax.jit(init), jax.jit(step, donate_argnums=0)


def evaluated(game: Game, setting: Setting, mean, victims: int = 8) -> dict[str, list[float]]:
    """Scores `[V]` of new victims, whose keys no generation has used: with the evolved adversary, with random
    ones, a different one for each victim, and without messages."""
    root = jax.random.fold_in(jax.random.key(setting.seed), 0x7A1C)
    victim_key, talk_key = jax.random.split(root)
    keys = jax.random.split(victim_key, victims)
    random = jax.vmap(game.draw)(jax.random.split(talk_key, victims))
    who = {"evolved": jnp.tile(mean, (victims, 1)), "random": random, "silent": jnp.zeros_like(random)}
    score = jax.jit(train.over_agents(game.score, (0, 0), train.mesh(3 * victims)))
    victim_scores = np.asarray(score(jnp.concatenate([*who.values()]), jnp.tile(keys, 3)), np.float64)
    return dict(zip(who, victim_scores.reshape(3, victims).tolist()))


# --- the folder and the command -------------------------------------------------------------------


def carry_on(path: Path) -> int:
    """Continues an evolution from the state of its folder, and prints the result. Returns the exit status."""
    if hosts.several():
        raise options.UsageError("cheap talk is for one process: leave --coordinator out")
    try:
        info = json.loads((path / "talk.json").read_text())
        setting = Setting(**info["setting"])
        sources.remember(path, info.get("sources", {}))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path / 'talk.json'} was edited ({error})") from None
    runs.require_types(setting, where=path / "talk.json")
    game = make(setting)
    init, step = evolution(game, setting)
    metadata = {"setting": dataclasses.asdict(setting)}
    with folders.claim(path), loop.interruptible() as interrupted:  # before any file is changed
        if checkpoint.latest(path / "checkpoints") is None:
            state = init()
        else:
            state, _ = checkpoint.restore(path / "checkpoints", jax.eval_shape(init), metadata=metadata)
        done = int(state.generation)
        sink = logger.jsonl(path / "metrics.jsonl", keep_updates=done)
        try:
            while done < setting.generations and not interrupted():
                state, candidate_scores = step(state)
                done += 1
                candidate_scores = np.asarray(candidate_scores, np.float64)
                sink.write({"num_updates": done, "score": candidate_scores.tolist()})
                broken = int((~np.isfinite(candidate_scores)).sum())
                lost = f"; {broken} candidates with diverged victims" * (broken > 0)
                print(f"generation {done}: {spread(candidate_scores.tolist())}{lost}", flush=True)
                checkpoint.save(path / "checkpoints", done, state, metadata)
        finally:
            sink.close()
    if done < setting.generations:
        print(f"stopped after {done} generations; continue with: jaxrl resume {files.quoted(path)}")
        return 130
    scores = evaluated(game, setting, state.es.mean)
    plain = {name: logger.finite(values) for name, values in scores.items()}
    result = {"setting": dataclasses.asdict(setting), "scores": plain, **runs.provenance()}
    files.replace(path / "result.json", json.dumps(result, indent=1) + "\n")
    print(summary(setting, scores))
    return 0


def summary(setting: Setting, scores: dict[str, list[float]]) -> str:
    """The scores with intervals over victims, and how often that of the evolved adversary is higher.

    A victim that diverged counts as the worst result for its adversary: in mode harm, as the highest return.
    """
    sign = -1.0 if setting.mode == "harm" else 1.0
    known = [sign * x for values in scores.values() for x in values if np.isfinite(x)]
    worst = sign * min(known, default=np.nan)
    scores = {name: [x if np.isfinite(x) else worst for x in values] for name, values in scores.items()}
    what = "minus the distance to goals" if setting.mode == "control" else "return while training"
    count = len(scores["evolved"])
    place = sources.shown(setting.environment)
    lines = [f"{setting.mode} on {place}: {what}, IQM over {count} fresh victims"]
    for name, values in scores.items():
        one = across_tasks([values])
        lines.append(f"  {name:8s} {one.value:.4g} ({one.low:.4g} to {one.high:.4g})")
    for other in ("random", "silent"):
        more = probability_of_improvement([scores["evolved"]], [scores[other]])
        lines.append(
            f"  evolved above {other}: probability {more.value:.2f} ({more.low:.2f} to {more.high:.2f})"
        )
    return "\n".join(lines)


def command(argv: list[str]) -> int:
    """`jaxrl talk ENV`: evolves an adversary that only sends messages."""
    import tyro

    @dataclasses.dataclass
    class Talk:
        """Evolves messages that harm or help an agent in training, or control a trained one (cheap talk)."""

        environment: Annotated[str, tyro.conf.Positional] = "CartPole-v1"  # see `jaxrl list envs`, or a file
        mode: Literal[MODES] = "harm"  # the purpose; control: CartPole-v1, Pendulum-v1, Reacher-misc
        steps: int = 20_000  # environment steps of each victim's training
        generations: int = 60  # generations of adversaries
        candidates: int = 16  # adversaries per generation, in antithetic pairs
        victims: int = 4  # agents trained with each adversary
        messages: int = 4  # size of a message, whose numbers are in [-1, 1]
        hidden: int = 16  # hidden units of the adversary
        std: float = 0.3  # standard deviation of the candidates around their mean
        goals: int = 8  # control: number of goals for each victim
        seed: int = 0  # of the evolution
        compile_cache: bool = True  # cache compiled programs for later starts
        out: Path | None = None  # folder; otherwise one in runs/

    chosen = options.parse(Talk, argv, "jaxrl talk")
    train.use_cores(quiet=True)
    if chosen.compile_cache:
        runs.enable_compile_cache()
    chosen.environment = sources.named(chosen.environment)
    setting = Setting(**{name: getattr(chosen, name) for name in Setting.__dataclass_fields__})
    evolution(make(setting), setting)
    place = sources.shown(setting.environment).replace(":", "-")
    path = chosen.out or Path("runs") / f"talk-{setting.mode}-{place}-{setting.seed}"
    about = {"setting": dataclasses.asdict(setting), "command": ["jaxrl", "talk", *argv]}
    with folders.new(path, "talk.json"):
        about |= {"sources": kept} if (kept := sources.keep(path, about["setting"])) else {}
        files.create(path / "talk.json", json.dumps({**about, **runs.provenance()}, indent=1) + "\n")
    return carry_on(path)
