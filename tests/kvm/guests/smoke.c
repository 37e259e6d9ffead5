/* SPDX-License-Identifier: BSD-3-Clause */
/* Start-up of all vCPUs: each reports, writes pages of its own and checks what the others wrote. */
#include "lib.h"

const char guest_name[] = "smoke";

static uint64_t board[MAX_CPUS][512] PAGE_ALIGNED;
static uint64_t initialised[4] = {1, 22, 333, 4444}; /* .data, as loaded */
static uint32_t reported;

static uint64_t word(unsigned cpu, unsigned i, unsigned round)
{
    return mix64((uint64_t)cpu << 40 | (uint64_t)round << 20 | i);
}

static void check_tables(void)
{
    CHECK(madt_cpus == 0 || madt_cpus == ncpus, "the MADT lists %u CPUs, %u run", madt_cpus, ncpus);
    CHECK(mp_cpus == 0 || mp_cpus == ncpus, "the MP table lists %u CPUs, %u run", mp_cpus, ncpus);
    printf("MADT: %u, MP table: %u, TSC about %lu kHz\n", madt_cpus, mp_cpus, tsc_khz());
}

/* A floating-point register must survive exits to the host. */
static void check_fpu(unsigned cpu)
{
    uint64_t in = word(cpu, 7, 99), out;

    __asm__ volatile("movq %1, %%xmm5\n\t"
                     "outb %%al, $0x80\n\t"
                     "pause\n\t"
                     "movq %%xmm5, %0"
                     : "=r"(out)
                     : "r"(in)
                     : "xmm5");
    CHECK(out == in, "xmm5 changed across a port write: %lx, not %lx", out, in);
}

/* The 16550 has a scratch register: port reads must return what was written. */
static void check_port(unsigned cpu)
{
    console_lock();
    outb(PORT_CONSOLE + 7, (uint8_t)(0xA0 + cpu));
    uint8_t v = inb(PORT_CONSOLE + 7), lsr = inb(PORT_CONSOLE + 5);

    console_unlock();
    CHECK(v == (uint8_t)(0xA0 + cpu), "serial scratch register reads %x", v);
    CHECK((lsr & 0x60) == 0x60, "serial LSR reads %x", lsr);
}

void guest_main(unsigned cpu)
{
    const unsigned rounds = (unsigned)cmdline_u64("rounds", 8);
    const bool broken = cmdline_has("break");

    if (cpu == 0)
        check_tables();
    printf("vCPU %u is here, APIC id %u\n", cpu, this_cpu()->apic_id);
    __atomic_fetch_add(&reported, 1, __ATOMIC_SEQ_CST);
    CHECK(initialised[0] == 1 && initialised[1] == 22 && initialised[2] == 333 &&
              initialised[3] == 4444,
          "initialised data is wrong");
    check_fpu(cpu);
    check_port(cpu);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < 512; i++)
            board[cpu][i] = word(cpu, i, round);
        if (broken && round == rounds - 1 && cpu == ncpus - 1)
            board[cpu][511]++;
        barrier();
        for (unsigned c = 0; c < ncpus; c++)
            for (unsigned i = 0; i < 512; i++)
                CHECK(board[c][i] == word(c, i, round),
                      "round %u: word %u of vCPU %u is %lx, not %lx", round, i, c, board[c][i],
                      word(c, i, round));
        barrier();
    }
    CHECK(reported == ncpus, "%u of %u vCPUs reported", reported, ncpus);
}
