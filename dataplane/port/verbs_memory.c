/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory for the device: one registration that pages leave by, and one for each connection,
 * whose key only that peer knows and which ends with the connection (verbs_port.h).
 *
 * All of it becomes resident and stays so. Each registration costs the device its tables (8 bytes a
 * page in rdma_rxe) and counts in full against RLIMIT_MEMLOCK, unless the process has CAP_IPC_LOCK;
 * the memory itself is there once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "dataplane/port/verbs_port.h"

static struct ibv_mr *open_to(struct verbs_port *v, const struct verbs_block *b)
{
    return v->api.reg_mr(v->pd, b->alias, b->pages * WIRE_PAGE_SIZE,
                         IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
}

/* Blocks are numbered by their order, so behind one that the device does not take there is none. */
void verbs_keys_make(struct verbs_port *v, uint8_t n)
{
    struct verbs_peer *peer = &v->peer[n];
    while (peer->keys < v->blocks) {
        struct ibv_mr *mr = open_to(v, &v->block[peer->keys]);
        if (mr == NULL) {
            fprintf(stderr,
                    "%s: %s does not open block %u of guest memory to node %u (%s): it sends "
                    "those pages as copies\n",
                    v->port.name, v->device, peer->keys, n, strerror(errno));
            return;
        }
        peer->key[peer->keys++] = mr;
    }
}

void verbs_keys_end(struct verbs_port *v, uint8_t n)
{
    struct verbs_peer *peer = &v->peer[n];
    while (peer->keys > 0)
        if (v->api.dereg_mr(peer->key[--peer->keys]) != 0)
            verbs_die(v, "%s: memory stays open to node %u: %s", v->device, n, strerror(errno));
}

static int cannot(struct verbs_port *v, uint64_t pages, int error, char err[PORT_ERROR_MAX])
{
    struct rlimit lock = {0};
    (void)getrlimit(RLIMIT_MEMLOCK, &lock);
    if (error == ENOMEM && lock.rlim_cur != RLIM_INFINITY)
        snprintf(err, PORT_ERROR_MAX,
                 "%s: %llu MiB, once for each node, are more than RLIMIT_MEMLOCK, %llu KiB: ulimit "
                 "-l unlimited, or LimitMEMLOCK=infinity",
                 v->device, (unsigned long long)(pages * WIRE_PAGE_SIZE >> 20),
                 (unsigned long long)lock.rlim_cur >> 10);
    else
        snprintf(err, PORT_ERROR_MAX, "%s: %llu MiB of memory cannot be registered: %s", v->device,
                 (unsigned long long)(pages * WIRE_PAGE_SIZE >> 20), strerror(error));
    return -error;
}

int verbs_add_memory(struct port *p, uint64_t first_page, uint64_t pages, uint8_t *alias,
                     char err[PORT_ERROR_MAX])
{
    struct verbs_port *v = verbs_of(p);
    uint64_t end =
        v->blocks > 0 ? v->block[v->blocks - 1].base_page + v->block[v->blocks - 1].pages : 0;
    if (v->blocks == RDMA_BLOCKS || pages == 0 || pages > RDMA_BLOCK_PAGES_MAX ||
        first_page < end || first_page > RDMA_PAGES_MAX - pages) {
        snprintf(err, PORT_ERROR_MAX,
                 "%s: block of %llu pages from 0x%llx on; at most %d blocks of 2^%d pages, "
                 "ascending",
                 v->device, (unsigned long long)pages, (unsigned long long)first_page, RDMA_BLOCKS,
                 RDMA_PLACE_BITS);
        return -EINVAL;
    }
    struct verbs_block b = {.base_page = first_page, .pages = pages, .alias = alias};
    b.local = v->api.reg_mr(v->pd, alias, pages * WIRE_PAGE_SIZE, IBV_ACCESS_LOCAL_WRITE);
    if (b.local == NULL)
        return cannot(v, pages, errno, err);
    v->block[v->blocks++] = b;
    for (uint8_t n = 0; n < v->nodes; n++)
        if (v->lane[n].qp != NULL) {
            verbs_keys_make(v, n);
            verbs_peer_event(v, n, RDMA_EVENT_MEMORY);
        }
    return 0;
}

void verbs_memory_close(struct verbs_port *v)
{
    while (v->blocks > 0)
        v->api.dereg_mr(v->block[--v->blocks].local);
}

bool verbs_local_key(const struct verbs_port *v, const uint8_t *bytes, size_t len,
                     uint32_t *ret_key)
{
    for (uint32_t i = 0; i < v->blocks; i++) {
        const struct verbs_block *b = &v->block[i];
        size_t at = (size_t)((uintptr_t)bytes - (uintptr_t)b->alias);
        if ((uintptr_t)bytes < (uintptr_t)b->alias || at + len > b->pages * WIRE_PAGE_SIZE)
            continue;
        *ret_key = b->local->lkey;
        return true;
    }
    return false;
}
