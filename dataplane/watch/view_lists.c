/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of pando top's page that have a line for many things of each node: threads, peers. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/watch/view.h"

enum { LIST_MAX = 1024, THREADS_SHOWN = 10, PEERS_SHOWN = 8, THREAD_NAME = 16 };

/* ---- threads: which has how much of a CPU ------------------------------------------------------
 */

struct thread {
    const struct node *node;
    char name[THREAD_NAME];
    int32_t core;          /* below 0: not known */
    double share, seconds; /* below 0: not known */
};
struct threads {
    struct thread list[LIST_MAX];
    size_t n;
};

static void add_thread(struct threads *all, const struct node *n, const char *name,
                       const char *path, double share)
{
    if (all->n == LIST_MAX)
        return;
    struct thread *t = &all->list[all->n++];
    *t = (struct thread){.node = n,
                         .core = node_thread_core(n, path),
                         .share = share,
                         .seconds = node_thread_seconds(n, path)};
    snprintf(t->name, sizeof(t->name), "%s", name);
}

/* Of the VM's process. */
static void add_threads(struct threads *all, const struct node *n)
{
    const char *name;
    json_t *t;
    size_t i = 0;
    json_object_foreach((json_t *)count_at(n->now, "threads"), name, t)
    {
        char path[2 * COUNT_NAME_MAX];
        (void)t;
        if (i++ == COUNT_ENTRIES_MAX)
            break;
        snprintf(path, sizeof(path), "threads/%.63s", name);
        add_thread(all, n, name, path, node_thread_share(n, path));
    }
}

static int by_share(const void *a, const void *b)
{
    const struct thread *x = a, *y = b;
    if (x->share != y->share)
        return x->share < y->share ? 1 : -1;
    return x->node->number != y->node->number ? (x->node->number < y->node->number ? -1 : 1)
                                              : strcmp(x->name, y->name);
}

static int by_seconds(const void *a, const void *b)
{
    const struct thread *x = a, *y = b;
    return x->seconds != y->seconds ? (x->seconds < y->seconds ? 1 : -1) : by_share(a, b);
}

void view_threads(FILE *to, const struct view *v, const struct nodes *all,
                  const struct node *rows[NODES_MAX])
{
    static struct threads threads;
    threads.n = 0;
    for (size_t i = 0; i < all->n; i++) {
        if (!view_shows(v, rows, i))
            continue;
        add_thread(&threads, rows[i], "loop", "loop", node_cpu(rows[i]));
        add_threads(&threads, rows[i]);
    }
    qsort(threads.list, threads.n, sizeof(threads.list[0]),
          v->sort == VIEW_BY_TIME ? by_seconds : by_share);
    cell_mark(to, 'H');
    fprintf(to, "THREADS      NODE         CORE  CPU%%  TIME\n");
    for (size_t i = 0; i < threads.n && i < view_lines(v, THREADS_SHOWN); i++) {
        const struct thread *t = &threads.list[i];
        char who[COUNT_NAME_MAX];
        snprintf(who, sizeof(who), "%u %s", t->node->number, count_text(t->node->now, "name"));
        cell_word(to, t->name, 12);
        fputc(' ', to);
        cell_word(to, who, 12);
        if (t->core >= 0)
            fprintf(to, " %4d", t->core);
        else
            fprintf(to, "    -");
        cell_percent(to, t->share);
        fprintf(to, "  ");
        if (t->seconds < 0)
            fputc('-', to);
        else
            print_seconds(to, t->seconds);
        fputc('\n', to);
    }
}

/* ---- peers: what goes to and fro ---------------------------------------------------------------
 */

struct peer {
    const struct node *node;
    const char *name;
    uint64_t number, rtt_ns;
    bool up;
    double tx, rx, tx_bytes, rx_bytes, again;
};

static double peer_rate(const struct node *n, const char *name, const char *counter)
{
    char path[2 * COUNT_NAME_MAX];
    snprintf(path, sizeof(path), "peers/%.63s/%s", name, counter);
    return node_rate(n, path);
}

static size_t add_peers(struct peer list[LIST_MAX], size_t n, const struct node *node)
{
    const char *name;
    json_t *p;
    size_t i = 0;
    json_object_foreach((json_t *)count_at(node->now, "peers"), name, p)
    {
        if (i++ == WIRE_NODES_MAX || n == LIST_MAX)
            break;
        list[n++] = (struct peer){
            .node = node,
            .name = name,
            .number = count_of(p, "node") % 1000,
            .rtt_ns = count_of(p, "rtt_ns"),
            .up = count_of(p, "up") != 0,
            .tx = peer_rate(node, name, "tx_messages"),
            .rx = peer_rate(node, name, "rx_messages"),
            .tx_bytes = peer_rate(node, name, "tx_bytes"),
            .rx_bytes = peer_rate(node, name, "rx_bytes"),
            .again = peer_rate(node, name, "retransmit"),
        };
    }
    return n;
}

/* Who is down is looked for first. */
static int by_traffic(const void *a, const void *b)
{
    const struct peer *x = a, *y = b;
    double d = y->tx_bytes + y->rx_bytes - x->tx_bytes - x->rx_bytes;
    if (x->up != y->up)
        return x->up ? 1 : -1;
    if (d != 0)
        return d > 0 ? 1 : -1;
    if (x->node->number != y->node->number)
        return x->node->number < y->node->number ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

void view_peers(FILE *to, const struct view *v, const struct nodes *all,
                const struct node *rows[NODES_MAX])
{
    static struct peer list[LIST_MAX];
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++)
        if (view_shows(v, rows, i))
            n = add_peers(list, n, rows[i]);
    if (n == 0)
        return;
    fputc('\n', to);
    qsort(list, n, sizeof(list[0]), by_traffic);
    cell_mark(to, 'H');
    fprintf(to, "NODE > PEER                          %7s %7s %7s %7s %7s %7s\n", "RTT us",
            "SENT/s", "RECV/s", "SENT MB", "RECV MB", "AGAIN/s");
    for (size_t i = 0; i < n && i < view_lines(v, PEERS_SHOWN); i++) {
        const struct peer *p = &list[i];
        char who[2 * COUNT_NAME_MAX];
        snprintf(who, sizeof(who), "%.14s > %.14s", count_text(p->node->now, "name"), p->name);
        cell_word(to, who, 32);
        fprintf(to, p->up ? "     " : " DOWN");
        cell_micros(to, p->rtt_ns, p->rtt_ns > 0);
        cell_number(to, p->tx);
        cell_number(to, p->rx);
        cell_number(to, p->tx_bytes / 1e6);
        cell_number(to, p->rx_bytes / 1e6);
        cell_number(to, p->again);
        fputc('\n', to);
    }
}
