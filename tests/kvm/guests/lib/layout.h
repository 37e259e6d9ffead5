/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers shared by assembly and C. */
#ifndef PANDO_GUEST_LAYOUT_H
#define PANDO_GUEST_LAYOUT_H

#define MAX_CPUS 32

/* Every CPU owns one block, aligned to its size, so that both rings find it by masking rsp:
 *   page 0        counters and identity (struct cpu)
 *   pages 1..2    ring-0 stack
 *   pages 3..15   ring-3 stack
 * Nothing in a block is written by another CPU after start-up. */
#define CPU_BLOCK     0x10000
#define CPU_RING0_TOP 0x3000
#define CPU_RING3_TOP 0x10000

/* Offsets in struct cpu; lib.h asserts them. */
#define CPU_COUNTS     0 /* 256 interrupt counters of 8 bytes */
#define CPU_EXC_VECTOR 2048
#define CPU_EXC_ERROR  2056
#define CPU_EXC_RIP    2064
#define CPU_EXC_RSP    2072
#define CPU_EXC_CR2    2080
#define CPU_EXC_CS     2088
#define CPU_SLOW       2112 /* entry.S: slow_work */
#define CPU_SLOW_LEFT  2120
#define CPU_REARM      2128
#define CPU_PROBE_AT   2136 /* entry.S: probe */
#define CPU_PROBE_N    2144
#define CPU_PROBE_STEP 2152
#define CPU_PROBE_NEXT 2160
#define CPU_PROBE_OUT  2168

#define SEL_CODE0  0x08
#define SEL_DATA0  0x10
#define SEL_DATA3  0x1B
#define SEL_CODE3  0x23
#define SEL_CODE32 0x28
#define SEL_TSS    0x30

#define TRAMPOLINE  0x8000
#define RFLAGS_USER 0x202 /* interrupts on; ports by the TSS bitmap, not by IOPL */

#define LAPIC               0xFEE00000
#define LAPIC_ID            0x20
#define LAPIC_EOI           0xB0
#define LAPIC_TIMER_INITIAL 0x380

#define SYS_HALT_UNLESS  0 /* rdi, rsi: sleep until an interrupt, unless *rdi != rsi */
#define SYS_IRQ_OFF      1
#define SYS_IRQ_ON       2
#define SYS_RDMSR        3 /* rdi -> rax */
#define SYS_WRMSR        4 /* rdi = number, rsi = value */
#define SYS_TRIPLE_FAULT 5
#define VECTOR_NMI       2
#define VECTOR_UD        6
#define VECTOR_PROBE     0x4F
#define VECTOR_SPURIOUS  0xFF

#endif
