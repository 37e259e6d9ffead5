/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/fault.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/load.h"
#pragma GCC diagnostic push /* generated: an object of many bytes as one string */
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Woverlength-strings"
#include "bpf/fault.skel.h"
#pragma GCC diagnostic pop

struct fault {
    struct fault_bpf *bpf;
    struct xdp_attachment attachment;
};

static const char *const reason_names[FAULT_REASONS] = {
#define X(ID, name) [FAULT_##ID] = name,
    FAULT_REASON_LIST(X)
#undef X
};

const char *fault_reason_name(enum fault_reason reason)
{
    return (unsigned)reason < FAULT_REASONS ? reason_names[reason] : "?";
}

static int load(void *arg)
{
    struct fault *f = arg;
    f->bpf = fault_bpf__open();
    if (f->bpf == NULL)
        return -errno;
    int rc = fault_bpf__load(f->bpf);
    if (rc == 0)
        return 0;
    fault_bpf__destroy(f->bpf);
    f->bpf = NULL;
    return rc;
}

int fault_set(struct fault *f, const struct fault_config *config)
{
    __u32 zero = 0;
    struct fault_config c = *config;
    c.version = FAULT_VERSION;
    c.frames = 0;
    return bpf_map_update_elem(bpf_map__fd(f->bpf->maps.config), &zero, &c, BPF_ANY) == 0 ? 0
                                                                                          : -errno;
}

static int set_target(struct fault *f, const char *to, char err[XDP_ERROR_MAX])
{
    __u32 ifindex = if_nametoindex(to);
    if (ifindex == 0) {
        snprintf(err, XDP_ERROR_MAX, "there is no interface %s here (see ip link)", to);
        return -ENODEV;
    }
    for (__u32 i = 0; i < FAULT_COPIES; i++)
        if (bpf_map_update_elem(bpf_map__fd(f->bpf->maps.target), &i, &ifindex, BPF_ANY) != 0) {
            int rc = -errno;
            snprintf(err, XDP_ERROR_MAX, "frames cannot be redirected to %s: %s", to,
                     strerror(-rc));
            return rc;
        }
    return 0;
}

int fault_open(const char *from, const char *to, const struct fault_config *config,
               struct fault **ret_fault, char err[XDP_ERROR_MAX])
{
    struct fault *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return -ENOMEM;
    f->attachment.link_fd = -1;
    int rc = bpf_load(load, f, err);
    if (rc == 0)
        rc = set_target(f, to, err);
    if (rc == 0) {
        rc = fault_set(f, config);
        if (rc != 0)
            snprintf(err, XDP_ERROR_MAX, "the fault program cannot be configured: %s",
                     strerror(-rc));
    }
    if (rc == 0)
        rc = xdp_attach(from, bpf_program__fd(f->bpf->progs.pando_fault), &f->attachment, err);
    if (rc != 0) {
        fault_close(f);
        return rc;
    }
    *ret_fault = f;
    return 0;
}

void fault_counters(const struct fault *f, uint64_t ret_frames[FAULT_REASONS])
{
    bpf_sum_counters(bpf_map__fd(f->bpf->maps.counters), FAULT_REASONS, ret_frames);
}

void fault_close(struct fault *f)
{
    if (f == NULL)
        return;
    xdp_detach(&f->attachment);
    fault_bpf__destroy(f->bpf);
    free(f);
}
