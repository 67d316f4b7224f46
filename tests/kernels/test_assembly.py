"""Reading compiled code: what counts, and what must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptwins.kernels.offline import assembly
from deeptwins.kernels.offline.assembly import Access

OPCODES = st.sampled_from(["FFMA", "IADD3.X", "LDG.E.128", "STG.E.EF.64", "BAR.SYNC.DEFER_BLOCKING", "BRA", "EXIT"])
OPERANDS = st.sampled_from(["", " R4, R8, R2, R1", " R12, desc[UR6][R2.64+0x10]", " `(.L_x_3)"])
PREDICATES = st.sampled_from(["", "@P0 ", "@!P1 ", "@!UP3 ", "@PT "])

PTX = """
.visible .entry kernel(
	.param .u64 .ptr .global .align 1 kernel_param_0,
	.param .u64 .ptr .global .align 1 kernel_param_1,
	.param .u32 kernel_param_2
)
{
	ld.param.b32 	%r9, [kernel_param_2];
	ld.param.b64 	%rd1, [kernel_param_0];
	mul.wide.s32 	%rd2, %r9, 2;
	add.s64 	%rd3, %rd1, %rd2;
	ld.global.b16 { %rs1 }, [ %rd3 + 0 ];
	mov.b64 	%rd8, %rd3;
$L__BB0_2:                              // =>This Inner Loop Header: Depth=1
	ld.param.b64 	%rd4, [kernel_param_1];
	createpolicy.fractional.L2::evict_first.b64 %rd6, 1.0;
	@%p1 ld.global.L1::evict_first.L2::cache_hint.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd8 + 0 ], %rd6;
	mad.wide.s32 	%rd5, %r9, 2, %rd4;
	@!%p2 st.global.v2.b16 [ %rd5 + 16 ], { %rs2, %rs3 };
	add.s64 	%rd8, %rd8, 8192;
	@%p3 bra 	$L__BB0_2;
	@%p1 st.global.b32 [ %rd5 + 0 ], { %r1 };
	ret;
}
"""


def sass(instructions):
    """Print (opcode, operands, predicate) as `nvdisasm` does."""
    head = '\t.section\t.text.kernel,"ax",@progbits\n.text.kernel:\n'
    lines = [
        f"        /*{16 * i:04x}*/              {predicate:>6}{opcode}{operands} ;"
        for i, (opcode, operands, predicate) in enumerate(instructions)
    ]
    return head + "\n.L_x_0:\n".join(lines) + "\n"


@given(st.lists(st.tuples(OPCODES, OPERANDS, PREDICATES), max_size=8), st.data())
def test_operands_are_no_part_of_the_hash(code, data):
    """Other registers, addresses and predicates, and padding, leave the hash as it is."""
    other = [(opcode, data.draw(OPERANDS), data.draw(PREDICATES)) for opcode, _, _ in code] + [("NOP", "", "")]

    found = assembly.opcodes(sass(code))

    assert list(found) == [opcode for opcode, _, _ in code]
    assert assembly.sha256(assembly.opcodes(sass(other))) == assembly.sha256(found)


@given(st.lists(OPCODES, max_size=6), st.lists(OPCODES, max_size=6))
def test_opcodes_are_the_hash(one, other):
    """Two codes have the same hash if and only if their opcodes, modifiers included, are the same in the same order."""
    assert (assembly.sha256(one) == assembly.sha256(other)) == (one == other)


def test_counting():
    """Instructions are counted by operation, whatever follows the dot."""
    assert assembly.count(["LDL.64", "STL", "LDS", "BAR.SYNC", "LDL"], "LDL", "STL") == 3


def test_an_address_is_traced_to_its_pointer():
    """Every access is known by the parameter it comes from, by its direction, width, and whether it is in a loop."""
    assert assembly.accesses(PTX) == [
        Access(parameter=0, store=False, bits=16, in_loop=False),
        Access(parameter=0, store=False, bits=128, in_loop=True),
        Access(parameter=1, store=True, bits=32, in_loop=True),
        Access(parameter=1, store=True, bits=32, in_loop=False),
    ]


def test_an_address_of_two_pointers_is_refused():
    """Where a pointer cannot be told nothing is guessed."""
    with pytest.raises(ValueError, match="comes from 2 pointers"):
        assembly.accesses(PTX.replace("%rd1, %rd2", "%rd1, %rd4"))


def test_a_kernel_without_a_loop_is_refused():
    """There is no share of nothing."""
    with pytest.raises(ValueError, match="no activation"):
        assembly.traffic(assembly.accesses(PTX.replace("bra", "bar")), [0, 1])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9))
def test_the_share_is_of_bytes(wide, narrow, outside):
    """Tensors weigh the same, however a loop is unrolled; what is outside loops, or no activation, has no weight."""
    found = [
        *[Access(0, store=False, bits=128, in_loop=True)] * wide,
        *[Access(1, store=True, bits=16, in_loop=True)] * narrow,
        *[Access(0, store=False, bits=16, in_loop=False)] * outside,
        *[Access(2, store=False, bits=8, in_loop=True)] * outside,
    ]

    moved = assembly.traffic(found, [0, 1])

    assert (moved.vector_share, moved.narrowest_bits) == (0.5, 16)
    assert (moved.read, moved.written) == ({0}, {1})
