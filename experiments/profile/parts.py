"""The part of an update that each instruction of a compiled program belongs to.

The library names its parts with `jax.named_scope`; the compiler keeps the names with most instructions. The
part of the others follows from their neighbours.
"""

import re
from collections import Counter, defaultdict

from jaxrl.experiments.profile import hlo

# Labels of the named scopes, in the order in which an update executes them.
ROLLOUT = {
    "policy": "rollout: policy",
    "dynamics": "rollout: dynamics",
    "reset": "rollout: reset",
    "environment": "rollout: environment",
    "rollout": "rollout: rest",
}
SCOPES = ("replay", "values", "advantage", "shuffle", "minibatch", "loss", "optimizer", "metrics")
OTHER, IDLE = ("other", False), "dispatch and idle"
ORDER = (*ROLLOUT.values(), *SCOPES[:5], "loss: forward", "loss: backward", *SCOPES[6:])

# Functions of jax.random and their primitives. The sort of a permutation does not count as random numbers.
RANDOM = re.compile(
    r"threefry|2x32|rng_|random_(bits|split|fold_in|seed|wrap|unwrap|gamma|clone)"
    r"|jit\(_(uniform|randint|shuffle|normal|normal_real|truncated_normal|bernoulli|gumbel|exponential|gamma"
    r"|beta|dirichlet|laplace|logistic|cauchy|poisson|t|categorical|permutation|choice)\)"
)
SCOPE = re.compile(r"(?:\w+\()*(\w+)\)*")  # inside the names of transformations


def classify(op_name: str) -> tuple[str, bool] | None:
    """The part of an instruction by its scopes, and whether it generates random numbers or keys.

    The outermost scope counts, in a rollout the innermost; a random number belongs to the part that uses it.
    Names after the call of a random function are ignored: JAX traces it once, and other callers get
    the names of the first one.

    Returns:
      `OTHER` outside of all scopes; None if the compiler has lost the names.
    """
    segments = op_name.partition(";")[0].split("/")
    random = next((at for at, segment in enumerate(segments) if RANDOM.search(segment)), None)
    outside = [segment for segment in segments[:random] if "jit(" not in segment]
    scopes = [(SCOPE.fullmatch(segment), segment) for segment in outside]
    known = [(m[1], segment) for m, segment in scopes if m and (m[1] in ROLLOUT or m[1] in SCOPES)]
    is_random = random is not None and segments[-1] != "sort"
    if not known:
        return (OTHER[0], is_random) if segments[0].startswith("jit(") else None
    part, segment = known[0]
    if part in ROLLOUT:
        part = ROLLOUT[[name for name, _ in known if name in ROLLOUT][-1]]
    elif part == "loss":
        part = "loss: backward" if "transpose(" in segment else "loss: forward"
    return part, is_random


def attribute(program: hlo.Program) -> dict[str, tuple[str, bool]]:
    """Part and randomness of every instruction.

    A fusion belongs to the part of most of its instructions. An instruction without a name (the compiler
    removes those of matrix products) belongs to the latest part among its operands, otherwise to the earliest
    among its users, otherwise to the part that runs it, as do the copies of a loop.
    """
    places: dict[str, tuple[str, bool]] = {}

    def visit(computation, around, generator):
        instructions = program.computations[computation]
        near = _neighbourhood(program, instructions)
        for i in instructions:
            part, random = near.get(i.name, around)
            inner = generator or _is_threefry(program, i)
            place = places.setdefault(i.name, (part, random or inner))
            for called in i.called:
                visit(called, place, inner)

    visit(program.entry, OTHER, False)
    return places


def _neighbourhood(program: hlo.Program, instructions: list[hlo.Instruction]) -> dict[str, tuple[str, bool]]:
    """Parts of the instructions of a computation, if they or their neighbours have names."""
    rank = {part: at for at, part in enumerate(ORDER)}
    named = {i.name: _place(program, i) for i in instructions}
    # The results of a loop, and the inputs of the computation, do not determine the part of their users.
    closed = {i.name for i in instructions if i.opcode in ("parameter", "get-tuple-element", *hlo.LOOPS)}
    for i in instructions:
        if i.opcode in ("bitcast", "copy", "tuple", "constant") and closed.issuperset(i.operands):
            closed.add(i.name)
    places = {name: place for name, place in named.items() if place}

    def nearest(names, choose):
        known = [places[name] for name in names if name in places and name not in closed]
        known = [place for place in known if place[0] in rank]
        return choose(known, key=lambda place: rank[place[0]]) if known else None

    users = defaultdict(list)
    for i in instructions:
        for operand in i.operands:
            users[operand].append(i.name)
        if i.name not in places and i.name not in closed and (place := nearest(i.operands, max)):
            places[i.name] = place
    for i in reversed(instructions):
        if i.name not in places and i.name not in closed and (place := nearest(users[i.name], min)):
            places[i.name] = place
    return places


def _place(program: hlo.Program, i: hlo.Instruction) -> tuple[str, bool] | None:
    """The part by its own name, or by the names of the instructions in it."""
    votes = Counter(place for inner in _inside(program, i) if (place := classify(inner.op_name)))
    if i.opcode not in ("fusion", "call") or not votes:
        return classify(i.op_name)
    parts = Counter()
    for (part, _), number in votes.items():
        parts[part] += number
    part, most = parts.most_common(1)[0]
    # A loop that was compiled into one operation: the times of its parts cannot be separated.
    if i.opcode == "call" and most < 0.8 * parts.total():
        part = "rollout" if all(name.startswith("rollout") for name in parts) else "several parts"
        return f"{part}: one kernel", False
    return part, 2 * votes[part, True] > most


def _inside(program: hlo.Program, i: hlo.Instruction):
    """The instructions in a fusion, or in the computations that a loop runs."""
    for called in i.called if i.opcode in ("fusion", "call", *hlo.LOOPS) else ():
        for inner in program.computations[called]:
            yield from _inside(program, inner)
            if inner.opcode not in (*hlo.FREE, "fusion", "call", *hlo.LOOPS):
                yield inner


def _is_threefry(program: hlo.Program, i: hlo.Instruction) -> bool:
    """Whether a loop is JAX's random number generator, which has no name in a compiled program.

    Threefry is five times four rounds of rotation and xor on 32-bit words. Salmon et al. 2011.
    https://doi.org/10.1145/2063384.2063405
    """
    if i.opcode == "call":
        return any(_is_threefry(program, inner) for name in i.called for inner in program.computations[name])
    if i.opcode != "while" or i.trips != 5:
        return False
    words = Counter(inner.opcode for inner in _inside(program, i) if inner.shape.startswith("u32"))
    return min(words["xor"], words["shift-left"]) >= 4


def flops(program: hlo.Program, places: dict[str, tuple[str, bool]]) -> Counter:
    """Floating-point operations of one run in matrix products and convolutions, by part, on all devices."""
    counts = Counter()
    for name, instructions in program.computations.items():
        shapes = {i.name: i.shape for i in instructions}
        for i in instructions:
            if number := hlo.flops(i, shapes):
                counts[places.get(i.name, OTHER)[0]] += program.times[name] * number * program.partitions
    return counts
