/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plans as text, in tests/golden/offload, one for each NIC family that takes rules and each kind of
 * link: what `pando offload plan` prints, to be read as a NIC's engineer would. The table in
 * offload/README.md is made of the same plans. PANDO_GOLDEN_WRITE=1 writes what is true now into
 * all of them (then read the diff).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "offload/nic/nic.h"
#include "offload/plan/plan.h"

#ifndef PANDO_SOURCE_ROOT
#define PANDO_SOURCE_ROOT "."
#endif

enum { TEXT_MAX = 65536, NODES = 3, FENCED = 2, OLD = 1 };

struct out {
    char text[TEXT_MAX];
    size_t n;
};

static struct out out;
static struct plan plan;

static void put(void *arg, const char *line)
{
    struct out *o = arg;
    int n = snprintf(o->text + o->n, sizeof(o->text) - o->n, "%s\n", line);
    assert_true(n > 0 && (size_t)n < sizeof(o->text) - o->n);
    o->n += (size_t)n;
}

static void read_all(const char *path, struct out *o)
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("cannot open %s: PANDO_GOLDEN_WRITE=1 makes it", path);
    o->n = fread(o->text, 1, sizeof(o->text) - 1, f);
    o->text[o->n] = '\0';
    fclose(f);
}

static bool writes(void)
{
    const char *w = getenv("PANDO_GOLDEN_WRITE");
    return w != NULL && strcmp(w, "1") == 0;
}

static void compare(const char *path, const struct out *now)
{
    static struct out was;
    if (writes()) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(now->text, 1, now->n, f), now->n);
        assert_int_equal(fclose(f), 0);
        return;
    }
    read_all(path, &was);
    if (strcmp(was.text, now->text) != 0)
        fail_msg("%s is not what is planned now:\n%s", path, now->text);
}

/* Three nodes, of which one is fenced and another was here before; all that can be wanted. */
static struct plan_input input(const struct nic *nic, enum link_kind kind)
{
    struct plan_input in = {
        .link = {.kind = kind, .udp_port = 18514, .self = 0, .nodes = NODES},
        .ethertype = WIRE_ETHERTYPE,
        .group_mac = {3, 'P', 'A', 0xC3, 0xB2, 0xA1},
        .queues = (uint16_t)min_u64(nic->queues, 5),
        .count = true,
        .mark = true,
        .replicate = true,
        .checksum = true,
        .fenced = bit64(FENCED),
        .epochs = 1,
        .epoch = {{.node = OLD, .tag = 0x1A2B3C4D}},
        .local = bit64(OLD),
        .local_port = {[OLD] = 2},
        .own_port = 1,
        .wire_port = 0,
    };
    static const uint8_t net4[3] = {192, 0, 2}, net6[4] = {0x20, 0x01, 0x0D, 0xB8};
    for (uint8_t n = 0; n < NODES; n++) {
        const uint8_t mac[6] = {2, 'P', 'A', 0, 0, n};
        memcpy(in.peer_mac[n], mac, 6);
        memcpy(in.link.ip[n], kind == LINK_UDP4 ? net4 : net6, kind == LINK_UDP4 ? 3 : 4);
        in.link.ip[n][kind == LINK_UDP4 ? 3 : 15] = (uint8_t)(n + 1);
    }
    plan_class_queues(in.queues, in.class_queue);
    return in;
}

static void plans(void **state)
{
    (void)state;
    for (unsigned i = 0; nic_at(i) != NULL; i++)
        for (enum link_kind k = 0; nic_at(i)->templates > 0 && k < LINK_KINDS; k++) {
            char path[256];
            struct plan_input in = input(nic_at(i), k);
            assert_int_equal(plan_make(nic_at(i), &in, &plan), 0);
            out.n = 0;
            plan_print(nic_at(i), &in, &plan, put, &out);
            snprintf(path, sizeof(path), "%s/tests/golden/offload/%s_%s.txt", PANDO_SOURCE_ROOT,
                     nic_at(i)->name, link_kind_name(k));
            compare(path, &out);
        }
}

/* ---- the table in README.md ---------------------------------------------------------------- */

static const char begin[] = "<!-- made by tests/unit/test_offload_golden.c -->\n";
static const char end[] = "<!-- end -->\n";

/* Of all intents of one type: what the worst of them says. */
static const char *word(enum intent_type type)
{
    bool there = false, hardware = false, software = false, partly = false;
    for (uint32_t i = 0; i < plan.intents; i++) {
        const struct intent_plan *p = &plan.intent[i];
        if (p->intent.type != type || p->by == BACKEND_NONE)
            continue;
        there = true;
        hardware = hardware || p->by == BACKEND_HARDWARE;
        software = software || p->by != BACKEND_HARDWARE;
        partly = partly || p->partly;
    }
    if (!there)
        return "-";
    return partly || (hardware && software) ? "partly" : hardware ? "NIC" : "software";
}

static void table_row(const struct nic *nic, enum link_kind kind)
{
    static const enum intent_type column[] = {INTENT_FENCE_NODE, INTENT_FENCE_EPOCH, INTENT_STEER,
                                              INTENT_COUNT,      INTENT_MARK,        INTENT_GROUP,
                                              INTENT_REPLICATE,  INTENT_CHECKSUM};
    char line[256];
    struct plan_input in = input(nic, kind);
    assert_int_equal(plan_make(nic, &in, &plan), 0);
    int n = snprintf(line, sizeof(line), "| %s | %s |", nic->name, link_kind_name(kind));
    for (unsigned c = 0; c < PANDO_ARRAY_LEN(column); c++)
        n += snprintf(line + n, sizeof(line) - (size_t)n, " %s |", word(column[c]));
    put(&out, line);
}

static void table(void **state)
{
    (void)state;
    static struct out was;
    static const char path[] = PANDO_SOURCE_ROOT "/offload/README.md";
    read_all(path, &was);
    char *from = strstr(was.text, begin), *to = strstr(was.text, end);
    assert_true(from != NULL && to != NULL && from < to);
    from += strlen(begin);
    out.n = (size_t)(from - was.text);
    memcpy(out.text, was.text, out.n);
    put(&out,
        "| NIC | link | fence node | fence epoch | steer | count | mark | group | replicate | "
        "checksum |");
    put(&out, "|---|---|---|---|---|---|---|---|---|---|");
    for (unsigned i = 0; nic_at(i) != NULL; i++)
        for (enum link_kind k = 0; nic_at(i)->templates > 0 && k < LINK_KINDS; k++)
            table_row(nic_at(i), k);
    size_t rest = strlen(to);
    assert_true(out.n + rest < sizeof(out.text));
    memcpy(out.text + out.n, to, rest + 1);
    out.n += rest;
    compare(path, &out);
}

/* ---- what no family shows ------------------------------------------------------------------ */

static const struct intent_plan *find(enum intent_type type, uint8_t cls, uint8_t node)
{
    for (uint32_t i = 0; i < plan.intents; i++) {
        const struct intent *p = &plan.intent[i].intent;
        if (p->type == type && p->cls == cls && p->node == node)
            return &plan.intent[i];
    }
    fail_msg("no such intent");
    return NULL;
}

static void expect(enum intent_type type, uint8_t cls, uint8_t node, enum backend by, bool partly,
                   const char *reason)
{
    const struct intent_plan *p = find(type, cls, node);
    assert_string_equal(p->reason, reason);
    assert_int_equal(p->by, by);
    assert_int_equal(p->partly, partly);
}

/* Too few rules: first counting goes, then, class by class and from the least on, steering. */
static void room(void **state)
{
    (void)state;
    struct nic nic = *nic_by_name("mlx5");
    struct plan_input in = input(&nic, LINK_UDP4);
    nic.shape[0].capacity = 8;
    in.mark = false;
    assert_int_equal(plan_make(&nic, &in, &plan), 0);
    assert_int_equal(plan.rules, 5);
    expect(INTENT_COUNT, 0, OLD, BACKEND_SOFTWARE, false, "9 rules are wanted, flow rule takes 8");
    expect(INTENT_STEER, 3, RULE_ANY, BACKEND_HARDWARE, false, "");
    nic.shape[0].capacity = 4;
    assert_int_equal(plan_make(&nic, &in, &plan), 0);
    assert_int_equal(plan.rules, 4);
    expect(INTENT_FENCE_NODE, RULE_ANY, FENCED, BACKEND_HARDWARE, false, "");
    expect(INTENT_STEER, 2, RULE_ANY, BACKEND_HARDWARE, false, "");
    expect(INTENT_STEER, 3, RULE_ANY, BACKEND_SOFTWARE, false,
           "1 of 1 nodes come to queue 0: 5 rules are wanted, flow rule takes 4");
    in.fenced = 0;
    nic.shape[0].must = nic.shape[0].may & ~(UINT32_C(1) << RULE_VLAN_PCP | UINT32_C(7));
    nic.shape[0].capacity = 3;
    assert_int_equal(plan_make(&nic, &in, &plan), 0);
    expect(INTENT_STEER, 1, RULE_ANY, BACKEND_HARDWARE, true,
           "1 of 2 nodes come to queue 0: 8 rules are wanted, flow rule takes 3");
}

static void addresses(void **state)
{
    (void)state;
    struct plan_input in = input(nic_by_name("mlx5"), LINK_ETHERNET);
    memset(in.peer_mac, 0, sizeof(in.peer_mac));
    assert_int_equal(plan_make(nic_by_name("mlx5"), &in, &plan), 0);
    expect(INTENT_FENCE_NODE, RULE_ANY, FENCED, BACKEND_SOFTWARE, false,
           "no MAC address is known of the node");
    in.xdp = true;
    assert_int_equal(plan_make(&nic_none, &in, &plan), 0);
    expect(INTENT_FENCE_NODE, RULE_ANY, FENCED, BACKEND_XDP, false,
           "no rules are known for this port and link");
    in.refused_intents = UINT32_C(1) << INTENT_FENCE_NODE;
    in.xdp = false;
    assert_int_equal(plan_make(nic_by_name("bluefield2"), &in, &plan), 0);
    expect(INTENT_FENCE_NODE, RULE_ANY, FENCED, BACKEND_SOFTWARE, false,
           "the device refused its rules");
}

static void found_by_name(void **state)
{
    (void)state;
    assert_null(nic_by_name("mlx"));
    assert_null(nic_by_name("mlx55"));
    assert_null(nic_by_driver(""));
    assert_null(nic_by_driver("net_e1000"));
    assert_string_equal(nic_by_driver("net_e1000_em")->name, "e1000e");
    assert_string_equal(nic_by_driver("net_virtio_user")->name, "virtio");
    for (unsigned i = 0; nic_at(i) != NULL; i++) {
        assert_ptr_equal(nic_by_name(nic_at(i)->name), nic_at(i));
        assert_true(nic_at(i)->templates <= NIC_TEMPLATES_MAX);
        assert_true(nic_at(i) == &nic_none || strstr(nic_at(i)->source, "22.11") != NULL);
        for (unsigned s = 0; s < nic_at(i)->templates; s++)
            assert_non_null(strstr(nic_at(i)->shape[s].source, "22.11"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans),     cmocka_unit_test(table),         cmocka_unit_test(room),
        cmocka_unit_test(addresses), cmocka_unit_test(found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
