/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/watch/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/engine/loop_time.h"
#include "dataplane/watch/find.h"
#include "dataplane/watch/out.h"
#include "dataplane/wire/wire.h"

static void forget(struct node *n)
{
    json_decref(n->now);
    json_decref(n->before);
    json_decref(n->offload);
    *n = (struct node){0};
}

/* A place for one more; when all are taken, that of a node that ended. */
static struct node *place_for_one(struct nodes *all)
{
    if (all->n < NODES_MAX)
        return &all->node[all->n++];
    for (size_t i = 0; i < NODES_MAX; i++)
        if (all->node[i].state == NODE_ENDED && !all->node[i].seen) {
            forget(&all->node[i]);
            return &all->node[i];
        }
    return NULL;
}

static struct node *node_at(struct nodes *all, const char *socket_path, unsigned number)
{
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->node[i].socket, socket_path) == 0)
            return &all->node[i];
    struct node *n = strlen(socket_path) < PATH_MAX ? place_for_one(all) : NULL;
    if (n == NULL) {
        all->left_out++;
        return NULL;
    }
    *n = (struct node){.number = number};
    strcpy(n->socket, socket_path);
    return n;
}

/* Its own words: a second dataplane in the same place is another one, whatever it has counted. */
static bool is_same(const json_t *before, const json_t *now)
{
    return count_real(now, "seconds") >= count_real(before, "seconds") &&
           count_of(now, "loop/rounds") >= count_of(before, "loop/rounds") &&
           strcmp(count_text(now, "cluster"), count_text(before, "cluster")) == 0;
}

static void take_answer(struct node *n, json_t *answer)
{
    json_decref(n->before);
    n->before = NULL;
    bool same = n->now != NULL && n->state != NODE_ENDED && is_same(n->now, answer);
    n->state = n->now != NULL && !same ? NODE_BACK : NODE_UP;
    if (same)
        n->before = n->now;
    else
        json_decref(n->now);
    n->now = answer;
    n->err[0] = '\0';
}

/* The answer that the latest one is compared with; NULL: none. */
static const json_t *earlier(const struct node *n)
{
    return n->since_start ? NULL : n->before;
}

static void ask_node(void *arg, const char *socket_path, unsigned number)
{
    struct nodes *all = arg;
    struct node *n = node_at(all, socket_path, number);
    json_t *answer;
    char err[ASK_ERROR_MAX];
    if (n == NULL)
        return;
    n->seen = true;
    int rc = ask_all(socket_path, all->limits, &answer, n->err);
    if (rc == -ENOENT) { /* it ended since we looked */
        n->seen = false;
        return;
    }
    if (rc != 0) {
        n->state = NODE_SILENT;
        if (all->title != NULL)
            out_complain(all->title, socket_path, n->err);
        return;
    }
    take_answer(n, answer);
    json_decref(n->offload);
    n->offload = NULL;
    if (all->offload)
        (void)ask_offload(socket_path, all->limits, &n->offload, err);
}

size_t nodes_look(struct nodes *all)
{
    struct find f = {.title = all->title,
                     .run_dir = all->run_dir,
                     .last = WIRE_NODES_MAX - 1,
                     .take = ask_node,
                     .arg = all};
    size_t up = 0;
    for (size_t i = 0; i < all->n; i++)
        all->node[i].seen = false;
    find_dataplanes(&f);
    all->found = f.found;
    all->others = f.others;
    for (size_t i = 0; i < all->n; i++) {
        struct node *n = &all->node[i];
        n->since_start = all->since_start;
        if (!n->seen) {
            n->state = NODE_ENDED;
            n->err[0] = '\0';
        }
        up += node_is_up(n);
    }
    return up;
}

void nodes_release(struct nodes *all)
{
    for (size_t i = 0; i < all->n; i++)
        forget(&all->node[i]);
    all->n = 0;
}

void nodes_since_start(struct nodes *all, bool yes)
{
    all->since_start = yes;
    for (size_t i = 0; i < all->n; i++)
        all->node[i].since_start = yes;
}

double node_seconds(const struct node *n)
{
    double now = count_real(n->now, "seconds");
    return earlier(n) != NULL ? now - count_real(earlier(n), "seconds") : now;
}

static double per_second(const struct node *n, uint64_t now, uint64_t before)
{
    double seconds = node_seconds(n);
    return seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

double node_rate(const struct node *n, const char *path)
{
    return per_second(n, count_of(n->now, path), count_of(earlier(n), path));
}

double node_rate_sum(const struct node *n, const char *path, const char *of)
{
    return per_second(n, count_sum(n->now, path, of), count_sum(earlier(n), path, of));
}

bool node_hist(const struct node *n, const char *path, struct hist *ret)
{
    struct hist before;
    if (!count_hist(count_at(n->now, path), ret))
        return false;
    if (earlier(n) == NULL || !count_hist(count_at(earlier(n), path), &before))
        return true;
    return count_hist_since(ret, &before);
}

double node_share(const struct node *n, const char *state)
{
#define X(ID, name) name,
    static const char *const names[LOOP_STATES] = {LOOP_STATE_LIST(X)};
#undef X
    uint64_t all = 0, part = 0;
    for (unsigned s = 0; s < LOOP_STATES; s++) {
        char path[32];
        snprintf(path, sizeof(path), "loop/%s_ns", names[s]);
        uint64_t now = count_of(n->now, path), before = count_of(earlier(n), path);
        uint64_t ns = now > before ? now - before : 0;
        all += ns;
        part += strcmp(names[s], state) == 0 ? ns : 0;
    }
    return all > 0 ? (double)part / (double)all : -1;
}

double node_cpu(const struct node *n)
{
    if (count_at(n->now, "loop/cpu_ns") == NULL)
        return -1;
    return node_rate(n, "loop/cpu_ns") / 1e9;
}

/* The counter of a thread, at path/name. False: it is not told, or impossible. */
static bool thread_count(const struct node *n, const char *path, const char *name, json_int_t most,
                         json_int_t *ret)
{
    const json_t *v = json_object_get(count_at(n->now, path), name);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > most)
        return false;
    *ret = json_integer_value(v);
    return true;
}

/* Steps of 10 ms in CPU times make a whole CPU look like a little more in a short time; what is far
 * above is not true. */
double node_thread_share(const struct node *n, const char *path)
{
    char cpu[2 * COUNT_NAME_MAX];
    json_int_t ns;
    if (!thread_count(n, path, "cpu_ns", COUNT_MAX, &ns) || node_seconds(n) <= 0)
        return -1;
    snprintf(cpu, sizeof(cpu), "%s/cpu_ns", path);
    double share = node_rate(n, cpu) / 1e9, most = 1.05 + 0.02 / node_seconds(n);
    return share <= 1 ? share : share <= most ? 1 : -1;
}

double node_thread_seconds(const struct node *n, const char *path)
{
    json_int_t ns;
    return thread_count(n, path, "cpu_ns", COUNT_MAX, &ns) ? (double)ns / 1e9 : -1;
}

int32_t node_thread_core(const struct node *n, const char *path)
{
    enum { CORE_MAX = 65535 };
    json_int_t core;
    return thread_count(n, path, "core", CORE_MAX, &core) ? (int32_t)core : -1;
}

/* Of a ring in shared memory, told by another process: believed up to its size, and that up to what
 * is a size. */
static bool waiting_in(const json_t *entry, uint64_t capacity, uint64_t *ret_waiting)
{
    enum { CAPACITY_MAX = 1 << 16 };
    json_int_t waiting = json_integer_value(entry);
    if (!json_is_integer(entry) || waiting < 0 || capacity > CAPACITY_MAX ||
        (uint64_t)waiting > capacity)
        return false;
    *ret_waiting = (uint64_t)waiting;
    return true;
}

bool node_ring(const struct node *n, const char *path, const char *channel, uint64_t *ret_waiting)
{
    return waiting_in(json_object_get(count_at(n->now, path), channel),
                      count_of(n->now, "channels/capacity"), ret_waiting);
}

bool node_unmap_ring(const struct node *n, uint64_t *ret_waiting)
{
    return waiting_in(count_at(n->now, "channels/unmap"),
                      count_of(n->now, "channels/unmap_capacity"), ret_waiting);
}

static void look_at_rings(const struct node *n, const char *path, bool to_dp,
                          struct node_rings *sum)
{
    const char *channel;
    json_t *v;
    size_t i = 0;
    json_object_foreach((json_t *)count_at(n->now, path), channel, v)
    {
        uint64_t waiting = 0;
        (void)v;
        if (i++ == COUNT_ENTRIES_MAX)
            break;
        if (!node_ring(n, path, channel, &waiting)) {
            sum->implausible++;
            continue;
        }
        sum->rings++;
        sum->used += waiting > 0;
        if (waiting <= sum->most)
            continue;
        sum->most = waiting;
        sum->channel = channel;
        sum->to_dp = to_dp;
    }
}

void node_rings(const struct node *n, struct node_rings *ret)
{
    *ret = (struct node_rings){.channel = ""};
    look_at_rings(n, "channels/to_dp", true, ret);
    look_at_rings(n, "channels/to_glue", false, ret);
    if (ret->rings > 0)
        ret->capacity = count_of(n->now, "channels/capacity");
    ret->implausible += count_sum(n->now, "channels/implausible", "");
}
