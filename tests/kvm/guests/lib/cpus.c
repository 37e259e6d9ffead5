/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds the CPUs in the ACPI or MP tables and starts them with INIT and start-up IPIs. */
#include "lib.h"

#define BIOS_START 0xE0000u
#define BIOS_END   0x100000u

unsigned ncpus = 1;
unsigned madt_cpus, mp_cpus;
uint8_t cpu_of_apic[256]; /* read by the trampoline */
struct cpu_ids cpu_ids;

extern const uint8_t trampoline[], trampoline_end[];

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static bool sum_is_zero(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + p[i]);
    return sum == 0;
}

static const uint8_t *scan(const char *signature, size_t len, size_t table)
{
    for (uintptr_t at = BIOS_START; at < BIOS_END; at += 16) {
        const uint8_t *p = (const uint8_t *)at;

        if (memcmp(p, signature, len) == 0 && sum_is_zero(p, table))
            return p;
    }
    return NULL;
}

/* Lists the enabled CPUs of one table: `ids` gets at most MAX_CPUS, the result counts all. */
static unsigned read_madt(uint8_t *ids)
{
    const uint8_t *rsdp = scan("RSD PTR ", 8, 20);
    unsigned n = 0;

    if (rsdp == NULL)
        return 0;
    const uint8_t *rsdt = (const uint8_t *)(uintptr_t)get32(rsdp + 16);

    if (!sum_is_zero(rsdt, get32(rsdt + 4)))
        fail("RSDT checksum");
    for (uint32_t at = 36; at + 4 <= get32(rsdt + 4); at += 4) {
        const uint8_t *t = (const uint8_t *)(uintptr_t)get32(rsdt + at);

        if (memcmp(t, "APIC", 4) != 0)
            continue;
        CHECK(sum_is_zero(t, get32(t + 4)), "MADT checksum");
        CHECK(get32(t + 36) == LAPIC, "MADT: LAPIC at %x", get32(t + 36));
        for (uint32_t e = 44; e + 2 <= get32(t + 4) && t[e + 1] >= 2; e += t[e + 1])
            if (t[e] == 0 && (get32(t + e + 4) & 1) != 0) {
                if (n < MAX_CPUS)
                    ids[n] = t[e + 3];
                n++;
            }
    }
    return n;
}

static unsigned read_mp(uint8_t *ids)
{
    const uint8_t *fp = scan("_MP_", 4, 16);
    unsigned n = 0;

    if (fp == NULL || get32(fp + 4) == 0)
        return 0;
    const uint8_t *t = (const uint8_t *)(uintptr_t)get32(fp + 4);
    unsigned length = t[4] | t[5] << 8, entries = t[34] | t[35] << 8;

    CHECK(memcmp(t, "PCMP", 4) == 0 && sum_is_zero(t, length), "MP table checksum");
    for (const uint8_t *e = t + 44; entries > 0; entries--) {
        if (*e == 0 && (e[3] & 1) != 0) {
            if (n < MAX_CPUS)
                ids[n] = e[1];
            n++;
        }
        e += *e == 0 ? 20 : 8;
    }
    return n;
}

void cpus_find(void)
{
    uint8_t madt[MAX_CPUS], mp[MAX_CPUS];
    uint8_t boot_id = (uint8_t)this_cpu()->apic_id;

    madt_cpus = read_madt(madt);
    mp_cpus = read_mp(mp);
    const uint8_t *ids = madt_cpus > 0 ? madt : mp;
    unsigned found = madt_cpus > 0 ? madt_cpus : mp_cpus;

    CHECK(found > 0, "neither ACPI nor MP tables list a CPU");
    CHECK(found <= MAX_CPUS, "%u vCPUs; this guest has room for %u", found, MAX_CPUS);
    /* This CPU is number 0, whatever its place in the table. */
    cpu_ids.apic[0] = boot_id;
    for (unsigned i = 0; i < found; i++)
        if (ids[i] != boot_id) {
            CHECK(ncpus < found, "the tables do not list APIC id %u, which runs", boot_id);
            cpu_ids.apic[ncpus++] = ids[i];
        }
    for (unsigned i = 0; i < ncpus; i++)
        cpu_of_apic[cpu_ids.apic[i]] = (uint8_t)i;
}

static void delay_us(uint64_t us)
{
    uint64_t end = rdtsc() + tsc_khz() * us / 1000;

    while (rdtsc() < end)
        cpu_pause();
}

/* One after the other, or with start=broadcast all at once. */
void cpus_start(void)
{
    const uint32_t page = TRAMPOLINE >> 12;
    bool broadcast = cmdline_is("start", "broadcast");

    memcpy((void *)(uintptr_t)TRAMPOLINE, trampoline, (size_t)(trampoline_end - trampoline));
    for (unsigned i = 1; i < (broadcast ? 2 : ncpus) && ncpus > 1; i++) {
        uint32_t to = broadcast ? ICR_OTHERS : 0;

        apic_icr(cpu_ids.apic[i], to | ICR_INIT | ICR_ASSERT);
        delay_us(200);
        apic_icr(cpu_ids.apic[i], to | ICR_STARTUP | ICR_ASSERT | page);
        delay_us(200);
        apic_icr(cpu_ids.apic[i], to | ICR_STARTUP | ICR_ASSERT | page);
    }
    for (unsigned i = 1; i < ncpus; i++) {
        WAIT_UNTIL(__atomic_load_n(&cpu_data(i)->online, __ATOMIC_ACQUIRE) != 0,
                   "start of CPU %u (APIC id %u)", i, cpu_ids.apic[i]);
        CHECK(cpu_data(i)->apic_id == cpu_ids.apic[i], "CPU %u has APIC id %u, not %u", i,
              cpu_data(i)->apic_id, cpu_ids.apic[i]);
    }
}
