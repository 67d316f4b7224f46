"""Read what a kernel is compiled to: SASS, the machine code, and PTX, which still tells a kernel's arguments apart."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from deeptwins.records.kernels import FULL_BITS

# --- SASS, as `nvdisasm -c` prints it --------------------------------------------------------------------------------

# `        /*0a10*/              @!P1 LDG.E.EF.128 R24, desc[UR6][R32.64] ;`
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", re.MULTILINE)


def opcodes(sass: str) -> tuple[str, ...]:
    """Read the opcodes of one kernel with their modifiers, like `LDG.E.128`; the NOPs that pad its end are left out."""
    return tuple(opcode for opcode in _INSTRUCTION.findall(sass) if opcode != "NOP")


def count(code: Iterable[str], *operations: str) -> int:
    """Count the instructions of these operations, whatever their modifiers: `LDL` counts `LDL.64`, too."""
    return sum(opcode.split(".", 1)[0] in operations for opcode in code)


def sha256(code: Iterable[str]) -> str:
    """Hash the sequence of opcodes, without registers, addresses, constants and predicates."""
    return hashlib.sha256("\n".join(code).encode()).hexdigest()


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
    """The number of the kernel's parameter that points there."""
    store: bool
    bits: int
    """Moved per thread."""
    in_loop: bool


def accesses(ptx: str) -> list[Access]:
    """List the accesses to global memory, tracing each address back through registers to the pointer it comes from.

    Raises:
        ValueError: an address comes from no pointer, or from several.
    """
    # Which registers are loaded from a parameter, and which are computed from which others.
    lines = ptx.splitlines()
    origins: dict[str, set[int]] = defaultdict(set)
    sources: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if match := _PARAMETER.search(line):
            origins[match[1]].add(int(match[2]))
        elif match := _DEFINITION.match(line):
            sources[match[1]] |= {*re.findall(r"%rd\d+", match[2])}
    # Every access, with its pointer, its width, and whether it lies between a label and a branch back to it.
    loops, listed = _loops(lines), []
    for number, line in enumerate(lines):
        if match := _ACCESS.search(line):
            pointers = _origins(match[4], origins, sources)
            if len(pointers) != 1:
                raise ValueError(f"an address that comes from {len(pointers)} pointers: {line.strip()}")
            inside = any(first <= number <= last for first, last in loops)
            bits = int(match[2] or 1) * int(match[3])
            listed.append(Access(pointers.pop(), match[1] == "st", bits, inside))
    return listed


def _origins(register: str, origins: dict[str, set[int]], sources: dict[str, set[str]]) -> set[int]:
    """Return the parameters that the value of a register comes from."""
    seen, ahead = set(), {register}
    while ahead:
        seen |= ahead
        ahead = {source for reached in ahead for source in sources.get(reached, ())} - seen
    return {parameter for reached in seen for parameter in origins.get(reached, ())}


def _loops(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Return the first and last line of every loop: a label, and a branch back to it."""
    labels = {match[1]: number for number, line in enumerate(lines) if (match := _LABEL.match(line))}
    branches = ((number, match[1]) for number, line in enumerate(lines) if (match := _BRANCH.search(line)))
    return [(labels[label], number) for number, label in branches if labels.get(label, number) < number]


@dataclass(frozen=True)
class Traffic:
    """How a kernel reads and writes its activations."""

    read: frozenset[int]
    """The parameters that point to activations which are read."""
    written: frozenset[int]
    vector_share: float
    """The share of bytes that accesses of at least 128 bits move."""
    narrowest_bits: int


def traffic(listed: Iterable[Access], activations: Container[int]) -> Traffic:
    """Judge the accesses to activations in loops, where tiles are streamed.

    Within a tensor an instruction weighs as many bytes as it is wide, since all instructions of a loop run equally
    often. Tensors weigh the same, since each is moved whole and once. So these do not change the share: loads of values
    per channel; the first tile of a split, which one kernel reads before its loop; a loop that is unrolled and has more
    instructions for one tensor. PTX is read, because a register of SASS no longer tells which tensor it points to;
    `ptxas` keeps the widths.

    Raises:
        ValueError: no activation is accessed in a loop.
    """
    streaming = [access for access in listed if access.in_loop and access.parameter in activations]
    if not streaming:
        raise ValueError("no activation is accessed in a loop")
    bits: dict[int, list[int]] = defaultdict(list)
    for access in streaming:
        bits[access.parameter].append(access.bits)
    shares = [sum(width for width in tensor if width >= FULL_BITS) / sum(tensor) for tensor in bits.values()]
    return Traffic(
        read=frozenset(access.parameter for access in streaming if not access.store),
        written=frozenset(access.parameter for access in streaming if access.store),
        vector_share=sum(shares) / len(shares),
        narrowest_bits=min(access.bits for access in streaming),
    )
