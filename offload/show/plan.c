/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/port/port.h"
#include "offload/nic/nic.h"
#include "offload/show/show.h"

enum {
    KEY_NIC = 256,
    KEY_CONFIG,
    KEY_QUEUES,
    KEY_FENCE,
    KEY_EPOCH,
    KEY_MAC,
    KEY_WITHOUT,
    QUEUES_DEFAULT = 5, /* one for each class, one for the rest */
    FENCES_MAX = WIRE_NODES_MAX + PLAN_EPOCHS_MAX,
};

struct options {
    const char *nic, *config, *node;
    uint16_t queues;
    bool json, no_count, no_mark;
    /* What can only be read with the configuration. */
    const char *fence[FENCES_MAX], *epoch[FENCES_MAX], *mac[FENCES_MAX];
    unsigned fences, epochs, macs;
};

static const char title[] = "pando offload plan";

static const struct argp_option option_list[] = {
    {"nic", KEY_NIC, "NAME", 0, "Family of NICs (pando offload nics), or a DPDK driver's name", 0},
    {"config", KEY_CONFIG, "FILE", 0, "Cluster configuration", 0},
    {"node", 'n', "N", 0, "Whose NIC: its number or name. Default: the first node's", 0},
    {"queues", KEY_QUEUES, "N", 0, "Receive queues. Default: 5, or as many as there can be", 0},
    {"fence", KEY_FENCE, "N", 0, "A node that is fenced, by number or name; several times", 0},
    {"epoch", KEY_EPOCH, "N:TAG", 0, "An old connection of node N that is; several times", 0},
    {"mac", KEY_MAC, "N=MAC", 0,
     "Over plain Ethernet: the address of node N, as running nodes learn it; several times", 0},
    {"without", KEY_WITHOUT, "WHAT", 0, "count or mark: plan without it", 0},
    {"json", 'j', NULL, 0, "The same as JSON", 0},
    {0},
};

static void append(struct argp_state *state, const char **list, unsigned *n, const char *arg)
{
    if (*n == FENCES_MAX)
        argp_error(state, "'%s': %u of them are allowed", arg, FENCES_MAX);
    list[(*n)++] = arg;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case KEY_NIC:
        o->nic = arg;
        break;
    case KEY_CONFIG:
        o->config = arg;
        break;
    case 'n':
        o->node = arg;
        break;
    case KEY_QUEUES:
        o->queues = (uint16_t)out_option(state, "--queues", arg, 1, PLAN_QUEUES_MAX);
        break;
    case KEY_FENCE:
        append(state, o->fence, &o->fences, arg);
        break;
    case KEY_EPOCH:
        append(state, o->epoch, &o->epochs, arg);
        break;
    case KEY_MAC:
        append(state, o->mac, &o->macs, arg);
        break;
    case KEY_WITHOUT:
        if (strcmp(arg, "count") != 0 && strcmp(arg, "mark") != 0)
            argp_error(state, "--without: '%s': count and mark are allowed", arg);
        o->no_count = o->no_count || arg[0] == 'c';
        o->no_mark = o->no_mark || arg[0] == 'm';
        break;
    case 'j':
        o->json = true;
        break;
    case ARGP_KEY_END:
        if (o->nic == NULL || o->config == NULL)
            argp_error(state, "--nic and --config are needed");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp argp = {
    .options = option_list,
    .parser = parse,
    .doc = "Prints how a NIC would be asked to sort, count and drop Pando's frames: first each "
           "intent with who serves it, then the rules, in dpdk-testpmd's words. Needs no NIC.",
};

/* ---- input --------------------------------------------------------------------------------- */

static bool refuse(const char *option, const char *text, const char *allowed)
{
    fprintf(stderr, "%s: %s: '%s': %s\n", title, option, text, allowed);
    return false;
}

static bool peer_named(const struct pando_config *cfg, uint8_t self, const char *option,
                       const char *name, uint8_t *ret_node)
{
    char err[CONFIG_ERROR_MAX];
    if (config_find_node(cfg, name, ret_node, err) != 0)
        return refuse(option, name, err);
    if (*ret_node == self)
        return refuse(option, name, "a node is not its own peer");
    return true;
}

/* "NODE<separator>REST" */
static bool split(const char *text, char separator, char name[CONFIG_NAME_MAX],
                  const char **ret_rest)
{
    const char *s = strchr(text, separator);
    if (s == NULL || (size_t)(s - text) >= CONFIG_NAME_MAX)
        return false;
    memcpy(name, text, (size_t)(s - text));
    name[s - text] = '\0';
    *ret_rest = s + 1;
    return true;
}

static bool read_epoch(const struct pando_config *cfg, const char *text, struct plan_input *in)
{
    char name[CONFIG_NAME_MAX], *end;
    const char *rest;
    uint8_t node;
    if (!split(text, ':', name, &rest))
        return refuse("--epoch", text, "node:tag is allowed, as 1:0x1a2b3c4d");
    unsigned long long tag = strtoull(rest, &end, 0);
    if (*rest < '0' || *rest > '9' || *end != '\0' || tag > UINT32_MAX)
        return refuse("--epoch", text, "a tag of 0..0xffffffff is allowed");
    if (!peer_named(cfg, in->link.self, "--epoch", name, &node))
        return false;
    for (uint32_t i = 0; i < in->epochs; i++)
        if (in->epoch[i].node == node && in->epoch[i].tag == tag)
            return true;
    if (in->epochs == PLAN_EPOCHS_MAX)
        return refuse("--epoch", text, "64 of them are allowed");
    in->epoch[in->epochs].node = node;
    in->epoch[in->epochs++].tag = (uint32_t)tag;
    return true;
}

/* Six times two hexadecimal digits, and nothing else. */
static bool parse_mac(const char *s, uint8_t ret_mac[6])
{
    for (unsigned i = 0; i < 6; i++, s += 3) {
        if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]) ||
            s[2] != (i < 5 ? ':' : '\0'))
            return false;
        ret_mac[i] = (uint8_t)strtoul((const char[]){s[0], s[1], '\0'}, NULL, 16);
    }
    return true;
}

static bool read_mac(const struct pando_config *cfg, const char *text, struct plan_input *in)
{
    static const uint8_t none[6];
    char name[CONFIG_NAME_MAX], has[64];
    const char *rest;
    uint8_t mac[6], node;
    if (!split(text, '=', name, &rest) || !parse_mac(rest, mac))
        return refuse("--mac", text, "node=address is allowed, as 1=02:50:41:00:00:01");
    if (memcmp(mac, none, 6) == 0 || (mac[0] & 1) != 0)
        return refuse("--mac", text, "a station's address is allowed, not 0, a group's or all's");
    if (!peer_named(cfg, in->link.self, "--mac", name, &node))
        return false;
    for (uint8_t n = 0; n < in->link.nodes; n++) {
        bool same = memcmp(in->peer_mac[n], mac, 6) == 0;
        if (n == node ? same || memcmp(in->peer_mac[n], none, 6) == 0 : !same)
            continue;
        snprintf(has, sizeof(has), "node %u has %s address already", n, same ? "this" : "another");
        return refuse("--mac", text, has);
    }
    memcpy(in->peer_mac[node], mac, 6);
    return true;
}

static bool choose_queues(const struct options *o, const struct nic *nic, struct plan_input *in)
{
    uint16_t most = nic->queues < PLAN_QUEUES_MAX ? nic->queues : PLAN_QUEUES_MAX;
    if (o->queues > most) {
        fprintf(stderr, "%s: --queues: %u: %s has %u at most\n", title, o->queues, nic->name, most);
        return false;
    }
    in->queues = o->queues > 0 ? o->queues : most < QUEUES_DEFAULT ? most : QUEUES_DEFAULT;
    plan_class_queues(in->queues, in->class_queue);
    return true;
}

static void link_of(const struct pando_config *cfg, struct plan_input *in)
{
    bool udp =
        cfg->fabric.type == CONFIG_FABRIC_UDP || cfg->fabric.encapsulation == CONFIG_ENCAP_UDP;
    in->link.kind = !udp ? LINK_ETHERNET : cfg->fabric.ip_version == 4 ? LINK_UDP4 : LINK_UDP6;
    in->link.udp_port = cfg->fabric.udp_port;
    in->link.nodes = (uint8_t)cfg->node_count;
    in->ethertype = cfg->fabric.ethertype;
    for (uint32_t n = 0; n < cfg->node_count; n++)
        memcpy(in->link.ip[cfg->node[n].id], cfg->node[n].ip, sizeof(cfg->node[n].ip));
    struct rrdp_mac group = port_group_mac(cfg->cluster_id);
    memcpy(in->group_mac, &group, sizeof(in->group_mac));
}

static bool read_input(const struct options *o, const struct pando_config *cfg,
                       const struct nic *nic, struct plan_input *in)
{
    char err[CONFIG_ERROR_MAX];
    in->link.self = cfg->node[0].id;
    if (o->node != NULL && config_find_node(cfg, o->node, &in->link.self, err) != 0)
        return refuse("--node", o->node, err);
    if (cfg->node_count < 2)
        return refuse("--config", o->config, "one node has no peers: there is nothing to plan");
    link_of(cfg, in);
    in->count = !o->no_count;
    in->mark = !o->no_mark;
    in->replicate = in->checksum = true;
    for (unsigned i = 0; i < o->fences; i++) {
        uint8_t node;
        if (!peer_named(cfg, in->link.self, "--fence", o->fence[i], &node))
            return false;
        in->fenced |= UINT64_C(1) << node;
    }
    for (unsigned i = 0; i < o->epochs; i++)
        if (!read_epoch(cfg, o->epoch[i], in))
            return false;
    for (unsigned i = 0; i < o->macs; i++)
        if (!read_mac(cfg, o->mac[i], in))
            return false;
    return choose_queues(o, nic, in);
}

static const struct nic *find_nic(const char *name)
{
    const struct nic *nic = nic_by_name(name);
    if (nic == NULL)
        nic = nic_by_driver(name);
    if (nic != NULL)
        return nic;
    fprintf(stderr, "%s: --nic: '%s': not known; allowed are", title, name);
    for (unsigned i = 0; nic_at(i) != NULL; i++)
        fprintf(stderr, " %s", nic_at(i)->name);
    fprintf(stderr, " and names of DPDK drivers\n");
    return NULL;
}

/* ---- output -------------------------------------------------------------------------------- */

static void print_line(void *arg, const char *line)
{
    fprintf(arg, "%s\n", line);
}

static json_t *intents_json(const struct plan *p)
{
    json_t *all = json_array();
    for (uint32_t i = 0; i < p->intents; i++) {
        char text[PLAN_TEXT_MAX];
        plan_intent_text(&p->intent[i].intent, text, sizeof(text));
        json_array_append_new(all,
                              json_pack("{s:s, s:s, s:b, s:s}", "intent", text, "by",
                                        plan_backend_name(p->intent[i].by), "partly",
                                        (int)p->intent[i].partly, "reason", p->intent[i].reason));
    }
    return all;
}

static json_t *rules_json(const struct nic *nic, const struct plan_input *in, const struct plan *p)
{
    json_t *all = json_array();
    for (uint32_t i = 0; i < p->rules; i++) {
        char text[PLAN_TEXT_MAX], before[PLAN_TEXT_MAX];
        plan_rule_text(nic, in, &p->rule[i], text, sizeof(text));
        plan_before_rule_text(nic, in, &p->rule[i], before, sizeof(before));
        json_t *r =
            json_pack("{s:s, s:s}", "text", text, "shape", nic->shape[p->rule[i].shape].name);
        if (before[0] != '\0')
            json_object_set_new(r, "before", json_string(before));
        json_array_append_new(all, r);
    }
    return all;
}

static bool print_json(const struct nic *nic, const struct plan_input *in, const struct plan *p)
{
    char before[2 * PLAN_TEXT_MAX];
    plan_before_all_text(nic, in, p, before, sizeof(before));
    return out_json(offload_title,
                    json_pack("{s:i, s:s, s:s, s:i, s:i, s:s, s:i, s:s, s:s, s:o, s:o}", "schema",
                              1, "what", "offload plan", "nic", nic->name, "node",
                              (int)in->link.self, "nodes", (int)in->link.nodes, "link",
                              link_kind_name(in->link.kind), "queues", (int)in->queues, "notes",
                              nic->notes, "before", before, "intents", intents_json(p), "rules",
                              rules_json(nic, in, p)));
}

int plan_main(int argc, char **argv)
{
    struct options o = {0};
    static struct pando_config cfg;
    static struct plan_input in;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    const struct nic *nic = find_nic(o.nic);
    if (nic == NULL)
        return EXIT_USAGE;
    if (!out_config(title, o.config, &cfg) || !read_input(&o, &cfg, nic, &in))
        return EXIT_USAGE;
    struct plan *p = calloc(1, sizeof(*p));
    int rc = p != NULL ? plan_make(nic, &in, p) : -1;
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", title, p != NULL ? "the plan was refused" : "no memory");
        free(p);
        return 1;
    }
    bool ok = true;
    if (o.json) {
        ok = print_json(nic, &in, p);
    } else {
        if (nic->notes[0] != '\0')
            printf("# note: %s\n", nic->notes);
        if (!config_on_the_wire(cfg.fabric.type))
            printf("# note: fabric.type is %s, which has no NIC: planned as if over Ethernet\n",
                   config_fabric_name(cfg.fabric.type));
        plan_print(nic, &in, p, print_line, stdout);
        ok = out_written(offload_title);
    }
    free(p);
    return ok ? 0 : 1;
}
