/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static int say_nothing(enum libbpf_print_level level, const char *format, va_list args)
{
    (void)level;
    (void)format;
    (void)args;
    return 0;
}

int bpf_load(int (*load)(void *arg), void *arg, char err[XDP_ERROR_MAX])
{
    libbpf_print_fn_t loud = libbpf_set_print(say_nothing);
    int rc = load(arg);
    libbpf_set_print(loud);
    if (rc != 0 && rc != -EPERM && rc != -ENOMEM)
        rc = load(arg);
    if (rc != 0)
        xdp_load_error(rc, err);
    return rc;
}

void bpf_sum_counters(int map_fd, uint32_t count, uint64_t *ret_sums)
{
    int cpus = libbpf_num_possible_cpus();
    uint64_t *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;
    for (__u32 i = 0; i < count; i++) {
        ret_sums[i] = 0;
        if (values == NULL || bpf_map_lookup_elem(map_fd, &i, values) != 0)
            continue;
        for (int c = 0; c < cpus; c++)
            ret_sums[i] += values[c];
    }
    free(values);
}
