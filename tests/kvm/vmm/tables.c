/* SPDX-License-Identifier: BSD-3-Clause */
/* MP tables (Intel MultiProcessor specification 1.4) and ACPI RSDP, RSDT and MADT: both list every
 * LAPIC and one IOAPIC, so that any guest finds its CPUs. */
#include "vmm.h"

#include <string.h>

#define LAPIC_VERSION  0x14u
#define IOAPIC_VERSION 0x20u

struct writer {
    uint8_t *base, *at;
};

static void put(struct writer *w, const void *data, size_t len)
{
    memcpy(w->at, data, len);
    w->at += len;
}

static void put8(struct writer *w, uint8_t v)
{
    put(w, &v, sizeof(v));
}

static void put16(struct writer *w, uint16_t v)
{
    put(w, &v, sizeof(v));
}

static void put32(struct writer *w, uint32_t v)
{
    put(w, &v, sizeof(v));
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + p[i]);
    return (uint8_t)-sum;
}

static void mp_entries(struct writer *w, unsigned vcpus)
{
    for (unsigned i = 0; i < vcpus; i++) {
        put8(w, 0); /* processor */
        put8(w, (uint8_t)i);
        put8(w, LAPIC_VERSION);
        put8(w, i == 0 ? 3 : 1); /* enabled, bootstrap */
        put32(w, 0x600);         /* family 6 */
        put32(w, 0x201);         /* FPU, APIC */
        put(w, (const uint8_t[8]){0}, 8);
    }
    put(w, "\1\0ISA   ", 8); /* bus 0 */
    put8(w, 2);              /* IOAPIC */
    put8(w, (uint8_t)vcpus);
    put8(w, IOAPIC_VERSION);
    put8(w, 1);
    put32(w, GPA_IOAPIC);
    for (unsigned irq = 0; irq < 16; irq++) {
        put8(w, 3); /* interrupt assignment: ISA irq -> pin irq */
        put8(w, 0);
        put16(w, 0);
        put8(w, 0);
        put8(w, (uint8_t)irq);
        put8(w, (uint8_t)vcpus);
        put8(w, (uint8_t)irq);
    }
}

static void build_mp(struct vm *vm)
{
    unsigned vcpus = vm->opt->vcpus;
    uint8_t *fp = vm_low_ptr(vm, GPA_MP_TABLES, 16), *table = fp + 16;
    struct writer w = {table, table + 44};

    mp_entries(&w, vcpus);
    uint16_t length = (uint16_t)(w.at - table);

    w.at = table;
    put(&w, "PCMP", 4);
    put16(&w, length);
    put8(&w, 4); /* revision 1.4 */
    put8(&w, 0); /* checksum, below */
    put(&w, "PANDO   TESTVMM     ", 20);
    put32(&w, 0);
    put16(&w, 0);
    put16(&w, (uint16_t)(vcpus + 1 + 1 + 16));
    put32(&w, GPA_LAPIC);
    put32(&w, 0);
    table[7] = checksum(table, length);

    w.at = fp;
    put(&w, "_MP_", 4);
    put32(&w, GPA_MP_TABLES + 16);
    put8(&w, 1);
    put8(&w, 4);
    put8(&w, 0);
    put(&w, (const uint8_t[5]){0}, 5);
    fp[10] = checksum(fp, 16);
}

/* The header every ACPI table starts with; the writer then stands behind it. */
static void acpi_begin(struct writer *w, const char *signature, uint8_t revision)
{
    put(w, signature, 4);
    put32(w, 0);
    put8(w, revision);
    put8(w, 0);
    put(w, "PANDO TESTVMM ", 14);
    put32(w, 1);
    put(w, "PNDO", 4);
    put32(w, 1);
}

static void acpi_end(struct writer *w)
{
    uint32_t length = (uint32_t)(w->at - w->base);

    memcpy(w->base + 4, &length, sizeof(length));
    w->base[9] = checksum(w->base, length);
}

static void build_madt(struct vm *vm, uint8_t *at)
{
    struct writer w = {at, at};

    acpi_begin(&w, "APIC", 1);
    put32(&w, GPA_LAPIC);
    put32(&w, 0);
    for (unsigned i = 0; i < vm->opt->vcpus; i++) {
        put8(&w, 0);
        put8(&w, 8);
        put8(&w, (uint8_t)i);
        put8(&w, (uint8_t)i);
        put32(&w, 1); /* enabled */
    }
    put8(&w, 1);
    put8(&w, 12);
    put8(&w, (uint8_t)vm->opt->vcpus);
    put8(&w, 0);
    put32(&w, GPA_IOAPIC);
    put32(&w, 0);
    acpi_end(&w);
}

static void build_acpi(struct vm *vm)
{
    uint8_t *base = vm_low_ptr(vm, GPA_TABLES, 0x1000);
    struct writer w = {base, base};

    put(&w, "RSD PTR ", 8);
    put8(&w, 0);
    put(&w, "PANDO ", 6);
    put8(&w, 0); /* ACPI 1.0 */
    put32(&w, GPA_TABLES + 0x40);
    base[8] = checksum(base, 20);

    w = (struct writer){base + 0x40, base + 0x40};
    acpi_begin(&w, "RSDT", 1);
    put32(&w, GPA_TABLES + 0x80);
    acpi_end(&w);
    build_madt(vm, base + 0x80);
}

void tables_build(struct vm *vm)
{
    build_mp(vm);
    build_acpi(vm);
}
