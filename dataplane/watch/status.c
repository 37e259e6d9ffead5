/* SPDX-License-Identifier: BSD-3-Clause */
/* pando status: a page about each dataplane that runs here. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dataplane/watch/find.h"
#include "dataplane/watch/watch.h"

static const char title[] = "pando status";

struct options {
    struct place place;
    bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->place;
        break;
    case 'j':
        o->json = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option option_list[] = {
    {"json", 'j', NULL, 0,
     "One object: {\"schema\": 1, \"nodes\": [...], \"unanswered\": [{\"socket\", \"why\"}]}", 0},
    {0},
};
static const struct argp_child children[] = {{.argp = &place_argp}, {0}};
static const struct argp argp = {
    .options = option_list,
    .parser = parse,
    .children = children,
    .doc = "What the running dataplanes of this machine do: a page about each.\vExit status: 0 if "
           "there are some and all answered.",
};

/* ---- for people -------------------------------------------------------------------------------
 */

static void print_head(const struct node *n)
{
    const json_t *j = n->now, *vcpus = count_at(j, "vcpus");
    printf("node %" PRIu64 " (", count_of(j, "node"));
    out_word(stdout, count_text(j, "name"));
    printf(") of ");
    out_word(stdout, count_text(j, "cluster"));
    printf(count_true(j, "vmm") ? ", runs the VMM of " : ", VM ");
    out_word(stdout, count_text(j, "vm"));
    printf(json_array_size(vcpus) > 0 ? ", vCPUs" : ", no vCPU");
    for (size_t i = 0; i < json_array_size(vcpus) && i < WIRE_VCPUS_MAX; i++)
        printf(" %lld", (long long)json_integer_value(json_array_get(vcpus, i)));
    putchar('\n');
}

static void print_since(const struct node *n)
{
    double seconds = count_real(n->now, "seconds");
    time_t since = time(NULL) - (time_t)(seconds < 1e9 ? seconds : 0);
    struct tm tm;
    char text[32];
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", localtime_r(&since, &tm));
    printf("  ");
    out_word(stdout, count_text(n->now, "phase"));
    printf(", up since %s (", text);
    print_seconds(stdout, seconds);
    printf("); frames by ");
    out_word(stdout, count_text(n->now, "port/fabric"));
    putchar('\n');
    if (count_text(n->now, "stop")[0] != '\0') {
        printf("  stops: ");
        out_word(stdout, count_text(n->now, "stop"));
        putchar('\n');
    }
}

static void print_work(const struct node *n)
{
    static const char *const kinds[] = {"read", "write", "upgrade", "spurious"};
    const json_t *j = n->now;
    printf("  since then: faults %" PRIu64 " (%.1f/s)", count_sum(j, "faults", "n"),
           node_rate_sum(n, "faults", "n"));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char path[32];
        struct hist h;
        snprintf(path, sizeof(path), "faults/%s", kinds[i]);
        if (count_hist(count_at(j, path), &h) && h.count > 0)
            printf(", %s %" PRIu64 " (p50 %.1f, p99 %.1f us)", kinds[i], h.count,
                   (double)hist_quantile(&h, 500) / 1e3, (double)hist_quantile(&h, 990) / 1e3);
    }
    printf("\n  messages %" PRIu64 " sent (%.1f/s), %" PRIu64 " received (%.1f/s)\n",
           count_sum(j, "classes", "tx_messages"), node_rate_sum(n, "classes", "tx_messages"),
           count_sum(j, "classes", "rx_messages"), node_rate_sum(n, "classes", "rx_messages"));
    printf("  pages resident %" PRIu64 " (%.1f MiB), at most %" PRIu64 "\n",
           count_of(j, "coherence/resident"), (double)count_of(j, "coherence/resident") / 256,
           count_of(j, "coherence/resident_high"));
    printf("  poll loop");
    if (count_at(j, "loop/core") != NULL)
        printf(" on core %" PRIu64, count_of(j, "loop/core"));
    printf(": %.1f %% busy, %.1f %% looking, %.1f %% given away; CPU %.1f %%\n",
           100 * node_share(n, "useful"), 100 * node_share(n, "empty"),
           100 * (node_share(n, "yield") + node_share(n, "sleep")), 100 * node_cpu(n));
}

static void print_peers(const struct node *n)
{
    const char *name;
    json_t *p;
    size_t i = 0;
    json_object_foreach((json_t *)count_at(n->now, "peers"), name, p)
    {
        if (i++ == WIRE_NODES_MAX)
            break;
        printf("  peer %" PRIu64 " (", count_of(p, "node"));
        out_word(stdout, name);
        printf("): %s", count_of(p, "up") != 0 ? "up" : "DOWN");
        if (count_of(p, "rtt_ns") != 0)
            printf(", round trip %.1f us", (double)count_of(p, "rtt_ns") / 1e3);
        printf("; messages %" PRIu64 " sent, %" PRIu64 " received; MB %.1f sent, %.1f received",
               count_of(p, "tx_messages"), count_of(p, "rx_messages"),
               (double)count_of(p, "tx_bytes") / 1e6, (double)count_of(p, "rx_bytes") / 1e6);
        if (count_of(p, "retransmit") != 0)
            printf("; %" PRIu64 " frames sent again", count_of(p, "retransmit"));
        putchar('\n');
    }
}

/* Those of the VM's process. */
static void print_rings(const struct node *n)
{
    struct node_rings r;
    node_rings(n, &r);
    if (r.rings + r.implausible == 0)
        return;
    printf("  rings of the VM's process: ");
    if (r.most > 0) {
        printf("entries wait in %" PRIu64 " of %" PRIu64 "; the fullest holds %" PRIu64
               " of %" PRIu64 " (channel ",
               r.used, r.rings, r.most, r.capacity);
        out_word(stdout, r.channel);
        printf(r.to_dp ? " to the dataplane)" : " to the VM)");
    } else {
        printf("nothing waits in %" PRIu64, r.rings);
    }
    if (r.implausible > 0)
        printf("; IMPLAUSIBLE: %" PRIu64, r.implausible);
    putchar('\n');
}

static void print_thread(const struct node *n, const char *name)
{
    char path[2 * COUNT_NAME_MAX];
    snprintf(path, sizeof(path), "threads/%.63s", name);
    double share = node_thread_share(n, path);
    out_word(stdout, name);
    if (share < 0)
        printf(" -");
    else
        printf(" %.1f %%", 100 * share);
    if (node_thread_core(n, path) >= 0)
        printf(" on core %d", node_thread_core(n, path));
}

static void print_threads(const struct node *n)
{
    enum { SHOWN = 16 };
    const char *name;
    json_t *t;
    size_t i = 0;
    json_object_foreach((json_t *)count_at(n->now, "threads"), name, t)
    {
        (void)t;
        if (i < SHOWN) {
            printf(i == 0 ? "  CPU of threads since then: " : ", ");
            print_thread(n, name);
        }
        i++;
    }
    if (i > SHOWN)
        printf(", %zu more (--json)", i - SHOWN);
    if (i > 0)
        putchar('\n');
}

/* The bound of the clock's error; 0: none. */
static double error_us(const json_t *j)
{
    uint64_t khz = count_of(j, "clock/khz");
    return khz > 0 ? (double)count_of(j, "clock/error_ticks") * 1e3 / (double)khz : 0;
}

/* How many intents of offload/ are done by whom. */
static size_t intents_by(const json_t *offload, const char *who)
{
    const json_t *list = count_at(offload, "intents");
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        n += strcmp(count_text(json_array_get(list, i), "by"), who) == 0;
    return n;
}

static void print_rest(const struct node *n)
{
    const char *key;
    json_t *v;
    size_t i = 0;
    printf("  clock ");
    out_word(stdout, count_text(n->now, "clock/state"));
    printf(", within %.2f us\n", error_us(n->now));
    if (n->offload != NULL) {
        bool none = strcmp(count_text(n->offload, "nic"), "none") == 0;
        printf("  offload: ");
        out_word(stdout, none ? "no NIC of its own" : count_text(n->offload, "nic"));
        printf("; in hardware %zu, in XDP %zu, in software %zu (pando offload show)\n",
               intents_by(n->offload, "hardware"), intents_by(n->offload, "xdp"),
               intents_by(n->offload, "software"));
    }
    json_object_foreach((json_t *)count_at(n->now, "drops"), key, v)
    {
        if (i == COUNT_ENTRIES_MAX || count_of(v, "") == 0)
            continue;
        printf("%s ", i++ == 0 ? "  refused:" : ",");
        out_word(stdout, key);
        printf(" %" PRIu64, count_of(v, ""));
    }
    if (i > 0)
        putchar('\n');
}

static void print_node(const struct node *n)
{
    print_head(n);
    print_since(n);
    print_work(n);
    print_threads(n);
    print_rings(n);
    print_peers(n);
    print_rest(n);
}

/* ---- for programs ------------------------------------------------------------------------------
 */

static void put(json_t *o, const char *key, uint64_t v)
{
    json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void put_real(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, v >= 0 ? json_real(v) : json_null());
}

static void put_text(json_t *o, const char *key, const char *text)
{
    json_t *s = json_string(text);
    json_object_set_new(o, key, s != NULL ? s : json_string("?"));
}

static json_t *peers_json(const json_t *j)
{
    const char *name;
    json_t *p, *all = json_array();
    json_object_foreach((json_t *)count_at(j, "peers"), name, p)
    {
        json_t *o = json_object();
        if (json_array_size(all) == WIRE_NODES_MAX)
            break;
        put(o, "node", count_of(p, "node"));
        put_text(o, "name", name);
        json_object_set_new(o, "up", json_boolean(count_of(p, "up") != 0));
        put(o, "rtt_ns", count_of(p, "rtt_ns"));
        put(o, "messages_sent", count_of(p, "tx_messages"));
        put(o, "messages_received", count_of(p, "rx_messages"));
        put(o, "bytes_sent", count_of(p, "tx_bytes"));
        put(o, "bytes_received", count_of(p, "rx_bytes"));
        put(o, "retransmissions", count_of(p, "retransmit"));
        json_array_append_new(all, o);
    }
    return all;
}

static json_t *threads_json(const struct node *n)
{
    const char *name;
    json_t *t, *all = json_array();
    json_object_foreach((json_t *)count_at(n->now, "threads"), name, t)
    {
        char path[2 * COUNT_NAME_MAX];
        (void)t;
        if (json_array_size(all) == COUNT_ENTRIES_MAX)
            break;
        json_t *o = json_object();
        snprintf(path, sizeof(path), "threads/%.63s", name);
        put_text(o, "name", name);
        put_real(o, "cpu_share", node_thread_share(n, path));
        put_real(o, "cpu_seconds", node_thread_seconds(n, path));
        int32_t core = node_thread_core(n, path);
        json_object_set_new(o, "core", core >= 0 ? json_integer(core) : json_null());
        json_array_append_new(all, o);
    }
    return all;
}

/* The rings in which something waits, by channel. */
static json_t *waiting_json(const struct node *n, const char *path)
{
    const char *channel;
    json_t *v, *all = json_object();
    size_t i = 0;
    json_object_foreach((json_t *)count_at(n->now, path), channel, v)
    {
        uint64_t waiting;
        (void)v;
        if (i++ == COUNT_ENTRIES_MAX)
            break;
        if (node_ring(n, path, channel, &waiting) && waiting > 0)
            put(all, channel, waiting);
    }
    return all;
}

static json_t *rings_json(const struct node *n)
{
    struct node_rings r;
    json_t *o = json_object();
    node_rings(n, &r);
    put(o, "rings", r.rings);
    put(o, "capacity", r.capacity);
    put(o, "implausible", r.implausible);
    json_object_set_new(o, "to_dataplane", waiting_json(n, "channels/to_dp"));
    json_object_set_new(o, "to_vm", waiting_json(n, "channels/to_glue"));
    return o;
}

static json_t *drops_json(const json_t *j)
{
    const char *key;
    json_t *v, *all = json_object();
    json_object_foreach((json_t *)count_at(j, "drops"), key, v)
    {
        if (count_of(v, "") > 0 && json_object_size(all) < COUNT_ENTRIES_MAX)
            put(all, key, count_of(v, ""));
    }
    return all;
}

static json_t *vcpus_json(const json_t *j)
{
    const json_t *list = count_at(j, "vcpus");
    json_t *all = json_array();
    for (size_t i = 0; i < json_array_size(list) && i < WIRE_VCPUS_MAX; i++)
        json_array_append_new(all, json_integer(json_integer_value(json_array_get(list, i))));
    return all;
}

static json_t *offload_json(const json_t *offload)
{
    if (offload == NULL)
        return json_null();
    json_t *o = json_object();
    put_text(o, "nic", count_text(offload, "nic"));
    put(o, "hardware", intents_by(offload, "hardware"));
    put(o, "xdp", intents_by(offload, "xdp"));
    put(o, "software", intents_by(offload, "software"));
    return o;
}

static json_t *node_json(const struct node *n)
{
    const json_t *j = n->now;
    json_t *o = json_object();
    put_text(o, "socket", n->socket);
    put_text(o, "cluster", count_text(j, "cluster"));
    put(o, "node", count_of(j, "node"));
    put_text(o, "name", count_text(j, "name"));
    put_text(o, "vm", count_text(j, "vm"));
    json_object_set_new(o, "vmm", json_boolean(count_true(j, "vmm")));
    json_object_set_new(o, "vcpus", vcpus_json(j));
    put_text(o, "phase", count_text(j, "phase"));
    put_text(o, "stop", count_text(j, "stop"));
    put_text(o, "fabric", count_text(j, "port/fabric"));
    put_real(o, "seconds", count_real(j, "seconds"));
    put(o, "faults", count_sum(j, "faults", "n"));
    put_real(o, "faults_per_s", node_rate_sum(n, "faults", "n"));
    put(o, "messages_sent", count_sum(j, "classes", "tx_messages"));
    put(o, "messages_received", count_sum(j, "classes", "rx_messages"));
    put_real(o, "messages_sent_per_s", node_rate_sum(n, "classes", "tx_messages"));
    put_real(o, "messages_received_per_s", node_rate_sum(n, "classes", "rx_messages"));
    put(o, "resident_pages", count_of(j, "coherence/resident"));
    put_real(o, "busy_share", node_share(n, "useful"));
    put_real(o, "cpu_share", node_cpu(n));
    put_text(o, "clock", count_text(j, "clock/state"));
    put_real(o, "clock_error_us", error_us(j));
    json_object_set_new(o, "threads", threads_json(n));
    json_object_set_new(o, "rings", rings_json(n));
    json_object_set_new(o, "peers", peers_json(j));
    json_object_set_new(o, "drops", drops_json(j));
    json_object_set_new(o, "offload", offload_json(n->offload));
    return o;
}

static bool print_json(const struct nodes *all)
{
    json_t *o = json_object(), *up = json_array(), *down = json_array();
    put(o, "schema", 1);
    for (size_t i = 0; i < all->n; i++) {
        const struct node *n = &all->node[i];
        if (node_is_up(n)) {
            json_array_append_new(up, node_json(n));
        } else if (n->state == NODE_SILENT) {
            json_t *one = json_object();
            put_text(one, "socket", n->socket);
            put_text(one, "why", n->err);
            json_array_append_new(down, one);
        }
    }
    json_object_set_new(o, "nodes", up);
    json_object_set_new(o, "unanswered", down);
    return out_json(title, o);
}

int status_main(int argc, char **argv)
{
    struct options o = {0};
    static struct nodes all;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    all = (struct nodes){.title = title, .limits = ASK_PATIENT, .offload = true};
    if (!place_of(title, &o.place, &all.run_dir))
        return EXIT_USAGE;
    size_t up = nodes_look(&all);
    if (all.found == 0) {
        struct find nobody = {.title = title, .run_dir = all.run_dir};
        find_say_nobody(&nobody);
    }
    bool ok = up > 0 && up == all.found;
    if (o.json) {
        ok = print_json(&all) && ok;
    } else {
        for (size_t i = 0; i < all.n; i++)
            if (node_is_up(&all.node[i]))
                print_node(&all.node[i]);
        ok = out_written(title) && ok;
    }
    nodes_release(&all);
    return ok ? 0 : 1;
}
