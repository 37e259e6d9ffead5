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

double node_seconds(const struct node *n)
{
    double now = count_real(n->now, "seconds");
    return n->before != NULL ? now - count_real(n->before, "seconds") : now;
}

static double per_second(const struct node *n, uint64_t now, uint64_t before)
{
    double seconds = node_seconds(n);
    return seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

double node_rate(const struct node *n, const char *path)
{
    return per_second(n, count_of(n->now, path), count_of(n->before, path));
}

double node_rate_sum(const struct node *n, const char *path, const char *of)
{
    return per_second(n, count_sum(n->now, path, of), count_sum(n->before, path, of));
}

bool node_hist(const struct node *n, const char *path, struct hist *ret)
{
    struct hist before;
    if (!count_hist(count_at(n->now, path), ret))
        return false;
    if (n->before == NULL || !count_hist(count_at(n->before, path), &before))
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
        uint64_t now = count_of(n->now, path), before = count_of(n->before, path);
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
