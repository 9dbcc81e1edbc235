"""A compiled program in XLA's text format: its instructions, how often each runs, and their arithmetic."""

import re
from collections import Counter
from typing import NamedTuple

import numpy as np


class Instruction(NamedTuple):
    """A line of a compiled program.

    Attributes:
      shape: of the result, `f32[4,64]{1,0}`, or of several in parentheses.
      op_name: its origin in the traced program: its scopes, then its primitive.
      called: the computations that it runs.
      trips: for a loop, how often it runs them, if the compiler knows.
    """

    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    attributes: str
    op_name: str
    called: tuple[str, ...]
    trips: int | None


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      partitions: number of devices that run it in parallel, each on its share of the data.
      times: how often each computation runs in one run of the program, on one device.
      unknown_loops: loops whose trip count depends on the data; their bodies count once.
    """

    name: str
    partitions: int
    entry: str
    computations: dict[str, list[Instruction]]
    times: Counter
    unknown_loops: list[str]


MODULE = re.compile(r"HloModule (?P<name>[\w.\-]+)(?:.*num_partitions=(?P<partitions>\d+))?")
HEADER = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%(?P<name>[\w.\-]+) = (?P<rest>.*)")
OP_NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
NAME = re.compile(r"%([\w.\-]+)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
ARRAY = re.compile(r"\w+\[([\d,]*)\]")
CONTRACTED = re.compile(r'lhs_contracting_dim(?:ension)?s"?[=:]\s*[\[{]([^\]}]*)[\]}]')
KERNEL = re.compile(r"dim_labels=\w+_(\w+)->")
FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast")  # opcodes that do nothing
LOOPS = ("while", "conditional")  # opcodes that run other instructions one by one


def parse(text: str) -> Program:
    """Reads a compiled program as XLA prints it (`compiled.as_text()`)."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if header := HEADER.match(line):
            current = computations.setdefault(header["name"], [])
            entry = header["name"] if header["entry"] else entry
        elif current is not None and (matched := INSTRUCTION.match(line)):
            current.append(_instruction(matched["name"], matched["rest"]))
    module = MODULE.match(text)
    if not (module and entry):
        raise ValueError("this is not a compiled program: it has no HloModule or no ENTRY")
    for instructions in computations.values():
        for at, i in enumerate(instructions):
            instructions[at] = i._replace(called=tuple(name for name in i.called if name in computations))
    return Program(
        module["name"], int(module["partitions"] or 1), entry, computations, *_times(computations, entry)
    )


def _instruction(name: str, rest: str) -> Instruction:
    """Parses `TYPE OPCODE(OPERANDS), ATTRIBUTES, metadata={...}, backend_config={...}`."""
    begin = _closing(rest) + 1 if rest.startswith("(") else rest.index(" ")
    opening = rest.index("(", begin)
    closing = opening + _closing(rest[opening:])
    attributes = rest[closing + 1 :]
    op_name, trips = OP_NAME.search(attributes), TRIPS.search(attributes)
    return Instruction(
        name=name,
        opcode=rest[begin:opening].strip(),
        shape=rest[:begin],
        operands=tuple(NAME.findall(rest[opening:closing])),
        attributes=attributes,
        op_name=op_name[1] if op_name else "",
        called=tuple(NAME.findall(attributes.partition(", metadata={")[0])),
        trips=int(trips[1]) if trips else None,
    )


def _closing(text: str) -> int:
    """The position of the parenthesis that closes the one at the start of a text."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return at
    raise ValueError(f"this is not an instruction of a compiled program: {text[:80]}")


def _times(computations, entry) -> tuple[Counter, list[str]]:
    """How often each computation runs in one run of the program, and the loops of unknown length."""
    times, unknown = Counter(), []

    def visit(name, runs):
        times[name] += runs
        for i in computations[name]:
            if i.opcode == "while" and i.trips is None and i.name not in unknown:
                unknown.append(i.name)
            for called in i.called:
                visit(called, runs * (1 if i.trips is None else i.trips))

    visit(entry, 1)
    return times, unknown


def num_operations(program: Program) -> int:
    """The approximate number of operations in one run of a program, and so of events in its trace."""

    def visit(name):
        for i in program.computations[name]:
            yield program.times[name] * (i.opcode not in FREE)
            if i.opcode in LOOPS:
                for called in i.called:
                    yield from visit(called)

    return sum(visit(program.entry))


def flops(i: Instruction, shapes: dict[str, str]) -> int:
    """Floating-point operations of a matrix product or a convolution; 0 for other instructions.

    A product of `[m, k]` and `[k, n]` has `2 m n k`. On a GPU they are library calls, with the same
    information in their attributes.

    Args:
      shapes: of the instructions of its computation, by name.
    """
    if i.opcode not in ("dot", "convolution", "custom-call"):
        return 0
    contracted, labels = CONTRACTED.search(i.attributes), KERNEL.search(i.attributes)
    if contracted and i.operands:
        lhs = _dimensions(shapes[i.operands[0]])
        terms = [lhs[int(axis)] for axis in re.findall(r"\d+", contracted[1])]
    elif labels and len(i.operands) > 1:  # every output is a sum over all other axes of the kernel
        kernel = _dimensions(shapes[i.operands[1]])
        terms = [length for length, axis in zip(kernel, labels[1]) if axis != "o"]
    else:
        return 0
    return 2 * int(np.prod(_dimensions(i.shape), dtype=int) * np.prod(terms, dtype=int))


def _dimensions(shape: str) -> list[int]:
    """The dimensions of an array, or of the first array of a tuple."""
    matched = ARRAY.search(shape)
    return [int(length) for length in matched[1].split(",") if length] if matched else []
