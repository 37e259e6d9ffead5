/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What spans add up to, as JSON: the section "spans" of the summary, the last records as a file,
 * and both in pieces for telemetry. Called by telemetry's thread as well: histograms and counters
 * are read as they are, records by span_copy.
 */
#include <errno.h>
#include <jansson.h>
#include <rte_telemetry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/engine/engine.h"

/* rte_telemetry has no user pointer in 22.11. Under telemetry_hold; NULL: nothing to show, any
 * more: the glue's segment is about to be unmapped. */
static const struct engine *shown;

static void put(json_t *o, const char *key, uint64_t value)
{
    json_object_set_new(o, key, json_integer((json_int_t)value));
}

static uint64_t ns_of(const struct engine *e, uint64_t ticks)
{
    uint32_t khz = e->clock.core.map.khz;
    return khz == 0 ? 0 : (uint64_t)((clock_wide)ticks * 1000000 / khz);
}

/* The used buckets from number `from` on that fit into `most`; *ret_next: where the rest begins. */
static json_t *buckets(const struct engine *e, const struct hist *h, uint32_t from, uint32_t most,
                       uint32_t *ret_next)
{
    json_t *all = json_array();
    uint32_t i = from, n = 0;
    for (; i < HIST_BUCKETS && n < most; i++) {
        if (h->bucket[i] == 0)
            continue;
        json_t *one = json_array();
        json_array_append_new(one, json_integer((json_int_t)ns_of(e, hist_upper(i))));
        json_array_append_new(one, json_integer((json_int_t)h->bucket[i]));
        json_array_append_new(all, one);
        n++;
    }
    while (i < HIST_BUCKETS && h->bucket[i] == 0)
        i++;
    *ret_next = i;
    return all;
}

static json_t *quantiles(const struct engine *e, const struct hist *h)
{
    json_t *o = json_object();
    put(o, "n", h->count);
    put(o, "p50_ns", ns_of(e, hist_quantile(h, 500)));
    put(o, "p90_ns", ns_of(e, hist_quantile(h, 900)));
    put(o, "p99_ns", ns_of(e, hist_quantile(h, 990)));
    put(o, "max_ns", ns_of(e, h->max));
    put(o, "sum_ns", ns_of(e, h->sum));
    return o;
}

static json_t *whole_hist(const struct engine *e, const struct hist *growing)
{
    uint32_t end;
    struct hist h;
    hist_still(&h, growing);
    json_t *o = quantiles(e, &h);
    json_object_set_new(o, "buckets", buckets(e, &h, 0, HIST_BUCKETS, &end));
    return o;
}

static json_t *counts(const struct engine *e, const struct span_kind_count *c)
{
    json_t *o = json_object(), *lack = json_object();
    for (unsigned i = 0; i < SPAN_LACKS; i++)
        if (c->lack[i] != 0)
            put(lack, span_lack_name(i), c->lack[i]);
    put(o, "n", c->total.count);
    json_object_set_new(o, "incomplete", lack);
    put(o, "negative", c->negative);
    put(o, "beyond", c->beyond);
    put(o, "excess_ns", ns_of(e, c->excess));
    return o;
}

static json_t *general(const struct engine *e)
{
    const struct spans *s = e->spans;
    json_t *o = json_object(), *refused = json_object(), *open = json_object();
    static const char *const what[SPAN_WHATS] = {"fault", "ipi", "io"};
    put(o, "sample", s->cfg.sample);
    put(o, "cost_ticks", e->span.cost_ticks);
    put(o, "khz", e->clock.core.map.khz);
    put(o, "epoch", atomic_load_explicit(&e->shared->guest_epoch, memory_order_relaxed));
    put(o, "newest", span_newest(s));
    put(o, "messages_sent", s->parts_sent);
    put(o, "messages_unsent", e->span.unsent);
    put(o, "messages_taken", s->drop[SPAN_OK]);
    put(o, "pieces", s->parts);
    put(o, "pieces_replaced", s->parts_lost);
    for (unsigned i = SPAN_OK + 1; i < SPAN_DROPS; i++)
        if (s->drop[i] != 0)
            put(refused, span_drop_name(i), s->drop[i]);
    json_object_set_new(o, "refused", refused);
    for (unsigned w = 0; w < SPAN_WHATS; w++)
        put(open, what[w],
            span_open_count(s, (enum span_what)w, false) +
                span_open_count(s, (enum span_what)w, true));
    json_object_set_new(o, "open", open);
    return o;
}

/* For the summary. */
json_t *span_section(const struct engine *e)
{
    json_t *o = general(e), *kinds = json_object();
    for (unsigned k = 0; k < SPAN_KINDS; k++) {
        const struct span_kind_count *c = &e->spans->kind[k];
        enum span_what what = span_what_of((enum span_kind)k);
        json_t *kind = counts(e, c), *stages = json_object();
        json_object_set_new(kind, "total", whole_hist(e, &c->total));
        for (unsigned p = 1; p < span_points(what); p++)
            if (c->stage[p].count != 0)
                json_object_set_new(stages, span_point_name(what, p), whole_hist(e, &c->stage[p]));
        json_object_set_new(kind, "stages", stages);
        json_object_set_new(kinds, span_kind_name(k), kind);
    }
    json_object_set_new(o, "kinds", kinds);
    return o;
}

static json_t *record(const struct span_record *r)
{
    enum span_what what = span_what_of((enum span_kind)r->kind);
    json_t *o = json_object(), *stamps = json_object();
    put(o, "serial", r->serial);
    json_object_set_new(o, "kind", json_string(span_kind_name(r->kind)));
    put(o, "id", r->id);
    put(o, "object", r->object);
    put(o, "chan", r->chan);
    put(o, "home", r->home);
    json_object_set_new(o, "owner",
                        r->owner == SPAN_NODE_NONE ? json_null() : json_integer(r->owner));
    json_object_set_new(o, "again", json_boolean((r->flags & SPAN_AGAIN) != 0));
    json_object_set_new(o, "negative", json_boolean((r->flags & SPAN_NEGATIVE) != 0));
    json_object_set_new(o, "beyond", json_boolean((r->flags & SPAN_BEYOND) != 0));
    put(o, "error_ticks", r->error);
    put(o, "peer_error_ticks", r->peer_error);
    for (unsigned p = 0; p < span_points(what); p++)
        if ((r->points >> p & 1) != 0)
            put(stamps, span_point_name(what, p), r->stamp[p]);
    json_object_set_new(o, "stamps", stamps);
    return o;
}

static uint64_t oldest(const struct engine *e)
{
    uint64_t newest = span_newest(e->spans);
    return newest > SPAN_RING ? newest - SPAN_RING + 1 : 1;
}

/* The last records, a line each. 0 or -errno. */
int span_records_write(const struct engine *e, const char *path)
{
    FILE *f = fopen(path, "w");
    struct span_record r;
    if (f == NULL)
        return -errno;
    int rc = 0;
    for (uint64_t i = oldest(e); rc == 0 && i <= span_newest(e->spans); i++) {
        if (!span_copy(e->spans, i, &r))
            continue;
        json_t *o = record(&r);
        char *text = json_dumps(o, JSON_COMPACT);
        if (text == NULL || fprintf(f, "%s\n", text) < 0)
            rc = -EIO;
        free(text);
        json_decref(o);
    }
    if (fclose(f) != 0 && rc == 0)
        rc = -errno;
    return rc;
}

/* ---- telemetry ----------------------------------------------------------------------------- */

enum {
    TEXT_MAX = RTE_TEL_MAX_SINGLE_STRING_LEN - 1,
    BUCKETS_A_PAGE = 150, /* two numbers of up to 20 digits and punctuation each */
};

static int answer(struct rte_tel_data *d, json_t *o)
{
    char *text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT);
    int rc = text == NULL || strlen(text) > TEXT_MAX ? -1 : rte_tel_data_string(d, text);
    free(text);
    json_decref(o);
    return rc;
}

/* What there is: kinds with their counts and the names of their stages. */
static json_t *overview(const struct engine *e)
{
    json_t *o = general(e), *kinds = json_object();
    for (unsigned k = 0; k < SPAN_KINDS; k++) {
        const struct span_kind_count *c = &e->spans->kind[k];
        enum span_what what = span_what_of((enum span_kind)k);
        json_t *kind = counts(e, c), *stages = json_array();
        for (unsigned p = 1; p < span_points(what); p++)
            if (c->stage[p].count != 0)
                json_array_append_new(stages, json_string(span_point_name(what, p)));
        json_object_set_new(kind, "stages", stages);
        json_object_set_new(kinds, span_kind_name(k), kind);
    }
    json_object_set_new(o, "kinds", kinds);
    return o;
}

static const struct hist *hist_named(const struct engine *e, const char *kind, const char *stage)
{
    for (unsigned k = 0; k < SPAN_KINDS; k++) {
        const struct span_kind_count *c = &e->spans->kind[k];
        enum span_what what = span_what_of((enum span_kind)k);
        if (strcmp(kind, span_kind_name(k)) != 0)
            continue;
        if (strcmp(stage, "total") == 0)
            return &c->total;
        for (unsigned p = 1; p < span_points(what); p++)
            if (strcmp(stage, span_point_name(what, p)) == 0)
                return &c->stage[p];
    }
    return NULL;
}

/* KIND,STAGE[,BUCKET]: STAGE may be total; BUCKET: where `next` of the answer before said. */
static int show_spans(const char *params, struct rte_tel_data *d)
{
    char kind[16] = "", stage[16] = "";
    unsigned from = 0;
    if (params == NULL || *params == '\0')
        return answer(d, overview(shown));
    if (sscanf(params, "%15[a-z_],%15[a-z_],%u", kind, stage, &from) < 2)
        return -1;
    const struct hist *h = hist_named(shown, kind, stage);
    if (h == NULL || from >= HIST_BUCKETS)
        return -1;
    uint32_t next;
    json_t *o = quantiles(shown, h);
    json_object_set_new(o, "buckets", buckets(shown, h, from, BUCKETS_A_PAGE, &next));
    json_object_set_new(o, "next", next < HIST_BUCKETS ? json_integer(next) : json_null());
    return answer(d, o);
}

/* FROM: serial of the first record; as many as fit, and which is the next. */
static int show_records(const char *params, struct rte_tel_data *d)
{
    uint64_t from = params != NULL ? strtoull(params, NULL, 10) : 0, i, newest;
    json_t *o = json_object(), *all = json_array();
    struct span_record r;
    size_t size = 64; /* what is around them */
    newest = span_newest(shown->spans);
    for (i = max_u64(from, oldest(shown)); i <= newest; i++) {
        if (!span_copy(shown->spans, i, &r))
            continue;
        json_t *one = record(&r);
        char *text = json_dumps(one, JSON_COMPACT);
        size += text != NULL ? strlen(text) + 1 : TEXT_MAX;
        free(text);
        if (size > TEXT_MAX) {
            json_decref(one);
            break;
        }
        json_array_append_new(all, one);
    }
    json_object_set_new(o, "records", all);
    put(o, "next", i);
    return answer(d, o);
}

static int on_spans(const char *cmd, const char *params, struct rte_tel_data *d)
{
    (void)cmd;
    telemetry_hold();
    int rc = shown == NULL ? -1 : show_spans(params, d);
    telemetry_release();
    return rc;
}

static int on_records(const char *cmd, const char *params, struct rte_tel_data *d)
{
    (void)cmd;
    telemetry_hold();
    int rc = shown == NULL ? -1 : show_records(params, d);
    telemetry_release();
    return rc;
}

void span_telemetry(const struct engine *e)
{
    telemetry_hold();
    shown = e;
    telemetry_release();
    if (e == NULL)
        return;
    rte_telemetry_register_cmd("/pando/spans", on_spans,
                               "Stages of sampled transactions; ,KIND,STAGE[,BUCKET]: a histogram");
    rte_telemetry_register_cmd("/pando/span_raw", on_records,
                               "The last sampled transactions, stamp by stamp; ,FROM: a serial");
}
