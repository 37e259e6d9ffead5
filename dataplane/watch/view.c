/* SPDX-License-Identifier: BSD-3-Clause */
/* The page of pando top, as text: nodes, latency, messages, hot pages, stages of faults. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/watch/view.h"

enum { KINDS_MAX = 64, HOT_MAX = 64, HOT_SHOWN = 12, KINDS_SHOWN = 16, STAGES_MAX = 32 };

void cell_mark(FILE *to, char letter)
{
    fputc(VIEW_MARK, to);
    fputc(letter, to);
}

/* At most width characters of another's word, filled up to that. */
void cell_word(FILE *to, const char *s, int width)
{
    char text[COUNT_NAME_MAX];
    snprintf(text, sizeof(text), "%-*.*s", width, width, s);
    out_word(to, text);
}

/* 4 digits and a unit: what fits into a column of 7. */
void cell_number(FILE *to, double v)
{
    static const char *const unit[] = {"", "k", "M", "G", "T"};
    size_t u = 0;
    for (; v >= 99999.5 && u < 4; u++)
        v /= 1000;
    fprintf(to, " %*.*f%s", u > 0 ? 6 : 7, v < 99.95 ? 1 : 0, v, unit[u]);
}

void cell_percent(FILE *to, double share)
{
    if (share < 0)
        fprintf(to, "     -");
    else
        fprintf(to, " %5.1f", 100 * share);
}

void cell_micros(FILE *to, uint64_t ns, bool known)
{
    if (!known)
        fprintf(to, "       -");
    else
        fprintf(to, " %7.*f", ns < 10000000 ? 1 : 0, (double)ns / 1e3);
}

/* ---- which nodes, in which order ----------------------------------------------------------------
 */

static const char *const kinds[] = {"read", "write", "upgrade"};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* Latency of a node's faults that moved something, all kinds together. */
static bool node_latency(const struct node *n, struct hist *ret)
{
    static struct hist one;
    bool any = false;
    *ret = (struct hist){0};
    for (size_t k = 0; k < KINDS; k++) {
        char path[32];
        snprintf(path, sizeof(path), "faults/%s", kinds[k]);
        if (node_is_up(n) && node_hist(n, path, &one) && one.count > 0) {
            hist_merge(ret, &one);
            any = true;
        }
    }
    return any;
}

/* Of all threads of the dataplane and the VM's process. */
static double node_cpu_seconds(const struct node *n)
{
    return (double)count_sum(n->now, "processes", "cpu_ns") / 1e9;
}

static double key_of(const struct node *n, enum view_sort sort)
{
    static struct hist h;
    if (!node_is_up(n))
        return -1;
    switch (sort) {
    case VIEW_BY_FAULTS:
        return node_rate_sum(n, "faults", "n");
    case VIEW_BY_MESSAGES:
        return node_rate_sum(n, "classes", "tx_messages") +
               node_rate_sum(n, "classes", "rx_messages");
    case VIEW_BY_BUSY:
        return node_share(n, "useful");
    case VIEW_BY_LATENCY:
        return node_latency(n, &h) ? (double)hist_quantile(&h, 990) : 0;
    case VIEW_BY_TIME:
        return node_cpu_seconds(n);
    case VIEW_BY_NODE:
        break;
    }
    return 0;
}

/* The largest first, except by node; equal ones by their sockets' names and numbers. */
static void sort_rows(const struct view *v, const struct nodes *all,
                      const struct node *rows[NODES_MAX])
{
    double key[NODES_MAX];
    for (size_t i = 0; i < all->n; i++) {
        double k = key_of(&all->node[i], v->sort) * (v->reverse ? -1 : 1);
        size_t at = i;
        for (; at > 0 && (v->sort == VIEW_BY_NODE ? v->reverse : key[at - 1] < k); at--) {
            key[at] = key[at - 1];
            rows[at] = rows[at - 1];
        }
        key[at] = k;
        rows[at] = &all->node[i];
    }
}

/* ---- nodes --------------------------------------------------------------------------------------
 */

static void print_peer_rtt(FILE *to, const struct node *n)
{
    const char *name;
    json_t *p;
    uint64_t worst = 0, up = 0, all = 0;
    json_object_foreach((json_t *)count_at(n->now, "peers"), name, p)
    {
        uint64_t rtt = count_of(p, "rtt_ns");
        if (all++ == WIRE_NODES_MAX)
            break;
        up += count_of(p, "up") != 0;
        worst = rtt > worst ? rtt : worst;
    }
    fprintf(to, " %3" PRIu64 "/%-3" PRIu64, up, all);
    cell_micros(to, worst, worst > 0);
}

static const char *state_word(const struct node *n)
{
    const char *phase = count_text(n->now, "phase");
    switch (n->state) {
    case NODE_BACK:
        return "back";
    case NODE_SILENT:
        return "silent";
    case NODE_ENDED:
        return "ended";
    case NODE_UP:
        break;
    }
    return phase[0] != '\0' ? phase : "?";
}

static void print_node(FILE *to, const struct node *n, bool chosen)
{
    static struct hist h;
    char who[COUNT_NAME_MAX];
    snprintf(who, sizeof(who), "%u %s", n->number, count_text(n->now, "name"));
    if (chosen || !node_is_up(n))
        cell_mark(to, chosen ? 'C' : 'E');
    cell_word(to, who, 12);
    fputc(' ', to);
    cell_word(to, state_word(n), 8);
    if (!node_is_up(n)) {
        fprintf(to, " ");
        if (n->state == NODE_ENDED)
            fprintf(to, "its socket is gone; ran ");
        else
            out_word(to, n->err);
        if (n->state == NODE_ENDED)
            print_seconds(to, count_real(n->now, "seconds"));
        fputc('\n', to);
        return;
    }
    bool known = node_latency(n, &h);
    cell_number(to, node_rate_sum(n, "faults", "n"));
    cell_micros(to, hist_quantile(&h, 500), known);
    cell_micros(to, hist_quantile(&h, 990), known);
    cell_number(to, node_rate_sum(n, "classes", "tx_messages"));
    cell_number(to, node_rate_sum(n, "classes", "rx_messages"));
    cell_number(to, node_rate_sum(n, "classes", "tx_bytes") / 1e6);
    cell_number(to, (double)count_of(n->now, "coherence/resident") / 256);
    if (count_at(n->now, "loop/core") != NULL)
        fprintf(to, " %4" PRIu64, count_of(n->now, "loop/core"));
    else
        fprintf(to, "    -");
    cell_percent(to, node_share(n, "useful"));
    cell_percent(to, node_cpu(n));
    print_peer_rtt(to, n);
    cell_number(to, node_rate_sum(n, "drops", ""));
    fprintf(to, "  ");
    print_seconds(to, node_cpu_seconds(n));
    fputc('\n', to);
}

static void print_nodes(FILE *to, const struct view *v, const struct nodes *all,
                        const struct node *rows[NODES_MAX])
{
    const char *cluster = NULL;
    cell_mark(to, 'H');
    fprintf(
        to,
        "NODE         STATE    FAULT/s  p50 us  p99 us  SENT/s  RECV/s SENT MB RES MiB CORE BUSY%%"
        "  CPU%%   PEERS     RTT REFUSED  TIME\n");
    for (size_t i = 0; i < all->n; i++) {
        const char *of = count_text(rows[i]->now, "cluster");
        if (rows[i]->now != NULL && (cluster == NULL || strcmp(of, cluster) != 0)) {
            fprintf(to, "cluster ");
            out_word(to, of);
            fprintf(to, ", VM ");
            out_word(to, count_text(rows[i]->now, "vm"));
            fputc('\n', to);
            cluster = of;
        }
        print_node(to, rows[i], v->chosen == rows[i]);
    }
}

/* ---- what the chosen node, or all, did ----------------------------------------------------------
 */

bool view_shows(const struct view *v, const struct node *rows[NODES_MAX], size_t i)
{
    return node_is_up(rows[i]) && (v->chosen == NULL || v->chosen == rows[i]);
}

static void latency_row(FILE *to, const char *name, const struct hist *h, double seconds)
{
    cell_word(to, name, 12);
    cell_number(to, seconds > 0 ? (double)h->count / seconds : 0);
    cell_micros(to, hist_quantile(h, 500), true);
    cell_micros(to, hist_quantile(h, 900), true);
    cell_micros(to, hist_quantile(h, 990), true);
    cell_micros(to, h->max, true);
    fputc('\n', to);
}

/* Buckets are added up over the nodes; a percentile of a sum is no average of percentiles. */
static void print_latency(FILE *to, const struct view *v, const struct nodes *all,
                          const struct node *rows[NODES_MAX])
{
    static struct hist sum, one;
    cell_mark(to, 'H');
    fprintf(to, "FAULTS             /s  p50 us  p90 us  p99 us  max us\n");
    for (size_t k = 0; k < KINDS; k++) {
        char path[32];
        double seconds = 0;
        sum = (struct hist){0};
        snprintf(path, sizeof(path), "faults/%s", kinds[k]);
        for (size_t i = 0; i < all->n; i++)
            if (view_shows(v, rows, i) && node_hist(rows[i], path, &one)) {
                hist_merge(&sum, &one);
                double s = node_seconds(rows[i]);
                seconds = s > seconds ? s : seconds;
            }
        if (sum.count > 0)
            latency_row(to, kinds[k], &sum, seconds);
    }
}

struct kind {
    const char *name;
    double tx, rx;
};

static int by_rate(const void *a, const void *b)
{
    const struct kind *x = a, *y = b;
    double d = y->tx + y->rx - x->tx - x->rx;
    return d > 0 ? 1 : d < 0 ? -1 : strcmp(x->name, y->name);
}

static void print_messages(FILE *to, const struct view *v, const struct nodes *all,
                           const struct node *rows[NODES_MAX])
{
    struct kind kind[KINDS_MAX];
    size_t n = 0;
    const char *name;
    json_t *m;
    for (size_t i = 0; i < all->n; i++) {
        if (!view_shows(v, rows, i))
            continue;
        json_object_foreach((json_t *)count_at(rows[i]->now, "messages"), name, m)
        {
            char path[COUNT_NAME_MAX + 16];
            size_t k = 0;
            while (k < n && strcmp(kind[k].name, name) != 0)
                k++;
            if (k == KINDS_MAX || strchr(name, '/') != NULL)
                continue;
            if (k == n)
                kind[n++] = (struct kind){.name = name};
            snprintf(path, sizeof(path), "messages/%.63s/tx", name);
            kind[k].tx += node_rate(rows[i], path);
            snprintf(path, sizeof(path), "messages/%.63s/rx", name);
            kind[k].rx += node_rate(rows[i], path);
        }
    }
    qsort(kind, n, sizeof(kind[0]), by_rate);
    cell_mark(to, 'H');
    fprintf(to, "MESSAGES       SENT/s  RECV/s\n");
    for (size_t k = 0; k < n && k < view_lines(v, KINDS_SHOWN) && kind[k].tx + kind[k].rx > 0;
         k++) {
        cell_word(to, kind[k].name, 12);
        cell_number(to, kind[k].tx);
        cell_number(to, kind[k].rx);
        fputc('\n', to);
    }
}

struct hot {
    const char *cluster, *page;
    uint64_t faults;
    char nodes[64]; /* "0:12 3:4" */
};

static int by_faults(const void *a, const void *b)
{
    const struct hot *x = a, *y = b;
    return x->faults < y->faults ? 1 : x->faults > y->faults ? -1 : strcmp(x->page, y->page);
}

static void add_hot(struct hot hot[HOT_MAX], size_t *n, const struct node *from)
{
    const char *cluster = count_text(from->now, "cluster"), *page;
    json_t *v;
    size_t seen = 0;
    json_object_foreach((json_t *)count_at(from->now, "hot_pages"), page, v)
    {
        uint64_t faults = count_of(v, "faults");
        size_t k = 0;
        if (seen++ == HOT_MAX)
            break;
        while (k < *n && (strcmp(hot[k].page, page) != 0 || strcmp(hot[k].cluster, cluster) != 0))
            k++;
        if (k == HOT_MAX || faults == 0)
            continue;
        if (k == *n)
            hot[(*n)++] = (struct hot){.cluster = cluster, .page = page};
        size_t len = strlen(hot[k].nodes);
        snprintf(hot[k].nodes + len, sizeof(hot[k].nodes) - len, "%s%u:%" PRIu64,
                 len > 0 ? " " : "", from->number, faults);
        hot[k].faults += faults;
    }
}

static void print_hot(FILE *to, const struct view *v, const struct nodes *all,
                      const struct node *rows[NODES_MAX])
{
    static struct hot hot[HOT_MAX];
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++)
        if (view_shows(v, rows, i))
            add_hot(hot, &n, rows[i]);
    qsort(hot, n, sizeof(hot[0]), by_faults);
    cell_mark(to, 'H');
    fprintf(to, "HOT PAGES      FAULTS  BY NODE (since start, at least)\n");
    for (size_t k = 0; k < n && k < view_lines(v, HOT_SHOWN); k++) {
        cell_word(to, hot[k].page, 12);
        fprintf(to, " %8" PRIu64 "  ", hot[k].faults);
        out_word(to, hot[k].nodes);
        fputc('\n', to);
    }
}

/* ---- where a sampled fault's time goes ----------------------------------------------------------
 */

static void stage_row(FILE *to, const char *kind, const char *name, const char *path,
                      const struct view *v, const struct nodes *all,
                      const struct node *rows[NODES_MAX])
{
    static struct hist sum, one;
    double seconds = 0;
    char words[COUNT_NAME_MAX];
    sum = (struct hist){0};
    for (size_t i = 0; i < all->n; i++)
        if (view_shows(v, rows, i) && node_hist(rows[i], path, &one)) {
            hist_merge(&sum, &one);
            double s = node_seconds(rows[i]);
            seconds = s > seconds ? s : seconds;
        }
    if (sum.count == 0)
        return;
    snprintf(words, sizeof(words), "%.20s %.40s", kind, name);
    cell_word(to, words, 32);
    cell_number(to, seconds > 0 ? (double)sum.count / seconds : 0);
    cell_micros(to, hist_quantile(&sum, 500), true);
    cell_micros(to, hist_quantile(&sum, 990), true);
    cell_micros(to, sum.max, true);
    fputc('\n', to);
}

/* Of the first node that is shown and has any: all have the same kinds and stages. */
static void print_stages(FILE *to, const struct view *v, const struct nodes *all,
                         const struct node *rows[NODES_MAX])
{
    const json_t *list = NULL;
    const char *kind, *stage;
    json_t *k, *s;
    for (size_t i = 0; i < all->n && list == NULL; i++)
        if (view_shows(v, rows, i) && json_object_size(count_at(rows[i]->now, "spans/kinds")) > 0)
            list = count_at(rows[i]->now, "spans/kinds");
    if (list == NULL)
        return;
    fputc('\n', to);
    cell_mark(to, 'H');
    fprintf(to, "SAMPLED SPANS: STAGE                  /s  p50 us  p99 us  max us\n");
    json_object_foreach((json_t *)list, kind, k)
    {
        char path[3 * COUNT_NAME_MAX];
        size_t n = 0;
        snprintf(path, sizeof(path), "spans/kinds/%.63s/total", kind);
        stage_row(to, kind, "(all)", path, v, all, rows);
        json_object_foreach((json_t *)count_at(k, "stages"), stage, s)
        {
            if (n++ == STAGES_MAX)
                break;
            snprintf(path, sizeof(path), "spans/kinds/%.63s/stages/%.63s", kind, stage);
            stage_row(to, kind, stage, path, v, all, rows);
        }
    }
}

void view_print(FILE *to, const struct view *v, const struct nodes *all,
                const struct node *rows[NODES_MAX])
{
    static const char *const sorted[] = {[VIEW_BY_NODE] = "",
                                         [VIEW_BY_FAULTS] = ", by faults",
                                         [VIEW_BY_MESSAGES] = ", by messages",
                                         [VIEW_BY_BUSY] = ", by busy share",
                                         [VIEW_BY_LATENCY] = ", by p99",
                                         [VIEW_BY_TIME] = ", by CPU time"};
    time_t now = time(NULL);
    struct tm tm;
    char clock[16];
    size_t up = 0;
    strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&now, &tm));
    for (size_t i = 0; i < all->n; i++)
        up += node_is_up(&all->node[i]);
    fprintf(to, "pando top - %s, %zu node%s here, %zu up, every %.1f s%s%s%s\n", clock, all->n,
            all->n == 1 ? "" : "s", up, v->delay, sorted[v->sort],
            all->since_start ? ", SINCE THE START" : "", v->paused ? ", PAUSED" : "");
    sort_rows(v, all, rows);
    if (all->n == 0) {
        fprintf(to,
                "no dataplane runs here; start one (pando run, ./dev demo), or name its run_dir: "
                "--config or --run-dir\n");
        return;
    }
    print_nodes(to, v, all, rows);
    fputc('\n', to);
    print_latency(to, v, all, rows);
    fputc('\n', to);
    print_messages(to, v, all, rows);
    fputc('\n', to);
    view_threads(to, v, all, rows);
    fputc('\n', to);
    print_hot(to, v, all, rows);
    view_peers(to, v, all, rows);
    print_stages(to, v, all, rows);
}

void view_help(FILE *to)
{
    cell_mark(to, 'H');
    fputs("pando top: keys\n"
          "  q            quit\n"
          "  h ?          this page; any key leaves it\n"
          "  space enter  look now; ctrl-L: paint anew\n"
          "  d s          seconds between two looks\n"
          "  p            pause, and go on\n"
          "  up down k j  choose a node: the tables below are then its own\n"
          "  1..9         the node of that row; 0, escape: all nodes\n"
          "  N F M P L T  sort by node, faults, messages, busy share, p99, CPU time\n"
          "  R            the other way round; < >: by the one before, behind in this list\n"
          "  S            rates since the start, or since the last look again\n"
          "  n #          lines of each list; 0: as many as by default\n"
          "\n"
          "FAULT/s, SENT, RECV: a second, since the last look (the first: the start)\n"
          "p50, p99: of these faults, buckets of all kinds added up\n"
          "SENT MB: megabytes of frames a second; RES: guest memory held\n"
          "BUSY: share of the loop's time in rounds that found work; CPU: that it had one\n"
          "PEERS: up of all, RTT: of the slowest; REFUSED: frames and messages a second\n"
          "TIME: CPU time of all threads of the dataplane and the VM's process\n"
          "THREADS: loop; of the VM's process agent, vcpuN, proxyN for another node's vCPU\n"
          "CPU: share of the time that a thread had one; -: not known; TIME: in all\n"
          "NODE > PEER: messages, megabytes, AGAIN: frames sent again, a second\n",
          to);
}
