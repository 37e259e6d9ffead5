/* SPDX-License-Identifier: BSD-3-Clause */
/* Every vCPU hits the MMIO test device of pando-testvmm and lets it send MSIs to other vCPUs. */
#include "lib.h"

const char guest_name[] = "mmio";

#define REG_SCRATCH     0x00u
#define REG_WRITES      0x08u
#define REG_LAST_WRITER 0x10u
#define REG_DOORBELL    0x18u
#define REG_READER      0x20u
#define REG_OWN(cpu)    (0x100u + 8 * (cpu))
#define VECTOR_MSI      0x51u

static uint64_t read64(uint32_t reg)
{
    uint64_t v;

    __asm__ volatile("movq (%1), %0" : "=r"(v) : "r"((uintptr_t)TESTDEV + reg) : "memory");
    return v;
}

static void write64(uint32_t reg, uint64_t v)
{
    __asm__ volatile("movq %0, (%1)" : : "r"(v), "r"((uintptr_t)TESTDEV + reg) : "memory");
}

#define NARROW(bits, suffix, constraint)                                                           \
    static uint##bits##_t read##bits(uint32_t reg)                                                 \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        __asm__ volatile("mov" suffix " (%1), %0"                                                  \
                         : "=" constraint(v)                                                       \
                         : "r"((uintptr_t)TESTDEV + reg)                                           \
                         : "memory");                                                              \
        return v;                                                                                  \
    }                                                                                              \
    static void write##bits(uint32_t reg, uint##bits##_t v)                                        \
    {                                                                                              \
        __asm__ volatile("mov" suffix " %0, (%1)"                                                  \
                         :                                                                         \
                         : constraint(v), "r"((uintptr_t)TESTDEV + reg)                            \
                         : "memory");                                                              \
    }
NARROW(8, "b", "q")
NARROW(16, "w", "r")
NARROW(32, "l", "r")

static void check_narrow(unsigned cpu)
{
    uint32_t reg = REG_OWN(cpu);

    write64(reg, 0x1122334455667788ull);
    write8(reg + 1, 0xAB);
    write16(reg + 2, 0xCDEF);
    write32(reg + 4, 0x01020304);
    uint64_t v = read64(reg);

    CHECK(v == 0x01020304CDEFAB88ull, "narrow writes made %lx", v);
    CHECK(read8(reg + 1) == 0xAB, "8-bit read");
    CHECK(read16(reg + 2) == 0xCDEF, "16-bit read");
    CHECK(read32(reg + 4) == 0x01020304, "32-bit read");
}

/* Each CPU alone for a moment, under the console's lock: the device saw this very CPU. */
static void check_identity(unsigned cpu)
{
    uint64_t v = mix64(cpu);

    console_lock();
    write64(REG_SCRATCH, v);
    uint64_t got = read64(REG_SCRATCH), writer = read64(REG_LAST_WRITER),
             reader = read64(REG_READER);

    console_unlock();
    CHECK(got == v, "scratch is %lx, not %lx", got, v);
    /* The VMM numbers its vCPUs by APIC id. */
    CHECK(writer == this_cpu()->apic_id, "the device saw vCPU %lu write", writer);
    CHECK(reader == this_cpu()->apic_id, "the device saw vCPU %lu read", reader);
}

static void contend(unsigned cpu, uint64_t iters)
{
    for (uint64_t i = 0; i < iters; i++) {
        uint64_t v = mix64(cpu << 20 | i);

        write64(REG_OWN(cpu), v);
        write64(REG_SCRATCH, v);
        uint64_t got = read64(REG_OWN(cpu));

        CHECK(got == v, "own register is %lx, not %lx", got, v);
    }
}

/* MSIs of one vector coalesce while pending, so each waits for the one before it. */
static void send_msis(unsigned cpu, uint64_t iters)
{
    unsigned to = (cpu + 1) % ncpus;
    uint64_t address = LAPIC | (uint64_t)cpu_data(to)->apic_id << 12;

    for (uint64_t i = 1; i <= iters; i++) {
        write64(REG_DOORBELL, address << 32 | VECTOR_MSI);
        WAIT_UNTIL(irq_count(to, VECTOR_MSI) >= i, "MSI %lu from vCPU %u to %u", i, cpu, to);
    }
}

void guest_main(unsigned cpu)
{
    const uint64_t iters = cmdline_u64("iters", 500), msis = cmdline_u64("msis", 100);

    if (cpu == 0) {
        CHECK(read64(REG_WRITES) == 0, "the device counts writes at start");
        CHECK(read64(0xFF8) == ~0ull, "an unused register does not read as all ones");
    }
    barrier();
    check_narrow(cpu);
    check_identity(cpu);
    barrier();
    contend(cpu, iters);
    if (cpu == 0 && cmdline_has("break"))
        write64(REG_SCRATCH, 0);
    barrier();
    uint64_t want = (iters + 1) * ncpus, writes = read64(REG_WRITES);

    CHECK(writes == want, "the device counted %lu writes, not %lu", writes, want);
    send_msis(cpu, msis);
    barrier();
    CHECK(irq_count(cpu, VECTOR_MSI) == msis, "%lu MSIs came, not %lu", irq_count(cpu, VECTOR_MSI),
          msis);
    CHECK(read64(REG_DOORBELL) == msis * ncpus, "the device sent %lu MSIs, not %lu",
          read64(REG_DOORBELL), msis * ncpus);
    if (cpu == 0)
        printf("%lu writes and %lu MSIs, all counted\n", writes, msis * ncpus);
}
