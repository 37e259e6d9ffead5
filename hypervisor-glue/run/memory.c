/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest RAM. Coherent is what lies in a shared memfd in pages of 4 KiB that nobody pins: each RAM
 * block that KVM sees is handed to the dataplane when its first slot comes, lowest guest address
 * first, and its pages are numbered behind those of the blocks before it. vm.homes: range counts by
 * these numbers, so that with one backend a node, in the nodes' order, a node's range is its
 * backend.
 */
#include <string.h>

#include "hypervisor-glue/run/compose.h"

#define LEAVE "leave it out; pando run adds the memory backend"

void memory_check(struct compose *c, struct line_option *o, struct opt *p)
{
    const char *size = opt_get(p, "size");
    if (opt_get(p, "slots") != NULL || opt_get(p, "maxmem") != NULL) {
        compose_refuse(c, o, "-m SIZE alone",
                       "slots and maxmem: memory hot-plug cannot be coherent yet");
        c->memory.bad = true;
    }
    if (size == NULL)
        return;
    c->memory.text = size;
    if (opt_size(size, 20, &c->memory.size) != 0 || c->memory.size == 0 ||
        c->memory.size % (1 << 20) != 0) {
        compose_refuse(c, o, "a number of MiB, or with the suffix M or G",
                       "'%s' is not a size in whole MiB of 1 or more", size);
        c->memory.bad = true;
    }
}

static bool check_memfd(struct compose *c, const struct line_option *o, const struct opt *p)
{
    unsigned before = c->refusals;
    if (!opt_is_on(opt_get(p, "share")))
        compose_refuse(c, o, "share=on", "private memory cannot be shared with other nodes");
    if (opt_is_on(opt_get(p, "hugetlb")) || opt_get(p, "hugetlbsize") != NULL)
        compose_refuse(c, o, "leave hugetlb out",
                       "hugetlb=on: memory is kept coherent by pages of 4 KiB");
    if (opt_is_on(opt_get(p, "prealloc")))
        compose_refuse(c, o, "leave prealloc out",
                       "prealloc=on would touch every page, and so pull all memory to one node");
    return c->refusals == before;
}

static void check_backend(struct compose *c, const struct line_option *o, const struct opt *p,
                          const char *type)
{
    struct compose_backend b = {.id = opt_get(p, "id")};
    const char *size = opt_get(p, "size");
    if (strcmp(type, "memory-backend-memfd") != 0)
        compose_refuse(c, o, "memory-backend-memfd,share=on, or " LEAVE,
                       "%s cannot be kept coherent: the unit is a 4 KiB page of a shared memfd",
                       type);
    else if (size == NULL || opt_size(size, 0, &b.size) != 0 || b.size == 0 ||
             b.size % (1 << 20) != 0)
        compose_refuse(c, o, "size=256M, for example", "size '%s' is not in whole MiB",
                       size ? size : "");
    else if (b.id != NULL && strncmp(b.id, "pando-ram", 9) == 0)
        compose_refuse(c, o, "another id", "pando run gives its own backends such ids");
    else
        b.coherent = check_memfd(c, o, p);
    if (b.id == NULL)
        return;
    if (c->memory.backends < COMPOSE_BACKENDS_MAX)
        c->memory.backend[c->memory.backends++] = b;
    else
        c->overflow = true;
}

void memory_object(struct compose *c, struct line_option *o, struct opt *p)
{
    const char *type = opt_get(p, "qom-type");
    if (type == NULL)
        return;
    if (strncmp(type, "memory-backend-", 15) == 0)
        check_backend(c, o, p, type);
    else if (strncmp(type, "sev-", 4) == 0 || strncmp(type, "tdx-", 4) == 0)
        compose_refuse(c, o, "leave it out",
                       "%s: the pages of an encrypted guest cannot be used on another host", type);
    else if (strstr(type, "vhost") != NULL || strncmp(type, "x-vfio", 6) == 0 ||
             strcmp(type, "x-remote-object") == 0)
        compose_refuse(c, o, "leave it out",
                       "%s maps guest RAM in another process, which is not kept coherent", type);
}

void memory_overcommit(struct compose *c, struct line_option *o, struct opt *p)
{
    const char *lock = opt_get(p, "mem-lock");
    if (lock != NULL && !opt_is_off(lock))
        compose_refuse(c, o, "leave it out",
                       "mem-lock would hold every page on this node, and pages must move");
    if (opt_is_on(opt_get(p, "cpu-pm")))
        compose_refuse(c, o, "leave it out",
                       "cpu-pm=on: HLT has to leave the guest, for Pando wakes halted vCPUs");
}

/* ---- what the line needs ------------------------------------------------------------------- */

static const struct line_option *option_m(const struct compose *c)
{
    static const struct line_option none = {"-m", "m", NULL};
    for (unsigned i = c->options; i > 1; i--)
        if (c->option[i - 1].name != NULL && strcmp(c->option[i - 1].name, "m") == 0)
            return &c->option[i - 1];
    return &none;
}

/* Size of the user's backend; false if there is none that can be used, which was said. */
static bool user_backend(struct compose *c, const char *where, const char *id, uint64_t *sum)
{
    const struct line_option o = {where, NULL, id};
    for (unsigned i = 0; i < c->memory.backends; i++)
        if (strcmp(c->memory.backend[i].id, id) == 0) {
            *sum += c->memory.backend[i].size;
            return c->memory.backend[i].coherent;
        }
    compose_refuse(c, &o, "-object memory-backend-memfd,id=...,size=...,share=on",
                   "there is no memory backend of this id");
    return false;
}

/* The user's own backends: what they add up to. */
static bool user_backends(struct compose *c, uint64_t *ret_sum)
{
    bool good = true;
    *ret_sum = 0;
    if (c->machine.backend != NULL)
        return user_backend(c, "-machine memory-backend=", c->machine.backend, ret_sum);
    if (c->numa.memdevs == 0) {
        const struct line_option o = {"-numa", NULL, NULL};
        compose_refuse(c, &o, "memdev= in -numa node, or leave -numa out",
                       "no node of this topology has a memory backend");
        return false;
    }
    for (unsigned i = 0; i < c->numa.memdevs; i++)
        good &= user_backend(c, "-numa memdev=", c->numa.memdev[i], ret_sum);
    return good;
}

static void add_backend(struct compose *c, const char *id, uint64_t size, const char *why)
{
    const char *value =
        arena_printf(&c->arena, "memory-backend-memfd,id=%s,size=%lluM,share=on", id, MIB(size));
    compose_add(c, "-object", value);
    compose_note(c, "added -object %s: %s", value, why);
}

static void add_backends(struct compose *c)
{
    const struct pando_config *cfg = c->cfg;
    c->memory.one = cfg->vm.homes != CONFIG_HOME_RANGE || cfg->node_count == 1 ||
                    c->machine.type == COMPOSE_MICROVM;
    if (c->memory.one) {
        add_backend(c, "pando-ram", c->memory.size,
                    c->machine.type == COMPOSE_MICROVM && cfg->vm.homes == CONFIG_HOME_RANGE
                        ? "guest RAM that can be shared; microvm tells its guest of no NUMA nodes"
                        : "guest RAM that can be shared");
        return;
    }
    for (uint32_t n = 0; n < cfg->node_count; n++)
        if (cfg->node[n].range_pages > 0)
            add_backend(c, arena_printf(&c->arena, "pando-ram%u", n),
                        cfg->node[n].range_pages * WIRE_PAGE_SIZE,
                        arena_printf(&c->arena, "the RAM whose home is node %u (%s)", n,
                                     cfg->node[n].name));
}

void memory_finish(struct compose *c)
{
    uint64_t limit = c->cfg->vm.ram_pages * WIRE_PAGE_SIZE, sum = 0;
    bool own = c->machine.backend != NULL || c->numa.given;
    if (c->memory.bad || (own && !user_backends(c, &sum)))
        return;
    const struct line_option *m = option_m(c);
    if (own && c->memory.text != NULL && sum != c->memory.size) {
        compose_refuse(c, m, "the same amount", "the memory backends have %llu MiB, -m %llu MiB",
                       MIB(sum), MIB(c->memory.size));
        return;
    }
    if (c->memory.text == NULL) {
        c->memory.size = own ? sum : limit;
        const char *value = arena_printf(&c->arena, "%lluM", MIB(c->memory.size));
        compose_add(c, "-m", value);
        compose_note(c, "added -m %s: %s", value, own ? "the memory backends" : "vm.ram_mib");
    }
    if (c->memory.size > limit)
        compose_refuse(c, m, "a smaller -m, or a larger vm.ram_mib",
                       "%llu MiB is more than vm.ram_mib, %llu", MIB(c->memory.size), MIB(limit));
    else if (!own && c->cfg->vm.homes == CONFIG_HOME_RANGE && c->memory.size != limit)
        compose_refuse(c, m, "equal amounts",
                       "%llu MiB, but with vm.homes: range the nodes' range_mib add up to %llu",
                       MIB(c->memory.size), MIB(limit));
    else if (!own)
        add_backends(c);
}
