/* SPDX-License-Identifier: BSD-3-Clause */
/* The little C code that runs in ring 0: page tables, descriptor tables. Compiled without SSE. */
#include "lib.h"
#include "multiboot.h"

#define PAGE_ATTR  0xE7u /* present, rw, user, accessed, dirty, 2 MiB */
#define TABLE_ATTR 0x67u /* present, rw, user, accessed, dirty */
#define LARGE_PAGE 0x200000ull
#define MAX_GIB    64u

struct tss {
    uint32_t reserved0;
    uint64_t rsp0;
    uint8_t rest[90];
    uint16_t io_map;
    /* Ring 3 may use ports 0..0x3FF: PVM does not keep IOPL 3 but looks into this bitmap. */
    uint8_t io_bitmap[128];
    uint8_t io_end;
} __attribute__((packed));

_Static_assert(offsetof(struct tss, io_bitmap) == 104, "the 64-bit TSS");

/* What one CPU's descriptor-table registers point to. Each CPU has its own pages: the CPU writes
 * its busy bit into the GDT. */
struct tables {
    uint64_t gdt[8];
    struct tss tss;
} __attribute__((aligned(4096)));

struct gate {
    uint16_t offset0, selector;
    uint8_t ist, type;
    uint16_t offset1;
    uint32_t offset2, reserved;
};

struct pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

extern uint64_t gdt[6], boot_pml4[512], boot_pdpt[512], boot_pd[512];
extern uint32_t boot_magic, boot_info;
extern const char vector_entries[];

static struct tables tables[MAX_CPUS];
static struct gate idt[256] __attribute__((aligned(4096)));
static uint64_t page_directory[MAX_GIB][512] __attribute__((aligned(4096)));

/* Adds [start, end) to the identity map. Runs before any other CPU; nothing changes later. */
static void map_range(uint64_t start, uint64_t end)
{
    for (uint64_t at = start & -LARGE_PAGE; at < end; at += LARGE_PAGE) {
        uint64_t gib = at >> 30, slot = at >> 21 & 511;

        if (gib >= MAX_GIB)
            return;
        page_directory[gib][slot] = at | PAGE_ATTR;
        if (gib != 0)
            boot_pdpt[gib] = (uintptr_t)page_directory[gib] | TABLE_ATTR;
    }
}

static void build_page_tables(void)
{
    const struct mb_info *info = (const void *)(uintptr_t)boot_info;
    uint64_t map = info->mmap_addr, map_end = map + info->mmap_length;

    while (map < map_end) {
        const struct mb_mmap *m = (const void *)map;

        if (m->type == 1)
            map_range(m->addr, m->addr + m->len);
        map += m->size + sizeof(m->size);
    }
    map_range(TESTDEV, TESTDEV + 0x1000);
    map_range(LAPIC, LAPIC + 0x1000);
    /* The directory in use so far mapped 64 MiB, present or not; this replaces it. */
    boot_pdpt[0] = (uintptr_t)page_directory[0] | TABLE_ATTR;
    uintptr_t root = (uintptr_t)boot_pml4;

    __asm__ volatile("mov %0, %%cr3" : : "r"(root) : "memory");
}

static void build_idt(void)
{
    for (unsigned v = 0; v < 256; v++) {
        uintptr_t at = (uintptr_t)vector_entries + v * 16;

        idt[v] = (struct gate){
            .offset0 = (uint16_t)at,
            .selector = SEL_CODE0,
            .type = 0x8E, /* interrupt gate */
            .offset1 = (uint16_t)(at >> 16),
            .offset2 = (uint32_t)(at >> 32),
        };
    }
}

static void build_cpu_tables(unsigned cpu)
{
    struct tables *t = &tables[cpu];
    uint64_t base = (uintptr_t)&t->tss;

    for (unsigned i = 0; i < 6; i++)
        t->gdt[i] = gdt[i];
    /* An available 64-bit TSS. */
    t->gdt[6] = (sizeof(struct tss) - 1) | (base & 0xFFFFFF) << 16 | 0x89ull << 40 |
                (base >> 24 & 0xFF) << 56;
    t->gdt[7] = base >> 32;
    t->tss.io_map = offsetof(struct tss, io_bitmap);
    t->tss.io_end = 0xFF;
    t->tss.rsp0 = (uintptr_t)cpu_blocks[cpu] + CPU_RING0_TOP;
}

/* Called from boot.S. */
void ring0_init(void);
void ring0_load_tables(const void *block);

/* Runs once, on the first CPU. */
void ring0_init(void)
{
    build_page_tables();
    build_idt();
    for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++)
        build_cpu_tables(cpu);
}

/* Runs on every CPU; `block` is its own. */
void ring0_load_tables(const void *block)
{
    unsigned cpu = (unsigned)(((uintptr_t)block - (uintptr_t)cpu_blocks) / CPU_BLOCK);
    struct pointer gdt_pointer = {sizeof(tables[cpu].gdt) - 1, (uintptr_t)tables[cpu].gdt};
    struct pointer idt_pointer = {sizeof(idt) - 1, (uintptr_t)idt};
    uint32_t selector = SEL_TSS;

    __asm__ volatile("lgdt %0" : : "m"(gdt_pointer));
    __asm__ volatile("lidt %0" : : "m"(idt_pointer));
    __asm__ volatile("ltr %w0" : : "r"(selector));
}
