/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/memory/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/host/memory.h"
#include "dataplane/memory/uffd.h"

static int refuse(char err[RAM_ERROR_MAX], const char *what)
{
    snprintf(err, RAM_ERROR_MAX, "%s", what);
    return -EINVAL;
}

static int check_range(const struct ram *r, uint64_t base_page, uint64_t pages, uint64_t hva,
                       char err[RAM_ERROR_MAX])
{
    if (r->blocks == RAM_BLOCKS)
        return refuse(err, "guest RAM: more than 8 blocks");
    if (base_page != r->pages || pages == 0)
        return refuse(err, "guest RAM: a block must follow the last one and must not be empty");
    if (pages > r->pages_max - r->pages) {
        snprintf(err, RAM_ERROR_MAX,
                 "guest RAM: %llu MiB and more are wanted, the configuration allows %llu; raise "
                 "vm.ram_mib",
                 (unsigned long long)((r->pages + pages) / 256),
                 (unsigned long long)(r->pages_max / 256));
        return -ENOSPC;
    }
    if (hva % RAM_PAGE != 0 || hva > UINT64_MAX - pages * RAM_PAGE)
        return refuse(err, "guest RAM: its address is not aligned to 4096 bytes");
    return 0;
}

static int check_memfd(int memfd, uint64_t pages, char err[RAM_ERROR_MAX])
{
    struct stat st;
    struct statfs fs;
    if (fstat(memfd, &st) != 0 || fstatfs(memfd, &fs) != 0 || !S_ISREG(st.st_mode))
        return refuse(err, "guest RAM: not a file; start the VMM with RAM in a shared memfd");
    if (fs.f_type == HUGETLBFS_MAGIC)
        return refuse(err, "guest RAM: hugetlbfs cannot be kept coherent in units of 4096 bytes; "
                           "use a memfd without hugepages");
    if (fs.f_type != TMPFS_MAGIC)
        return refuse(err,
                      "guest RAM: not shared memory; start the VMM with RAM in a shared memfd");
    if ((uint64_t)st.st_size < pages * RAM_PAGE)
        return refuse(err, "guest RAM: the memfd is smaller than the block");
    return 0;
}

static int check_uffd(int uffd, char err[RAM_ERROR_MAX])
{
    char path[64], target[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", uffd);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n <= 0)
        return refuse(err, "guest RAM: no userfaultfd was passed");
    target[n] = '\0';
    if (strcmp(target, "anon_inode:[userfaultfd]") != 0)
        return refuse(err, "guest RAM: the second descriptor is not a userfaultfd");
    return 0;
}

int ram_add(struct ram *r, int memfd, int uffd, uint64_t base_page, uint64_t pages, uint64_t hva,
            char err[RAM_ERROR_MAX])
{
    int rc = check_range(r, base_page, pages, hva, err);
    if (rc == 0)
        rc = check_memfd(memfd, pages, err);
    if (rc == 0)
        rc = check_uffd(uffd, err);
    if (rc != 0)
        return rc;
    /* A VMM that cut the file under us would kill us with SIGBUS. Best effort: a memfd made without
     * sealing stays as it is, and then the SIGBUS handler of the program says what happened. */
    (void)fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK);
    size_t size = (size_t)pages * RAM_PAGE;
    uint8_t *alias = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memfd, 0);
    if (alias == MAP_FAILED) {
        rc = -errno;
        snprintf(err, RAM_ERROR_MAX, "guest RAM: mapping %zu bytes: %s", size, strerror(-rc));
        return rc;
    }
    madvise(alias, size, MADV_NOHUGEPAGE); /* race 8 */
    rc = r->bound ? host_memory_bind(alias, size, r->numa_node) : 0;
    if (rc != 0) {
        munmap(alias, size);
        snprintf(err, RAM_ERROR_MAX,
                 "guest RAM: ram_node %d: %s; allowed: a NUMA node of this host that its cpuset "
                 "(mems) has, or -1",
                 r->numa_node, strerror(-rc));
        return rc;
    }
    fcntl(uffd, F_SETFL, fcntl(uffd, F_GETFL) | O_NONBLOCK);
    r->block[r->blocks++] = (struct ram_block){.base_page = base_page,
                                               .pages = pages,
                                               .hva = hva,
                                               .alias = alias,
                                               .memfd = memfd,
                                               .uffd = uffd};
    r->pages += pages;
    return 0;
}

const struct ram_block *ram_block_of(const struct ram *r, uint64_t page)
{
    for (uint32_t i = 0; i < r->blocks; i++)
        if (page - r->block[i].base_page < r->block[i].pages)
            return &r->block[i];
    return NULL;
}

uint8_t *ram_frame(const struct ram *r, uint64_t page)
{
    const struct ram_block *b = ram_block_of(r, page);
    return b == NULL ? NULL : b->alias + (size_t)(page - b->base_page) * RAM_PAGE;
}

bool ram_page_at(const struct ram_block *b, uint64_t address, uint64_t *ret_page)
{
    uint64_t index = (address - b->hva) / RAM_PAGE;
    if (address < b->hva || index >= b->pages)
        return false;
    *ret_page = b->base_page + index;
    return true;
}

static uint64_t address_of(const struct ram_block *b, uint64_t page)
{
    return b->hva + (page - b->base_page) * RAM_PAGE;
}

/* The VMM has unmapped its RAM, as some do before they end: no mapping is there to be changed. */
static int unless_unmapped(int rc)
{
    return rc == -ENOENT ? 0 : rc;
}

int ram_map(const struct ram *r, uint64_t page, bool writable, bool upgrade)
{
    const struct ram_block *b = ram_block_of(r, page);
    if (b == NULL)
        return -EFAULT;
    if (upgrade && writable)
        return unless_unmapped(uffd_unprotect(b->uffd, address_of(b, page), RAM_PAGE)); /* race 4 */
    return unless_unmapped(uffd_map(b->uffd, address_of(b, page), RAM_PAGE, writable));
}

int ram_protect(const struct ram *r, uint64_t page)
{
    const struct ram_block *b = ram_block_of(r, page);
    if (b == NULL)
        return -EFAULT;
    return unless_unmapped(uffd_protect(b->uffd, address_of(b, page), RAM_PAGE));
}

void ram_zero(const struct ram *r, uint64_t page)
{
    uint8_t *frame = ram_frame(r, page);
    PANDO_CHECK(frame != NULL);
    memset(frame, 0, RAM_PAGE);
}

void ram_keep(struct ram *r, uint32_t block)
{
    PANDO_CHECK(block < r->blocks);
    r->block[block].kept = true;
}

int ram_punch(const struct ram *r, uint64_t page)
{
    const struct ram_block *b = ram_block_of(r, page);
    if (b == NULL || b->kept)
        return 0; /* no block: there is no frame to give back */
    off_t at = (off_t)((page - b->base_page) * RAM_PAGE);
    return fallocate(b->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, RAM_PAGE) == 0
               ? 0
               : -errno;
}

void ram_close(struct ram *r)
{
    for (uint32_t i = 0; i < r->blocks; i++) {
        munmap(r->block[i].alias, (size_t)r->block[i].pages * RAM_PAGE);
        close(r->block[i].memfd);
        close(r->block[i].uffd);
    }
    r->blocks = 0;
    r->pages = 0;
}
