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

enum {
    OPEN = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
    OURS = WIRE_NODES_MAX, /* for whom: pages leave by it */
};

static size_t bytes_of(const struct verbs_block *b)
{
    return b->pages * WIRE_PAGE_SIZE;
}

static struct ibv_mr *open_to(struct verbs_port *v, const struct verbs_block *b)
{
    return v->api.reg_mr(v->pd, b->alias, bytes_of(b), OPEN);
}

static bool wants_key(const struct verbs_port *v, uint8_t n)
{
    return v->lane[n].qp != NULL && !v->peer[n].no_more_keys && v->peer[n].keys < v->blocks;
}

/* Blocks are numbered by their order, so behind one that the device does not take there is none. */
static void give_key(struct verbs_port *v, uint8_t n, struct ibv_mr *mr, int error)
{
    struct verbs_peer *peer = &v->peer[n];
    if (mr != NULL) {
        peer->key[peer->keys++] = mr;
        return;
    }
    peer->no_more_keys = true;
    fprintf(stderr,
            "%s: %s does not open block %u of guest memory to node %u (%s): it sends those pages "
            "as copies\n",
            v->port.name, v->device, peer->keys, n, strerror(error));
}

void verbs_keys_make(struct verbs_port *v, uint8_t n)
{
    v->peer[n].no_more_keys = false;
    while (wants_key(v, n) && v->block[v->peer[n].keys].pages < v->aside_pages) {
        struct ibv_mr *mr = open_to(v, &v->block[v->peer[n].keys]);
        give_key(v, n, mr, errno);
    }
}

/* ---- aside --------------------------------------------------------------------------------- */

/* What is registered next: for ourselves first, as that makes it resident. */
static bool next_wish(struct verbs_port *v)
{
    for (v->asked_block = 0; v->asked_block < v->blocks; v->asked_block++)
        if (v->block[v->asked_block].local == NULL && !v->block[v->asked_block].refused) {
            v->asked_for = OURS;
            return true;
        }
    for (v->asked_for = 0; v->asked_for < v->nodes; v->asked_for++)
        if (wants_key(v, v->asked_for)) {
            v->asked_block = v->peer[v->asked_for].keys;
            v->asked_life = v->lane[v->asked_for].life;
            return true;
        }
    return false;
}

static void granted(struct verbs_port *v, struct ibv_mr *mr, int error)
{
    struct verbs_block *b = &v->block[v->asked_block];
    uint8_t n = v->asked_for;
    if (n == OURS && mr == NULL)
        fprintf(stderr, "%s: %s does not register block %u of guest memory: %s\n", v->port.name,
                v->device, v->asked_block, strerror(error));
    if (n == OURS) {
        b->local = mr;
        b->refused = mr == NULL;
    } else if (wants_key(v, n) && v->lane[n].life == v->asked_life &&
               v->peer[n].keys == v->asked_block) {
        give_key(v, n, mr, error);
        if (mr != NULL)
            verbs_peer_event(v, n, RDMA_EVENT_MEMORY);
    } else if (mr != NULL && v->api.dereg_mr(mr) != 0) { /* nobody was told of it */
        verbs_die(v, "%s: memory stays registered: %s", v->device, strerror(errno));
    }
}

void verbs_memory_attend(struct verbs_port *v)
{
    struct ibv_mr *mr;
    int error;
    while (v->blocks > 0) {
        if (v->asking && verbs_aside_take(&v->aside, &mr, &error) != VERBS_ASIDE_DONE)
            return;
        if (v->asking)
            granted(v, mr, error);
        v->asking = next_wish(v);
        if (!v->asking)
            return;
        const struct verbs_block *b = &v->block[v->asked_block];
        int access = v->asked_for == OURS ? IBV_ACCESS_LOCAL_WRITE : OPEN;
        if (b->pages >= v->aside_pages &&
            verbs_aside_begin(&v->aside, &v->api, v->pd, b->alias, bytes_of(b), access) == 0)
            return;
        v->asking = false; /* at once */
        mr = v->api.reg_mr(v->pd, b->alias, bytes_of(b), access);
        granted(v, mr, errno);
    }
}

/* ---- keys and blocks ------------------------------------------------------------------------ */

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
    if (pages < v->aside_pages) {
        b.local = v->api.reg_mr(v->pd, alias, bytes_of(&b), IBV_ACCESS_LOCAL_WRITE);
        if (b.local == NULL)
            return cannot(v, pages, errno, err);
    }
    v->block[v->blocks++] = b;
    for (uint8_t n = 0; n < v->nodes; n++)
        v->peer[n].no_more_keys = false; /* what was refused may be had now */
    verbs_memory_attend(v);
    return 0;
}

void verbs_memory_close(struct verbs_port *v)
{
    struct ibv_mr *mr = verbs_aside_close(&v->aside);
    if (mr != NULL)
        v->api.dereg_mr(mr);
    while (v->blocks > 0)
        if (v->block[--v->blocks].local != NULL)
            v->api.dereg_mr(v->block[v->blocks].local);
}

bool verbs_local_key(const struct verbs_port *v, const uint8_t *bytes, size_t len,
                     uint32_t *ret_key)
{
    for (uint32_t i = 0; i < v->blocks; i++) {
        const struct verbs_block *b = &v->block[i];
        size_t at = (size_t)((uintptr_t)bytes - (uintptr_t)b->alias);
        if (b->local == NULL || (uintptr_t)bytes < (uintptr_t)b->alias || at + len > bytes_of(b))
            continue;
        *ret_key = b->local->lkey;
        return true;
    }
    return false;
}
