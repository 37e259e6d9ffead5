/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest RAM as the dataplane sees it: for each block the VMM's memfd mapped a second time (the
 * *alias*, which is never registered with userfaultfd, so that reading and writing it never faults
 * into us), and the userfaultfd of the VMM's own mapping. EDGE.
 *
 * Sequences (the caller's duty; 40-memory of the design):
 *   install    bytes into the frame, then ram_map           upgrade   after every ack,
 * ram_map(upgrade) M -> S     ram_protect returned, and only then the frame is read
 *   -> I       the agent's zap is done (zap.h), and only then the frame is read or the peer
 * acknowledged
 *
 * Races that are guarded against, and where:
 *   1 messages are hints                        engine/faults.c acts on the page's state only
 *   2 flag picks ioctl, state picks permission  ram_map: CONTINUE in the state's mode, on EEXIST
 * set the mode, wake 3 CONTINUE in parts, EFAULT on a hole       uffd_map resumes; frames are
 * filled first, EFAULT is a bug by name 4 WRITEPROTECT never installs               an upgrade
 * whose entry vanished faults again and is mapped anew 5 minimum residency the coherence core holds
 * pages; nothing here 6 long-term pins                            refused by the glue (VFIO,
 * vhost): nothing here can see them 7 the last uffd closes                      the VMM keeps its
 * own copy; we stop the vCPUs before we close ours 8 huge pages memfd of plain shmem only,
 * MADV_NOHUGEPAGE on both mappings 9 swap, KSM, NUMA balancing                 shared memory has no
 * KSM; doctor warns of swap
 */
#ifndef PANDO_MEMORY_RAM_H
#define PANDO_MEMORY_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RAM_BLOCKS = 8, RAM_ERROR_MAX = 192, RAM_PAGE = 4096 };

struct ram_block {
    uint64_t base_page, pages;
    uint64_t hva; /* where the VMM mapped it */
    uint8_t *alias;
    int memfd, uffd;
    bool kept; /* ram_keep */
};

struct ram {
    uint32_t blocks;
    uint64_t pages, pages_max;
    bool bound; /* frames are taken from numa_node alone */
    int32_t numa_node;
    struct ram_block block[RAM_BLOCKS];
};

/* Takes one block that the VMM passed; it must follow the last one. Everything is checked, as the
 * VMM is not trusted. 0, then the descriptors are ours; else -errno with a sentence in err, and
 * they are still the caller's. */
int ram_add(struct ram *r, int memfd, int uffd, uint64_t base_page, uint64_t pages, uint64_t hva,
            char err[RAM_ERROR_MAX]);

/* The page's bytes, 4096 of them; NULL if no block holds the page (yet). */
uint8_t *ram_frame(const struct ram *r, uint64_t page);

/* The block that holds the page; NULL. */
const struct ram_block *ram_block_of(const struct ram *r, uint64_t page);

/* The page at an address of a block's mapping; false if the address is outside. */
bool ram_page_at(const struct ram_block *b, uint64_t address, uint64_t *ret_page);

/* Maps a page whose frame is filled, and wakes who waits for it. upgrade: it is mapped
 * write-protected as far as we know, and writable is true. 0 or -errno; -ESRCH: the VMM's address
 * space is gone. */
int ram_map(const struct ram *r, uint64_t page, bool writable, bool upgrade);

/* Takes write permission away. When it returns nobody can write the page any more. */
int ram_protect(const struct ram *r, uint64_t page);

/* Makes the frame read as zero, allocated. */
void ram_zero(const struct ram *r, uint64_t page);

/* The block's memory is registered with a device, which would go on using frames that were given
 * back: ram_punch leaves it as it is from now on. */
void ram_keep(struct ram *r, uint32_t block);

/* Gives the frame back to the host; of a block that is kept, does nothing. */
int ram_punch(const struct ram *r, uint64_t page);

void ram_close(struct ram *r);

#endif
