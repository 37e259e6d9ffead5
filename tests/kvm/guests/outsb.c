/* SPDX-License-Identifier: BSD-3-Clause */
/* rep outsb of 4,096 bytes from each vCPU, out of buffers that straddle a page boundary, and
 * rep insb back from the serial scratch register. Whoever reads the console checks the blocks:
 * "[outsb vCPU SEQ " + filler letters + "]\n", 4,096 bytes each (tests/kvm/run-guests). */
#include "lib.h"

const char guest_name[] = "outsb";

#define BLOCK 4096u

static char buffers[MAX_CPUS][3 * PAGE] PAGE_ALIGNED;

static void put2(char *at, unsigned v)
{
    at[0] = (char)('0' + v / 10 % 10);
    at[1] = (char)('0' + v % 10);
}

static void build_block(char *b, unsigned cpu, unsigned seq)
{
    memcpy(b, "[outsb 00 00 ", 13);
    put2(b + 7, cpu);
    put2(b + 10, seq);
    for (unsigned i = 13; i < BLOCK - 2; i++)
        b[i] = (char)('a' + (i * 7 + cpu + seq) % 26);
    b[BLOCK - 2] = ']';
    b[BLOCK - 1] = '\n';
}

static uint64_t rep_insb(uint16_t port, void **to, uint64_t len)
{
    __asm__ volatile("rep insb" : "+D"(*to), "+c"(len) : "d"(port) : "memory");
    return len;
}

/* Reads the scratch register `len` times in one instruction; needs the console lock. */
static void check_insb(unsigned cpu, unsigned seq)
{
    uint8_t *in = (uint8_t *)buffers[cpu] + 2 * PAGE - 128;
    uint8_t v = (uint8_t)(cpu * 16 + seq), guard = (uint8_t)(v ^ 0xFF);
    void *to = in;

    memset(in, guard, 257);
    outb(PORT_CONSOLE + 7, v);
    uint64_t left = rep_insb(PORT_CONSOLE + 7, &to, 256);

    CHECK(left == 0 && to == in + 256, "rep insb: %lu bytes left, rdi off by %ld", left,
          (long)((uint8_t *)to - in) - 256);
    for (unsigned i = 0; i < 256; i++)
        CHECK(in[i] == v, "rep insb: byte %u is %x, not %x", i, in[i], v);
    CHECK(in[256] == guard, "rep insb wrote behind its end");
}

void guest_main(unsigned cpu)
{
    const unsigned blocks = (unsigned)cmdline_u64("blocks", 3);

    CHECK(blocks <= 99, "blocks is at most 99");
    for (unsigned seq = 0; seq < blocks; seq++) {
        char *b = buffers[cpu] + 1 + 100 * seq % 3000;
        const void *at = b;

        build_block(b, cpu, seq);
        if (cmdline_has("break") && cpu == ncpus - 1)
            b[2000] = '!';
        console_lock();
        uint64_t left = rep_outsb(PORT_CONSOLE, &at, BLOCK);

        check_insb(cpu, seq);
        console_unlock();
        CHECK(left == 0, "rep outsb left %lu bytes", left);
        CHECK(at == b + BLOCK, "rep outsb: rsi off by %ld", (long)((const char *)at - b) - BLOCK);
    }
}
