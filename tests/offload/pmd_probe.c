/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a driver takes of what Pando may ask of it: each kind of rule is validated and created on a
 * started port, whatever the tables in offload/nic say of it. One JSON object on standard output;
 * tests/system/offload_tests.py makes a table of these.
 *
 * usage: pando-pmd-probe DEVICE    DEVICE as nodes[].device of fabric.type: dpdk
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_ethdev.h>

#include "dataplane/config/config.h"
#include "dataplane/port/dpdk.h"
#include "dataplane/port/eal.h"
#include "dataplane/port/ethdev.h"
#include "offload/flow/device.h"

enum { QUEUE = 1, UDP_PORT = 34997, SOURCE_PORT = 49153 };

#define F(field)   (1u << RULE_##field)
#define DO(action) (1u << RULE_DO_##action)

/* What for, kind of link, fields, tagged, actions, priority, group. */
static const struct asked {
    const char *intent, *by;
    enum link_kind kind;
    uint32_t fields;
    bool tagged;
    uint32_t actions;
    uint16_t priority, group;
} asked[] = {
    {"steer", "EtherType", LINK_ETHERNET, F(ETH_TYPE), false, DO(QUEUE), 0, 0},
    {"steer", "VLAN priority", LINK_ETHERNET, F(VLAN_PCP), true, DO(QUEUE), 0, 0},
    {"steer", "VLAN priority, EtherType", LINK_ETHERNET, F(VLAN_PCP) | F(ETH_TYPE), true, DO(QUEUE),
     0, 0},
    {"steer", "class in our header", LINK_ETHERNET, F(ETH_TYPE) | F(RRDP_CLASS), false, DO(QUEUE),
     0, 0},
    {"steer", "EtherType, RSS of one queue", LINK_ETHERNET, F(ETH_TYPE), false, DO(RSS), 0, 0},
    {"steer", "UDP ports, IPv4", LINK_UDP4, F(IP_PROTO) | F(UDP_SRC) | F(UDP_DST), false, DO(QUEUE),
     0, 0},
    {"steer", "IPv4 source, UDP ports", LINK_UDP4,
     F(IP_SRC) | F(IP_PROTO) | F(UDP_SRC) | F(UDP_DST), false, DO(QUEUE), 0, 0},
    {"steer", "UDP ports, IPv6", LINK_UDP6, F(IP_PROTO) | F(UDP_SRC) | F(UDP_DST), false, DO(QUEUE),
     0, 0},
    {"fence node", "source MAC", LINK_ETHERNET, F(ETH_SRC), false, DO(DROP), 0, 0},
    {"fence node", "source MAC, EtherType", LINK_ETHERNET, F(ETH_SRC) | F(ETH_TYPE), false,
     DO(DROP), 0, 0},
    {"fence node", "source in our header", LINK_ETHERNET, F(ETH_TYPE) | F(RRDP_SOURCE), false,
     DO(DROP), 0, 0},
    {"fence node", "IPv4 source, UDP port", LINK_UDP4, F(IP_SRC) | F(IP_PROTO) | F(UDP_DST), false,
     DO(DROP), 0, 0},
    {"fence node", "IPv6 source, UDP port", LINK_UDP6, F(IP_SRC) | F(IP_PROTO) | F(UDP_DST), false,
     DO(DROP), 0, 0},
    {"fence epoch", "tag in our header", LINK_ETHERNET, F(ETH_TYPE) | F(RRDP_SOURCE) | F(RRDP_TAG),
     false, DO(DROP), 0, 0},
    {"count", "EtherType, source MAC", LINK_ETHERNET, F(ETH_TYPE) | F(ETH_SRC), false,
     DO(COUNT) | DO(QUEUE), 0, 0},
    {"mark", "EtherType, source MAC", LINK_ETHERNET, F(ETH_TYPE) | F(ETH_SRC), false,
     DO(MARK) | DO(QUEUE), 0, 0},
    {"steer", "EtherType, priority 1", LINK_ETHERNET, F(ETH_TYPE), false, DO(QUEUE), 1, 0},
    {"steer", "EtherType, group 1", LINK_ETHERNET, F(ETH_TYPE), false, DO(QUEUE), 0, 1},
};
enum { ASKED = sizeof(asked) / sizeof(asked[0]) };

static void make_rule(const struct asked *a, struct rule *out)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
    *out = (struct rule){.fields = a->fields,
                         .actions = a->actions,
                         .tagged = a->tagged,
                         .priority = a->priority,
                         .group = a->group,
                         .queue = QUEUE,
                         .mark = plan_mark(1, 2)};
    const uint8_t type[2] = {WIRE_ETHERTYPE >> 8, WIRE_ETHERTYPE & 0xFF};
    const uint8_t ports[2][2] = {{SOURCE_PORT >> 8, SOURCE_PORT & 0xFF},
                                 {UDP_PORT >> 8, UDP_PORT & 0xFF}};
    const uint8_t ip4[4] = {192, 0, 2, 9}, ip6[16] = {0xFD, [15] = 9};
    if (a->fields & F(ETH_TYPE))
        memcpy(out->value[RULE_ETH_TYPE], type, 2);
    if (a->fields & F(ETH_SRC))
        memcpy(out->value[RULE_ETH_SRC], mac, 6);
    if (a->fields & F(IP_SRC))
        memcpy(out->value[RULE_IP_SRC], a->kind == LINK_UDP4 ? ip4 : ip6,
               a->kind == LINK_UDP4 ? 4 : 16);
    if (a->fields & F(IP_PROTO))
        out->value[RULE_IP_PROTO][0] = 17;
    if (a->fields & F(UDP_SRC))
        memcpy(out->value[RULE_UDP_SRC], ports[0], 2);
    if (a->fields & F(UDP_DST))
        memcpy(out->value[RULE_UDP_DST], ports[1], 2);
    if (a->fields & F(VLAN_PCP))
        out->value[RULE_VLAN_PCP][0] = 7;
    if (a->fields & F(RRDP_SOURCE))
        out->value[RULE_RRDP_SOURCE][0] = 2;
    if (a->fields & F(RRDP_CLASS))
        out->value[RULE_RRDP_CLASS][0] = 1;
    if (a->fields & F(RRDP_TAG))
        memcpy(out->value[RULE_RRDP_TAG], "\x11\x22\x33\x44", 4);
}

static json_t *ask(uint16_t id, const struct asked *a)
{
    char validated[FLOW_WHY_MAX] = "", created[FLOW_WHY_MAX] = "", removed[FLOW_WHY_MAX] = "";
    struct flow_device_rte d;
    struct rule r;
    void *handle = NULL;
    make_rule(a, &r);
    flow_device_rte_init(&d, id, a->kind, NIC_FLEX_RAW);
    const struct flow_device_ops *ops = d.device.ops;
    ops->validate(&d.device, &r, validated);
    if (ops->create(&d.device, &r, &handle, created) == 0)
        ops->destroy(&d.device, handle, removed);
    return json_pack("{s:s, s:s, s:s, s:b, s:s, s:b, s:s, s:s}", "intent", a->intent, "by", a->by,
                     "link", link_kind_name(a->kind), "validated", validated[0] == '\0',
                     "validate_error", validated, "created", created[0] == '\0', "create_error",
                     created, "remove_error", removed);
}

static json_t *look_at(struct port *p)
{
    static const struct rrdp_mac group = {{0x03, 'P', 'A', 1, 2, 3}};
    struct ethdev_info info;
    struct rte_eth_dev_info dev = {0};
    if (ethdev_info(p, &info) != 0 || rte_eth_dev_info_get(info.id, &dev) != 0)
        return NULL;
    const char *how = port_dpdk_join_group(p, &group);
    json_t *rules = json_array();
    for (unsigned i = 0; i < ASKED; i++)
        json_array_append_new(rules, ask(info.id, &asked[i]));
    return json_pack("{s:s, s:i, s:i, s:i, s:s, s:b, s:o}", "driver", dev.driver_name,
                     "rx_queues_max", dev.max_rx_queues, "rx_queues", info.rx_queues, "mtu_max",
                     dev.max_mtu, "group_frames", how != NULL ? how : "not at all", "ipv4_checksum",
                     (dev.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0 &&
                         (dev.tx_offload_capa & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0,
                     "rules", rules);
}

int main(int argc, char **argv)
{
    char err[PORT_ERROR_MAX] = "", prefix[32];
    if (argc != 2) {
        fprintf(stderr, "usage: pando-pmd-probe DEVICE\n");
        return 2;
    }
    struct port_dpdk c = {.device = argv[1],
                          .pci = config_is_pci(argv[1]),
                          .queues = WIRE_CLASSES + 1,
                          .ethertype = WIRE_ETHERTYPE,
                          .mtu = 1400};
    struct port *p = NULL;
    snprintf(prefix, sizeof(prefix), "pmd-probe-%d", (int)getpid());
    int rc = port_eal_init(port_eal_hugepages(), PORT_EAL_ANY_CORE, c.pci ? c.device : NULL, prefix,
                           false, err);
    if (rc == 0)
        rc = port_open_dpdk(&c, &p, err);
    if (rc != 0) {
        fprintf(stderr, "pando-pmd-probe: %s\n", err);
        return 1;
    }
    json_t *all = look_at(p);
    if (all != NULL)
        json_dumpf(all, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(all);
    port_close(p);
    port_eal_close();
    return all == NULL;
}
