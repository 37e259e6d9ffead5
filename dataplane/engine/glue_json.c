/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the VM's process does at the moment, as JSON: entries that wait in its rings, CPU time of
 * its threads. By the thread that answers telemetry, which owns nothing of it and only looks.
 *
 * Indices and thread numbers lie in memory that the VM's process can write. An impossible ring is
 * said to be that, and a number that is no thread of that process has no CPU time. The process is
 * the one that the kernel named when it connected.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/engine/engine.h"
#include "dataplane/host/thread.h"
#include "hypervisor-glue/link/glue_ring.h"

enum { THREADS_LOOKED_AT = 1024, KEY_MAX = 32 };

static void put(json_t *o, const char *key, uint64_t value)
{
    json_object_set_new(o, key, json_integer((json_int_t)value));
}

/* ---- rings -------------------------------------------------------------------------------------
 */

static void put_waiting(json_t *o, json_t *implausible, const char *key, const char *channel,
                        int32_t waiting)
{
    if (waiting >= 0)
        put(o, key, (uint64_t)waiting);
    else
        put(implausible, channel,
            (uint64_t)json_integer_value(json_object_get(implausible, channel)) + 1);
}

json_t *channels_section(const struct engine *e)
{
    json_t *o = json_object(), *to_dp = json_object(), *to_glue = json_object(),
           *implausible = json_object();
    put(o, "capacity", GLUE_RING_ENTRIES);
    put(o, "unmap_capacity", GLUE_ZAP_ENTRIES);
    for (uint32_t i = 0; e->shared != NULL && i <= e->cfg->vm.vcpus; i++) {
        struct glue_chan *c = &e->shared->chan[i];
        char key[KEY_MAX] = "vm";
        if (i < e->cfg->vm.vcpus)
            snprintf(key, sizeof(key), "%u", i);
        put_waiting(to_dp, implausible, key, key,
                    glue_waiting(&c->to_dp.head, &c->to_dp.tail, GLUE_RING_ENTRIES));
        put_waiting(to_glue, implausible, key, key,
                    glue_waiting(&c->to_glue.head, &c->to_glue.tail, GLUE_RING_ENTRIES));
    }
    if (e->shared != NULL) {
        struct glue_agent *a = &e->shared->agent;
        put_waiting(o, implausible, "unmap", "agent",
                    glue_waiting(&a->head, &a->done, GLUE_ZAP_ENTRIES));
    }
    json_object_set_new(o, "to_dp", to_dp);
    json_object_set_new(o, "to_glue", to_glue);
    json_object_set_new(o, "implausible", implausible);
    return o;
}

/* ---- threads -----------------------------------------------------------------------------------
 */

static bool is_home(const struct engine *e, uint32_t vcpu)
{
    return e->cfg->vm.vcpu_home[vcpu] == e->self;
}

/* The thread that runs the vCPU, or that stands for it where the VMM is. */
static const char *vcpu_key(const struct engine *e, uint32_t vcpu, char key[KEY_MAX])
{
    snprintf(key, KEY_MAX, "%s%u", is_home(e, vcpu) ? "vcpu" : "proxy", vcpu);
    return key;
}

static void put_thread(json_t *all, const char *key, const struct host_thread *t)
{
    json_t *o = json_object();
    put(o, "cpu_ns", t->cpu_ns);
    put(o, "core", (uint64_t)t->cpu);
    json_object_set_new(all, key, o);
}

struct looking {
    const struct engine *e;
    json_t *all;
};

/* Its name is the process's own word: another thread that calls itself so is shown in its place. */
static void take_thread(const struct host_thread *t, void *arg)
{
    const struct looking *l = arg;
    char key[KEY_MAX];
    if (strcmp(t->name, "pando-agent") == 0)
        put_thread(l->all, "agent", t);
    for (uint32_t v = 0; v < l->e->cfg->vm.vcpus; v++)
        if (atomic_load_explicit(&l->e->shared->chan[v].tid, memory_order_relaxed) ==
            (uint32_t)t->tid)
            put_thread(l->all, vcpu_key(l->e, v, key), t);
}

/* 0: not connected, nothing said yet, or of another PID namespace. */
static pid_t vm_process(const struct engine *e)
{
    return e->conn >= CONN_HELLO && e->shared != NULL ? e->glue_pid : 0;
}

/* What is to be there and is not known is an empty object. */
json_t *threads_section(const struct engine *e)
{
    struct looking l = {.e = e, .all = json_object()};
    char key[KEY_MAX];
    json_object_set_new(l.all, "agent", json_object());
    for (uint32_t v = 0; v < e->cfg->vm.vcpus; v++)
        if (is_home(e, v))
            json_object_set_new(l.all, vcpu_key(e, v, key), json_object());
    pid_t pid = vm_process(e);
    if (pid > 0)
        (void)host_threads_look(pid, THREADS_LOOKED_AT, take_thread, &l);
    return l.all;
}

json_t *processes_section(const struct engine *e)
{
    json_t *all = json_object();
    struct host_thread t;
    if (host_thread_look(getpid(), 0, &t))
        json_object_set_new(all, "dataplane", json_pack("{s:I}", "cpu_ns", (json_int_t)t.cpu_ns));
    if (host_thread_look(vm_process(e), 0, &t))
        json_object_set_new(all, "vm", json_pack("{s:I}", "cpu_ns", (json_int_t)t.cpu_ns));
    return all;
}
