"""Reading what a kernel is compiled to: PTX, where its arguments can be told apart, and SASS, the machine code."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

FULL_BITS = 128  # of the widest access to global memory that all these GPUs have

# --- SASS, as `nvdisasm -c` prints it --------------------------------------------------------------------------------

# `        /*0a10*/              @!P1 LDG.E.EF.128 R24, desc[UR6][R32.64] ;`
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", re.MULTILINE)
_SUBWORD = {"8": 8, "U8": 8, "S8": 8, "16": 16, "U16": 16, "S16": 16}


def opcodes(sass: str) -> tuple[str, ...]:
    """Read the opcodes of one kernel with their modifiers, like `LDG.E.128`; the NOPs that pad its end are left out."""
    return tuple(opcode for opcode in _INSTRUCTION.findall(sass) if opcode != "NOP")


def count(code: Iterable[str], *operations: str) -> int:
    """Count the instructions of some operations, whatever their modifiers."""
    return sum(opcode.split(".", 1)[0] in operations for opcode in code)


def sha256(code: Iterable[str]) -> str:
    """Hash the sequence of opcodes; registers, addresses, constants and predicates are no part of it."""
    return hashlib.sha256("\n".join(code).encode()).hexdigest()


def widths(code: Iterable[str]) -> frozenset[int]:
    """Return how many bits a thread moves by one access to global memory: all that occur."""
    return frozenset(_bits(opcode) for opcode in code if count([opcode], "LDG", "STG"))


def _bits(opcode: str) -> int:
    for modifier in opcode.split(".")[1:]:
        if modifier in {"64", "128", "256"}:
            return int(modifier)
        if modifier in _SUBWORD:
            return _SUBWORD[modifier]
    return 32


# --- PTX -------------------------------------------------------------------------------------------------------------

# `	@%p32 ld.global.L1::evict_first.L2::cache_hint.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd37 + 0 ], %rd36;`
_ACCESS = re.compile(r"\b(ld|st)\.global[\w.:]*?(?:\.v(\d))?\.[bsuf](\d+)\s[^\[]*\[\s*(%rd\d+)")
# `	ld.param.b64 	%rd5, [bn_relu_add_apply_param_3];`
_PARAMETER = re.compile(r"\bld\.param\.\w+\s+(%rd\d+), \[\w+_param_(\d+)\]")
# `	mad.wide.s32 	%rd12, %r7, 2, %rd5;`, but not what is loaded from memory, nor a branch
_DEFINITION = re.compile(r"^\s*(?:@!?%p\d+\s+)?(?!ld\.|st\.|bra)[a-z][\w.:]*\s+(%rd\d+),(.*);")
_LABEL = re.compile(r"^(\$L__BB\w+):")
_BRANCH = re.compile(r"\bbra(?:\.uni)?\s+(\$L__BB\w+);")


@dataclass(frozen=True)
class Access:
    """An instruction that goes to global memory."""

    parameter: int
    """Which of the kernel's parameters points there."""
    store: bool
    bits: int
    """That a thread moves."""
    in_loop: bool


def accesses(ptx: str) -> list[Access]:
    """Find the accesses to global memory, each address traced back through its registers to the pointer it came from.

    Raises:
        ValueError: an address comes from no pointer, or from several.
    """
    lines = ptx.splitlines()
    origins: dict[str, set[int]] = defaultdict(set)
    sources: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if match := _PARAMETER.search(line):
            origins[match[1]].add(int(match[2]))
        elif match := _DEFINITION.match(line):
            sources[match[1]] |= {*re.findall(r"%rd\d+", match[2])}
    loops, found = _loops(lines), []
    for number, line in enumerate(lines):
        if match := _ACCESS.search(line):
            pointers = _origins(match[4], origins, sources)
            if len(pointers) != 1:
                raise ValueError(f"an address that comes from {len(pointers)} pointers: {line.strip()}")
            inside = any(first <= number <= last for first, last in loops)
            bits = int(match[2] or 1) * int(match[3])
            found.append(Access(pointers.pop(), match[1] == "st", bits, inside))
    return found


def _origins(register: str, origins: dict[str, set[int]], sources: dict[str, set[str]]) -> set[int]:
    """Return the parameters that the value of a register comes from."""
    seen, left = set(), {register}
    while left:
        seen |= left
        left = {source for each in left for source in sources.get(each, ())} - seen
    return {parameter for each in seen for parameter in origins.get(each, ())}


def _loops(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Return the first and last line of every loop: a label, and a branch back to it."""
    labels = {match[1]: number for number, line in enumerate(lines) if (match := _LABEL.match(line))}
    branches = ((number, match[1]) for number, line in enumerate(lines) if (match := _BRANCH.search(line)))
    return [(labels[label], number) for number, label in branches if labels.get(label, number) < number]


@dataclass(frozen=True)
class Traffic:
    """How a kernel reads and writes its activations."""

    read: frozenset[int]
    written: frozenset[int]
    vector_share: float
    narrowest_bits: int


def traffic(found: Iterable[Access], activations: Container[int]) -> Traffic:
    """Judge the accesses to activations in loops: the streaming of tiles, and nothing else.

    `vector_share` is the share of bytes that accesses of at least 128 bits move. Within a tensor every instruction
    stands for as many bytes as it is wide, since all of them go over the same tiles as often; tensors weigh the same,
    since each is moved whole and once. So neither the loads of a value a channel, nor the first tile of a split, which
    one kernel reads before its loop, nor an unrolled loop that has more instructions for one tensor, bear on it. PTX is
    read since a register of SASS no longer tells which tensor it points to; `ptxas` keeps the widths.

    Raises:
        ValueError: no activation is accessed in a loop.
    """
    streaming = [each for each in found if each.in_loop and each.parameter in activations]
    if not streaming:
        raise ValueError("no activation is accessed in a loop")
    bits: dict[int, list[int]] = defaultdict(list)
    for each in streaming:
        bits[each.parameter].append(each.bits)
    shares = [sum(width for width in tensor if width >= FULL_BITS) / sum(tensor) for tensor in bits.values()]
    return Traffic(
        read=frozenset(each.parameter for each in streaming if not each.store),
        written=frozenset(each.parameter for each in streaming if each.store),
        vector_share=sum(shares) / len(shares),
        narrowest_bits=min(each.bits for each in streaming),
    )
