/* SPDX-License-Identifier: BSD-3-Clause */
/* Instructions whose operands, and whose own bytes, all straddle page boundaries.
 *
 * pageset_step(rdi = destination, rsi = source, rdx = pointer operand, rcx and r10 = stacks): all
 * five addresses straddle. The stacks are shared by all CPUs: all push the same bytes there.
 * Interrupts are taken on the ring-0 stack of the CPU.
 */
	.text
	.balign 4096
	.globl pageset_step, pageset_movs, pageset_call, pageset_target
	.skip 4096 - 1
	/* The first byte of movsq (48 a5) is the last of this page: 6 pages in one instruction. */
pageset_movs:
	movsq
	movq %rsp, %r8
	movq %rcx, %rsp
	jmp pageset_call
	.balign 4096
	.skip 4096 - 1
	/* call *(%rdx) (ff 12): code pair, operand pair, stack pair: 6 pages in one instruction. */
pageset_call:
	call *(%rdx)
	/* pushq m64 (ff 32): operand and stack straddle; another stack, for another value. */
	movq %r10, %rsp
	pushq (%rdx)
	popq %rax
	movq %r8, %rsp
	ret
pageset_step:
	cld
	jmp pageset_movs
	.balign 4096
	/* The target of the call, on a page of its own. */
pageset_target:
	incq %r9
	ret
	.balign 4096

	.section .note.GNU-stack, "", @progbits
