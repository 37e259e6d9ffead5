/* SPDX-License-Identifier: BSD-3-Clause */
/* Ring 0 after start-up: count an interrupt, answer a system call, hand an exception to ring 3. */
#include "layout.h"

	.text
	.code64

/* One entry of 16 bytes per vector: pushes an error code where the CPU does not, and the vector. */
	.balign 16
	.globl vector_entries
vector_entries:
	.set vector, 0
	.rept 256
	.balign 16
	.if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21)
	.else
	pushq $0
	.endif
	pushq $vector
	.if vector == VECTOR_PROBE
	jmp probe
	.elseif (vector >= 32) && (vector != VECTOR_SPURIOUS)
	jmp interrupt
	.elseif (vector == VECTOR_NMI) || (vector == VECTOR_SPURIOUS)
	jmp interrupt_without_eoi
	.elseif vector == VECTOR_UD
	jmp invalid_opcode
	.else
	jmp exception
	.endif
	.set vector, vector + 1
	.endr

/* Frame: vector, error code, rip, cs, rflags, rsp, ss. */
interrupt:
	pushq %rax
	pushq %rcx
	movq %rsp, %rax
	andq $-CPU_BLOCK, %rax
	movq 16(%rsp), %rcx
	incq CPU_COUNTS(%rax, %rcx, 8)
	movl $(LAPIC + LAPIC_EOI), %eax
	movl $0, (%rax)
	movq %rsp, %rax
	andq $-CPU_BLOCK, %rax
	cmpq $0, CPU_SLOW_LEFT(%rax)
	jne slow_work
interrupt_end:
	popq %rcx
	popq %rax
	addq $16, %rsp
	iretq

/* Works for CPU_SLOW cycles with interrupts off, then sets the timer anew if CPU_REARM is not 0. */
slow_work:
	decq CPU_SLOW_LEFT(%rax)
	pushq %rdx
	pushq %rbx
	movq %rax, %rbx
	rdtsc
	shlq $32, %rdx
	orq %rdx, %rax
	addq CPU_SLOW(%rbx), %rax
	movq %rax, %rcx
1:	rdtsc
	shlq $32, %rdx
	orq %rdx, %rax
	cmpq %rcx, %rax
	jb 1b
	movl CPU_REARM(%rbx), %edx
	testl %edx, %edx
	jz 2f
	movl $(LAPIC + LAPIC_TIMER_INITIAL), %eax
	movl %edx, (%rax)
2:	popq %rbx
	popq %rdx
	jmp interrupt_end

/* Loads first, counts then: lib.h, struct cpu. */
probe:
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rbx
	pushq %rsi
	movq %rsp, %rax
	andq $-CPU_BLOCK, %rax
	movq CPU_PROBE_AT(%rax), %rcx
	movq CPU_PROBE_OUT(%rax), %rdx
	movq CPU_PROBE_N(%rax), %rbx
1:	movl (%rcx), %esi
	movl %esi, (%rdx)
	addq CPU_PROBE_STEP(%rax), %rcx
	addq $4, %rdx
	decq %rbx
	jnz 1b
	movq %rdx, CPU_PROBE_OUT(%rax)
	movq CPU_PROBE_NEXT(%rax), %rcx
	addq %rcx, CPU_PROBE_AT(%rax)
	incq CPU_COUNTS + 8 * VECTOR_PROBE(%rax)
	movl $(LAPIC + LAPIC_EOI), %ecx
	movl $0, (%rcx)
	popq %rsi
	popq %rbx
	popq %rdx
	popq %rcx
	popq %rax
	addq $16, %rsp
	iretq

interrupt_without_eoi:
	pushq %rax
	pushq %rcx
	movq %rsp, %rax
	andq $-CPU_BLOCK, %rax
	movq 16(%rsp), %rcx
	incq CPU_COUNTS(%rax, %rcx, 8)
	popq %rcx
	popq %rax
	addq $16, %rsp
	iretq

/* Notes what happened and continues in ring 3 on a fresh stack: rt_exception prints and ends. */
exception:
	pushq %rax
	pushq %rcx
	movq %rsp, %rax
	andq $-CPU_BLOCK, %rax
	movq 16(%rsp), %rcx
	movq %rcx, CPU_EXC_VECTOR(%rax)
	movq 24(%rsp), %rcx
	movq %rcx, CPU_EXC_ERROR(%rax)
	movq 32(%rsp), %rcx
	movq %rcx, CPU_EXC_RIP(%rax)
	movq 40(%rsp), %rcx
	movq %rcx, CPU_EXC_CS(%rax)
	movq 56(%rsp), %rcx
	movq %rcx, CPU_EXC_RSP(%rax)
	movq %cr2, %rcx
	movq %rcx, CPU_EXC_CR2(%rax)
	leaq (CPU_RING3_TOP - 8)(%rax), %rcx
	leaq CPU_RING0_TOP(%rax), %rsp
	pushq $SEL_DATA3
	pushq %rcx
	pushq $RFLAGS_USER
	pushq $SEL_CODE3
	pushq $rt_exception
	iretq

/* System calls are a #UD at one known place: on PVM "int 0x80" raises #UD by itself and SYSCALL
 * arrives without leaving ring 3, while exceptions work as on hardware.
 * rdi, rsi = arguments, rdx = number, result in rax; rcx and rdx are clobbered. */
	.globl system_call
system_call:
	ud2
	ret

invalid_opcode:
	cmpq $system_call, 16(%rsp)
	jne exception
	addq $16, %rsp /* now rip, cs, rflags, rsp, ss */
	addq $2, (%rsp)
	movq %rdx, %rax
	cmpl $SYS_HALT_UNLESS, %eax
	je sys_halt_unless
	cmpl $SYS_IRQ_OFF, %eax
	je sys_irq_off
	cmpl $SYS_IRQ_ON, %eax
	je sys_irq_on
	cmpl $SYS_RDMSR, %eax
	je sys_rdmsr
	cmpl $SYS_WRMSR, %eax
	je sys_wrmsr
	cmpl $SYS_TRIPLE_FAULT, %eax
	je sys_triple_fault
	iretq

/* Interrupts are off between the check and the halt, so that no wake-up is lost. */
sys_halt_unless:
	cmpq %rsi, (%rdi)
	jne 1f
	sti
	hlt
	cli
1:	iretq

sys_irq_off:
	andq $-0x201, 16(%rsp)
	iretq

sys_irq_on:
	orq $0x200, 16(%rsp)
	iretq

sys_rdmsr:
	movl %edi, %ecx
	rdmsr
	shlq $32, %rdx
	movl %eax, %eax
	orq %rdx, %rax
	iretq

sys_wrmsr:
	movl %edi, %ecx
	movl %esi, %eax
	movq %rsi, %rdx
	shrq $32, %rdx
	wrmsr
	iretq

/* No IDT, then an exception. */
sys_triple_fault:
	lidt empty_idt
	ud2

	.data
	.balign 8
empty_idt:
	.skip 16

	.section .note.GNU-stack, "", @progbits
