/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest RAM (memory/ram.h), as far as it needs no userfaultfd: what is given back to the host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/memory/ram.h"

enum { PAGES = 4, SECTORS = RAM_PAGE / 512 };

static struct ram two_blocks(void)
{
    struct ram r = {.blocks = 2, .pages = 2 * PAGES};
    for (uint32_t i = 0; i < 2; i++) {
        int fd = memfd_create("ram", MFD_CLOEXEC);
        assert_true(fd >= 0 && ftruncate(fd, PAGES * RAM_PAGE) == 0);
        void *alias = mmap(NULL, PAGES * RAM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        assert_true(alias != MAP_FAILED);
        memset(alias, 0x5A, PAGES * RAM_PAGE);
        r.block[i] = (struct ram_block){
            .base_page = i * PAGES, .pages = PAGES, .alias = alias, .memfd = fd, .uffd = -1};
    }
    return r;
}

static long long pages_of(const struct ram *r, uint32_t block)
{
    struct stat s;
    assert_int_equal(fstat(r->block[block].memfd, &s), 0);
    return (long long)s.st_blocks / SECTORS;
}

static void what_a_device_knows_is_not_given_back(void **state)
{
    (void)state;
    struct ram r = two_blocks();
    ram_keep(&r, 1);
    assert_int_equal(ram_punch(&r, 2), 0);
    assert_int_equal(ram_punch(&r, PAGES + 2), 0);
    assert_int_equal(ram_punch(&r, 2 * PAGES), 0); /* nobody's */
    assert_int_equal(pages_of(&r, 0), PAGES - 1);
    assert_int_equal(pages_of(&r, 1), PAGES);
    assert_int_equal(ram_frame(&r, 2)[9], 0);
    assert_int_equal(ram_frame(&r, PAGES + 2)[9], 0x5A);
    ram_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_a_device_knows_is_not_given_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
