/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/steer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "bpf/load.h"
#pragma GCC diagnostic push /* generated: an object of many bytes as one string */
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Woverlength-strings"
#include "bpf/steer.skel.h"
#pragma GCC diagnostic pop

struct steer {
    struct steer_bpf *bpf;
    struct steer_config *config; /* the map's page: the program sees what is written here */
    struct xdp_attachment attachment;
};

static const char *const reason_names[STEER_REASONS] = {
#define X(ID, name, action) [STEER_##ID] = name,
    STEER_REASON_LIST(X)
#undef X
};

const char *steer_reason_name(enum steer_reason reason)
{
    return (unsigned)reason < STEER_REASONS ? reason_names[reason] : "?";
}

bool steer_reason_refuses(enum steer_reason reason)
{
    static const bool drops[STEER_REASONS] = {
#define X(ID, name, action) [STEER_##ID] = XDP_##action == XDP_DROP,
        STEER_REASON_LIST(X)
#undef X
    };
    bool ping =
        reason == STEER_PING_CHECKSUM || reason == STEER_PING_LENGTH || reason == STEER_PING_SOURCE;
    return (unsigned)reason < STEER_REASONS && (drops[reason] || ping);
}

static int load(void *arg)
{
    struct steer *s = arg;
    s->bpf = steer_bpf__open();
    if (s->bpf == NULL)
        return -errno;
    int rc = steer_bpf__load(s->bpf);
    if (rc == 0)
        return 0;
    steer_bpf__destroy(s->bpf);
    s->bpf = NULL;
    return rc;
}

int steer_open(const struct steer_config *config, struct steer **ret_steer, char err[XDP_ERROR_MAX])
{
    struct steer *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->attachment.link_fd = -1;
    int rc = bpf_load(load, s, err);
    if (rc == 0) {
        s->config = mmap(NULL, sizeof(*s->config), PROT_READ | PROT_WRITE, MAP_SHARED,
                         bpf_map__fd(s->bpf->maps.config), 0);
        if (s->config == MAP_FAILED) {
            rc = -errno;
            s->config = NULL;
            snprintf(err, XDP_ERROR_MAX, "the XDP program's configuration cannot be mapped: %s",
                     strerror(-rc));
        }
    }
    if (rc != 0) {
        steer_close(s);
        return rc;
    }
    if (config != NULL) { /* not attached yet: nobody reads it half written */
        *s->config = *config;
        s->config->version = STEER_VERSION;
    }
    *ret_steer = s;
    return 0;
}

int steer_attach(struct steer *s, const char *interface, char err[XDP_ERROR_MAX])
{
    return xdp_attach(interface, steer_program_fd(s), &s->attachment, err);
}

const char *steer_generic_reason(const struct steer *s)
{
    return s->attachment.generic ? s->attachment.why : NULL;
}

int steer_set_socket(struct steer *s, uint32_t queue, enum steer_socket which, int fd)
{
    __u32 slot = queue * STEER_SOCKETS + which;
    if (queue >= STEER_QUEUES_MAX || (unsigned)which >= STEER_SOCKETS)
        return -EINVAL;
    return bpf_map_update_elem(bpf_map__fd(s->bpf->maps.sockets), &slot, &fd, BPF_ANY) == 0
               ? 0
               : -errno;
}

int steer_fence(struct steer *s, uint8_t node, bool fenced)
{
    if (node >= STEER_NODES_MAX)
        return -EINVAL;
    /* Relaxed: the program reads the one word, with nothing else that belongs to it. */
    if (fenced)
        __atomic_fetch_or(&s->config->fenced, 1ull << node, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&s->config->fenced, ~(1ull << node), __ATOMIC_RELAXED);
    return 0;
}

void steer_counters(const struct steer *s, uint64_t ret_frames[STEER_REASONS])
{
    bpf_sum_counters(bpf_map__fd(s->bpf->maps.counters), STEER_REASONS, ret_frames);
}

int steer_program_fd(const struct steer *s)
{
    return bpf_program__fd(s->bpf->progs.pando_steer);
}

const char *steer_lost(const struct steer *s)
{
    return xdp_lost(&s->attachment);
}

void steer_close(struct steer *s)
{
    if (s == NULL)
        return;
    xdp_detach(&s->attachment);
    if (s->config != NULL)
        munmap(s->config, sizeof(*s->config));
    steer_bpf__destroy(s->bpf);
    free(s);
}
