/* SPDX-License-Identifier: BSD-3-Clause */
/* From the multiboot entry, or from a start-up IPI, to C code in ring 3 of long mode.
 *
 * On PVM everything below ring 3 is interpreted, so this file and ring0.c are all that runs there.
 */
#include "layout.h"

	.section .multiboot, "a"
	.balign 4
	.long 0x1BADB002
	.long 0x3 /* page-aligned modules, memory information */
	.long -(0x1BADB002 + 0x3)

	.text
	.code32
	.globl _start
_start:
	cli
	cld
	movl %eax, boot_magic
	movl %ebx, boot_info
	lgdt gdt_pointer
	ljmp $SEL_CODE32, $1f
1:	movl $SEL_DATA0, %ecx
	movl %ecx, %ds
	movl %ecx, %es
	movl %ecx, %ss
	movl $(cpu_blocks + CPU_RING0_TOP), %esp
	/* One 2 MiB page for now: paging must be on before 64-bit C code can build the rest. */
	movl $boot_pdpt + 0x67, boot_pml4
	movl $boot_pd + 0x67, boot_pdpt
	movl $0, %ecx
2:	movl %ecx, %eax
	shll $21, %eax
	orl $0xE7, %eax /* present, rw, user, accessed, dirty, 2 MiB */
	movl %eax, boot_pd(, %ecx, 8)
	incl %ecx
	cmpl $32, %ecx /* 64 MiB hold the image */
	jb 2b
	call enter_long_mode
	.code64
	call ring0_init
	movl $cpu_blocks, %ebx
	jmp start_cpu

	.code32
/* Returns in 64-bit code (the return address is 4 bytes on the way in). */
enter_long_mode:
	popl %esi
	movl $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
	movl %eax, %cr4
	movl $boot_pml4, %eax
	movl %eax, %cr3
	movl $0xC0000080, %ecx
	rdmsr
	orl $0x100, %eax /* LME */
	wrmsr
	movl $0x80000023, %eax /* PG, NE, MP, PE */
	orl $0x10, %eax
	movl %eax, %cr0
	ljmp $SEL_CODE0, $1f
	.code64
1:	movl %esi, %esi
	jmp *%rsi

/* rbx = this CPU's block: loads its descriptor tables and leaves for ring 3. */
start_cpu:
	leaq CPU_RING0_TOP(%rbx), %rsp
	movq %rbx, %rdi
	call ring0_load_tables
	movl $SEL_DATA3, %eax
	movl %eax, %ds
	movl %eax, %es
	pushq $SEL_DATA3
	leaq (CPU_RING3_TOP - 8)(%rbx), %rax /* as after a call */
	pushq %rax
	pushq $RFLAGS_USER
	pushq $SEL_CODE3
	pushq $rt_enter
	xorl %ebp, %ebp
	iretq

/* --- the other CPUs: copied to TRAMPOLINE, started there in real mode --- */
	.globl trampoline, trampoline_end
	.code16
trampoline:
	cli
	cld
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl TRAMPOLINE + (trampoline_gdt_pointer - trampoline)
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $SEL_CODE32, $trampoline32
	.balign 8
trampoline_gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
trampoline_end:

	.code32
trampoline32:
	movl $SEL_DATA0, %ecx
	movl %ecx, %ds
	movl %ecx, %es
	movl %ecx, %ss
	movl LAPIC + LAPIC_ID, %ebx
	shrl $24, %ebx
	movzbl cpu_of_apic(%ebx), %ebx
	shll $16, %ebx
	addl $cpu_blocks, %ebx
	leal CPU_RING0_TOP(%ebx), %esp
	call enter_long_mode
	.code64
	jmp start_cpu

	.data
	.balign 16
	.globl gdt
gdt:
	.quad 0
	.quad 0x00AF9B000000FFFF /* 08 ring-0 code, 64-bit */
	.quad 0x00CF93000000FFFF /* 10 ring-0 data */
	.quad 0x00CFF3000000FFFF /* 1B ring-3 data */
	.quad 0x00AFFB000000FFFF /* 23 ring-3 code, 64-bit */
	.quad 0x00CF9B000000FFFF /* 28 ring-0 code, 32-bit */
gdt_end:
	.word 0
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt

	.globl boot_magic, boot_info
boot_magic:
	.long 0
boot_info:
	.long 0

	.section .bss
	.balign 4096
	.globl boot_pml4, boot_pdpt, boot_pd
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4096

	.section .note.GNU-stack, "", @progbits
