/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages to and fro in several sizes and classes, one at a time or at a rate. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/net.h"

#define MS UINT64_C(1000000)

enum { SECONDS_MS = 1000, FETCH_ASK = 64, SHAPES_MAX = NET_SIZES_MAX * WIRE_CLASSES + 1 };
enum { CLASS_FITTING = WIRE_CLASSES }; /* as the engine would send it */

static const char doc[] =
    "Round trips of messages to pando echo at NODE and back: of every size in --sizes and every "
    "class in --classes, and of a 64-byte request for a page. One at a time; with --rate so many a "
    "second, each at a time that is fixed before, and counted from then on: what waits behind a "
    "stall is as late as it is. What takes longer than a second is counted as not answered. Ctrl-C "
    "ends it with what was measured.";

struct rtt_options {
    struct net_options net;
    uint64_t length_ns, rate;
    uint32_t sizes, classes, shapes;
    uint32_t size[NET_SIZES_MAX];
    uint8_t cls[WIRE_CLASSES];
    struct bench_shape shape[SHAPES_MAX];
};

static const struct argp_option option_list[] = {
    {"sizes", 's', "A,B,...", 0,
     "Bytes of messages: each 8..16384, up to 16 of them; "
     "20,32,64,128,256,512",
     0},
    {"classes", 'k', "A,B,...", 0,
     "Traffic classes of messages and answers: 0 (urgent, up to 62 bytes), 1 (request), 2 (data), "
     "3 (bulk); without it 0 for what fits, else 1",
     0},
    {"rate", 'r', "N", 0, "Messages a second, 1..1000000; without it one after the other", 0},
    {"seconds", 't', "SECONDS", 0, "Time for each size: 0.05..3600; 1", 0},
    {0},
};

static void add(struct rtt_options *o, uint32_t bytes, uint32_t reply, uint8_t cls)
{
    struct bench_shape *s = &o->shape[o->shapes++];
    if (cls == CLASS_FITTING)
        cls = bytes <= ENDPOINT_URGENT_BYTES ? WIRE_CLASS_URGENT : WIRE_CLASS_REQUEST;
    s->bytes = bytes;
    s->reply = reply;
    s->cls = cls;
}

/* A list of up to max numbers from..to; returns how many. */
static uint32_t numbers(struct argp_state *state, const char *key, const char *list, uint64_t from,
                        uint64_t to, uint32_t max, uint64_t *ret_number)
{
    char copy[256], *rest = copy, *word;
    uint32_t n = 0;
    if (strlen(list) >= sizeof(copy))
        argp_error(state, "%s: at most %u numbers are allowed", key, max);
    strcpy(copy, list);
    while ((word = strsep(&rest, ",")) != NULL) {
        if (n == max)
            argp_error(state, "%s: at most %u numbers are allowed", key, max);
        ret_number[n++] = net_number(state, key, word, from, to);
    }
    return n;
}

static void set_sizes(struct rtt_options *o, const char *list, struct argp_state *state)
{
    uint64_t number[NET_SIZES_MAX];
    o->sizes =
        numbers(state, "--sizes", list, PROBE_MIN, ENDPOINT_BYTES_MAX, NET_SIZES_MAX, number);
    for (uint32_t i = 0; i < o->sizes; i++)
        o->size[i] = (uint32_t)number[i];
}

static void set_classes(struct rtt_options *o, const char *list, struct argp_state *state)
{
    uint64_t number[WIRE_CLASSES];
    o->classes = numbers(state, "--classes", list, 0, WIRE_CLASSES - 1, WIRE_CLASSES, number);
    for (uint32_t i = 0; i < o->classes; i++) {
        o->cls[i] = (uint8_t)number[i];
        for (uint32_t k = 0; k < i; k++)
            if (o->cls[k] == o->cls[i])
                argp_error(state, "--classes: %u is there twice", o->cls[i]);
    }
}

/* Sizes times classes, and the page. */
static void make_shapes(struct rtt_options *o, struct argp_state *state)
{
    o->shapes = 0;
    for (uint32_t c = 0; c < o->classes; c++)
        for (uint32_t i = 0; i < o->sizes; i++) {
            if (o->cls[c] == WIRE_CLASS_URGENT && o->size[i] > ENDPOINT_URGENT_BYTES)
                argp_error(state,
                           "--classes: 0 (urgent) takes at most %d bytes, and --sizes has %u; give "
                           "both, or leave 0 out",
                           ENDPOINT_URGENT_BYTES, o->size[i]);
            add(o, o->size[i], o->size[i], o->cls[c]);
        }
    add(o, FETCH_ASK, NET_PAGE, WIRE_CLASS_DATA);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct rtt_options *o = state->input;
    switch (key) {
    case 's':
        set_sizes(o, arg, state);
        return 0;
    case 'k':
        set_classes(o, arg, state);
        return 0;
    case 'r':
        o->rate = net_number(state, "--rate", arg, 1, NET_RATE_MAX);
        return 0;
    case 't':
        o->length_ns = net_seconds(state, "--seconds", arg, 50, 3600000);
        return 0;
    case ARGP_KEY_SUCCESS:
        make_shapes(o, state);
        return 0;
    default:
        return net_parse(key, arg, state);
    }
}

static void print_head(const struct session *s, const struct rtt_options *o)
{
    printf("from node %u (%s) to node %u (%s) and back, over %s", s->self, session_name(s, s->self),
           s->far, session_name(s, s->far), s->fabric.text);
    if (o->rate != 0)
        printf("; %llu a second, counted from when each was due", (unsigned long long)o->rate);
    printf("\n%-8s %7s %7s %10s %10s %10s %10s %10s %11s\n", "class", "bytes", "answer", "messages",
           "median us", "p99 us", "p99.9 us", "max us", "unanswered");
}

static void print_line(const struct bench_shape *of)
{
    printf("%-8s %7u %7u %10llu %10.1f %10.1f %10.1f %10.1f %11llu\n", wire_class_name(of->cls),
           of->bytes, of->reply, (unsigned long long)of->rtt.count,
           net_us(hist_quantile(&of->rtt, 500)), net_us(hist_quantile(&of->rtt, 990)),
           net_us(hist_quantile(&of->rtt, 999)), net_us(of->rtt.max),
           (unsigned long long)of->unanswered);
    fflush(stdout);
}

static json_t *report(const struct session *s, const struct rtt_options *o)
{
    json_t *head = net_head(s, "rtt"), *sizes = json_array();
    if (o->rate != 0)
        json_object_set_new(head, "rate", json_integer((json_int_t)o->rate));
    for (uint32_t i = 0; i < o->shapes; i++) {
        const struct bench_shape *of = &o->shape[i];
        json_t *one = net_hist(&of->rtt);
        json_object_set_new(one, "class", json_string(wire_class_name(of->cls)));
        json_object_set_new(one, "bytes", json_integer(of->bytes));
        json_object_set_new(one, "reply", json_integer(of->reply));
        json_object_set_new(one, "unanswered", json_integer((json_int_t)of->unanswered));
        json_object_set_new(one, "seconds", json_real((double)of->ns / 1e9));
        json_array_append_new(sizes, one);
    }
    json_object_set_new(head, "sizes", sizes);
    return head;
}

static int measure(struct session *s, struct rtt_options *o)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < o->shapes; i++) {
        struct bench_shape *of = &o->shape[i];
        rc = o->rate != 0 ? bench_open_loop(s, of, o->length_ns, o->rate)
                          : bench_closed(s, of, o->length_ns);
        if (!o->net.json && of->rtt.count > 0)
            print_line(of);
    }
    return rc;
}

int bench_rtt(int argc, char **argv)
{
    static struct rtt_options o = {.net.wants_far = true,
                                   .length_ns = SECONDS_MS * MS,
                                   .sizes = 6,
                                   .size = {20, 32, 64, 128, 256, 512},
                                   .classes = 1,
                                   .cls = {CLASS_FITTING}};
    static struct session s;
    const struct argp argp = {.options = option_list,
                              .parser = parse,
                              .args_doc = "NODE",
                              .doc = doc,
                              .children = net_children};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int rc = session_open(&s, "pando bench rtt", &o.net, 0);
    if (rc != 0)
        return rc;
    rc = session_join(&s);
    bool joined = rc == 0;
    if (joined && !o.net.json)
        print_head(&s, &o);
    if (joined)
        rc = measure(&s, &o);
    /* Also what was measured before it was ended. */
    if (joined && o.net.json && !net_print(report(&s, &o)))
        rc = -EIO;
    session_close(&s);
    return rc == 0 ? 0 : rc == NET_CANNOT ? NET_CANNOT : 1;
}
