/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold between keys: one function a rule, each naming file, key, value and what is
 * allowed. APP. */
#include "dataplane/config/config_keys.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

struct rule_input {
    const struct config_context *ctx;
    const struct raw_config *raw;
};

#define MIB(pages) ((uint64_t)(pages) / CONFIG_PAGES_PER_MIB)

/* Nodes may be listed in any order; they are stored by number. */
static int rule_node_ids(const struct rule_input *in, struct pando_config *cfg)
{
    struct config_node sorted[WIRE_NODES_MAX];
    int at[WIRE_NODES_MAX];

    memset(at, -1, sizeof(at));
    for (unsigned i = 0; i < cfg->node_count; i++) {
        unsigned id = cfg->node[i].id;
        if (id >= cfg->node_count)
            return config_fail(
                in->ctx, -EINVAL,
                "nodes[%u].id: %u leaves a gap; allowed: 0..%u, each once, for %u nodes", i, id,
                cfg->node_count - 1, cfg->node_count);
        if (at[id] >= 0)
            return config_fail(
                in->ctx, -EINVAL,
                "nodes[%u].id: %u is already the id of nodes[%d] ('%s'); allowed: each id once", i,
                id, at[id], cfg->node[at[id]].name);
        at[id] = (int)i;
        sorted[id] = cfg->node[i];
    }
    memcpy(cfg->node, sorted, cfg->node_count * sizeof(sorted[0]));
    return 0;
}

static bool is_number(const char *s)
{
    return s[strspn(s, "0123456789")] == '\0';
}

static int rule_node_names(const struct rule_input *in, struct pando_config *cfg)
{
    for (unsigned i = 0; i < cfg->node_count; i++) {
        const char *name = cfg->node[i].name;
        if (is_number(name)) /* config_find_node takes either */
            return config_fail(
                in->ctx, -EINVAL,
                "nodes[%u].name: '%s' looks like a node number; allowed: a name with a letter", i,
                name);
        for (unsigned j = 0; j < i; j++)
            if (strcmp(name, cfg->node[j].name) == 0)
                return config_fail(
                    in->ctx, -EINVAL,
                    "nodes[%u].name: '%s' is already the name of node %u; allowed: each name once",
                    i, name, j);
    }
    return 0;
}

static int rule_vmm_node(const struct rule_input *in, struct pando_config *cfg)
{
    if (cfg->vm.vmm_node < cfg->node_count)
        return 0;
    return config_fail(in->ctx, -EINVAL, "vm.vmm_node: there is no node %u; allowed: 0..%u",
                       cfg->vm.vmm_node, cfg->node_count - 1);
}

/* Left out, homes are equal runs: 6 vCPUs on 4 nodes are 0 0 1 2 2 3. */
static int rule_vcpu_homes(const struct rule_input *in, struct pando_config *cfg)
{
    const struct raw_vm *vm = &in->raw->vm;

    if (!vm->vcpu_homes) {
        for (uint32_t v = 0; v < cfg->vm.vcpus; v++)
            cfg->vm.vcpu_home[v] = (uint8_t)(v * cfg->node_count / cfg->vm.vcpus);
        return 0;
    }
    if (vm->vcpu_homes_count != cfg->vm.vcpus)
        return config_fail(in->ctx, -EINVAL,
                           "vm.vcpu_homes: has %u entries; allowed: one for each of the %u vCPUs",
                           vm->vcpu_homes_count, cfg->vm.vcpus);
    for (uint32_t v = 0; v < cfg->vm.vcpus; v++)
        if (cfg->vm.vcpu_home[v] >= cfg->node_count)
            return config_fail(in->ctx, -EINVAL,
                               "vm.vcpu_homes: vCPU %u: there is no node %u; allowed: 0..%u", v,
                               cfg->vm.vcpu_home[v], cfg->node_count - 1);
    return 0;
}

static int rule_resident(const struct rule_input *in, struct pando_config *cfg)
{
    uint64_t sum = 0;

    for (unsigned n = 0; n < cfg->node_count; n++) {
        if (cfg->node[n].resident_pages == 0)
            return 0; /* a node without limit can hold everything */
        sum += cfg->node[n].resident_pages;
    }
    if (sum >= cfg->vm.ram_pages)
        return 0;
    return config_fail(
        in->ctx, -EINVAL,
        "nodes[].resident_mib: the nodes together may hold %" PRIu64 " MiB, less than vm.ram_mib: "
        "%" PRIu64 "; allowed: a sum of vm.ram_mib or more, or 0 (no limit) on a node",
        MIB(sum), MIB(cfg->vm.ram_pages));
}

static int rule_homes(const struct rule_input *in, struct pando_config *cfg)
{
    uint64_t sum = 0;

    for (unsigned n = 0; n < cfg->node_count; n++) {
        sum += cfg->node[n].range_pages;
        if (cfg->node[n].range_pages && cfg->vm.homes != CONFIG_HOME_RANGE)
            return config_fail(in->ctx, -EINVAL,
                               "nodes: range_mib of node %u: %" PRIu64
                               " has no effect with vm.homes: interleave; "
                               "allowed: only with vm.homes: range",
                               n, MIB(cfg->node[n].range_pages));
    }
    if (cfg->vm.homes != CONFIG_HOME_RANGE || sum == cfg->vm.ram_pages)
        return 0;
    return config_fail(in->ctx, -EINVAL,
                       "nodes[].range_mib: the ranges add up to %" PRIu64
                       " MiB; allowed: vm.ram_mib, %" PRIu64,
                       MIB(sum), MIB(cfg->vm.ram_pages));
}

static int rule_transport(const struct rule_input *in, struct pando_config *cfg)
{
    const __typeof__(cfg->transport) *t = &cfg->transport;

    if (t->ack_delay_us >= t->rto_min_us)
        return config_fail(in->ctx, -EINVAL,
                           "transport.ack_delay_us: %u; allowed: less than transport.rto_min_us, "
                           "%u, or every lone "
                           "acknowledgement comes too late",
                           t->ack_delay_us, t->rto_min_us);
    if (t->rto_max_us < t->rto_min_us)
        return config_fail(in->ctx, -EINVAL,
                           "transport.rto_max_us: %u; allowed: transport.rto_min_us, %u, or more",
                           t->rto_max_us, t->rto_min_us);
    if (t->dead_ms < 3 * t->heartbeat_ms)
        return config_fail(
            in->ctx, -EINVAL,
            "transport.dead_ms: %u; allowed: 3 times transport.heartbeat_ms, %u, or more",
            t->dead_ms, 3 * t->heartbeat_ms);
    return 0;
}

static int rule_coherence(const struct rule_input *in, struct pando_config *cfg)
{
    if (cfg->coherence.hold_max_us >= cfg->coherence.hold_us)
        return 0;
    return config_fail(in->ctx, -EINVAL,
                       "coherence.hold_max_us: %u; allowed: coherence.hold_us, %u, or more",
                       cfg->coherence.hold_max_us, cfg->coherence.hold_us);
}

static int rule_zero_ahead(const struct rule_input *in, struct pando_config *cfg)
{
    uint32_t n = cfg->coherence.zero_ahead;
    if ((n & (n - 1)) == 0)
        return 0;
    return config_fail(in->ctx, -EINVAL,
                       "coherence.zero_ahead: %u; allowed: 0, 1, 2, 4, 8, 16, 32 or 64", n);
}

/* Hexadecimal digits and marks as in the pattern, where x stands for a digit. */
bool config_is_pci(const char *device)
{
    static const char pattern[] = "xxxx:xx:xx.x";
    size_t i;
    for (i = 0; pattern[i] != '\0' && device[i] != '\0'; i++)
        if (pattern[i] == 'x' ? !isxdigit((unsigned char)device[i]) : device[i] != pattern[i])
            return false;
    return i == sizeof(pattern) - 1 && device[i] == '\0' && device[i - 1] < '8';
}

/* A device's name has to be what the fabric takes; without a fabric that takes one, an interface's.
 */
static bool valid_device(enum config_fabric type, const char *device)
{
    if (type == CONFIG_FABRIC_DPDK)
        return config_is_pci(device) || strncmp(device, "net_", 4) == 0;
    size_t most = type == CONFIG_FABRIC_VERBS ? CONFIG_RDMA_NAME_MAX : CONFIG_IFNAME_MAX;
    return strlen(device) <= most && strpbrk(device, ":,=/@") == NULL;
}

static const char *devices_of(enum config_fabric type)
{
    switch (type) {
    case CONFIG_FABRIC_DPDK:
        return "the PCI address of a NIC, as 0000:03:00.0, or a virtual device of DPDK's with its "
               "arguments, as net_tap0,iface=pando0";
    case CONFIG_FABRIC_VERBS:
        return "an RDMA device's name, 0 to 63 letters, digits, '.', '_' or '-'";
    default:
        return "a network interface's name, 0 to 15 letters, digits, '.', '_' or '-'";
    }
}

static int rule_device(const struct rule_input *in, struct pando_config *cfg)
{
    for (unsigned n = 0; n < cfg->node_count; n++) {
        bool given = cfg->node[n].device[0] != '\0';
        bool needed = config_on_the_wire(cfg->fabric.type) &&
                      cfg->fabric.type != CONFIG_FABRIC_UDP &&
                      cfg->fabric.type != CONFIG_FABRIC_VERBS;
        if (needed && !given)
            return config_fail(
                in->ctx, -EINVAL,
                "nodes: device of node %u ('%s') is missing; allowed: a network interface, which "
                "fabric.type: %s needs on every node",
                n, cfg->node[n].name, config_fabric_name(cfg->fabric.type));
        if (given && !valid_device(cfg->fabric.type, cfg->node[n].device))
            return config_fail(in->ctx, -EINVAL, "nodes[%u].device: '%s'; allowed: %s", n,
                               cfg->node[n].device, devices_of(cfg->fabric.type));
    }
    return 0;
}

/* What an address is, where that matters; NULL: one that may lead anywhere. */
static const char *special_address(uint8_t version, const uint8_t ip[16])
{
    struct in6_addr a;
    if (version == 4) {
        static const uint8_t all[4] = {255, 255, 255, 255};
        if (memcmp(ip, all, sizeof(all)) == 0)
            return "a broadcast";
        return ip[0] == 0 ? "an unspecified" : (ip[0] & 0xF0) == 0xE0 ? "a multicast" : NULL;
    }
    memcpy(&a, ip, sizeof(a));
    if (IN6_IS_ADDR_UNSPECIFIED(&a))
        return "an unspecified";
    if (IN6_IS_ADDR_V4MAPPED(&a))
        return "an IPv4-mapped";
    return IN6_IS_ADDR_MULTICAST(&a) ? "a multicast" : NULL;
}

static bool is_loopback(uint8_t version, const uint8_t ip[16])
{
    struct in6_addr a;
    memcpy(&a, ip, sizeof(a));
    return version == 4 ? ip[0] == 127 : IN6_IS_ADDR_LOOPBACK(&a);
}

static bool is_link_local6(uint8_t version, const uint8_t ip[16])
{
    struct in6_addr a;
    memcpy(&a, ip, sizeof(a));
    return version == 6 && IN6_IS_ADDR_LINKLOCAL(&a);
}

/* How the nodes may meet: at the kernel's sockets, in frames that a port writes for an interface,
 * or, on a ladder, either. */
static void ways_of(const struct pando_config *cfg, bool *ret_sockets, bool *ret_frames)
{
    *ret_sockets = cfg->fabric.type == CONFIG_FABRIC_UDP;
    *ret_frames = !*ret_sockets && cfg->fabric.type != CONFIG_FABRIC_AUTO &&
                  cfg->fabric.type != CONFIG_FABRIC_VERBS; /* its sockets know the device's link */
    for (uint32_t i = 0; cfg->fabric.type == CONFIG_FABRIC_AUTO && i < cfg->fabric.ladder_count;
         i++) {
        *ret_sockets |= cfg->fabric.ladder[i] == CONFIG_RUNG_UDP;
        *ret_frames |=
            cfg->fabric.ladder[i] != CONFIG_RUNG_UDP && cfg->fabric.ladder[i] != CONFIG_RUNG_VERBS;
    }
}

/* Addresses that no frame can leave for, or arrive from, are said here: the fabric would only find
 * that nobody answers. IPv4's link-local ones (169.254/16) need nothing but a route. */
static int check_kind_of_address(const struct rule_input *in, const struct pando_config *cfg,
                                 unsigned n)
{
    const struct config_node *node = &cfg->node[n];
    uint8_t version = cfg->fabric.ip_version;
    const char *special = special_address(version, node->ip);
    bool sockets, frames, loopback = is_loopback(version, node->ip);
    ways_of(cfg, &sockets, &frames);
    if (special != NULL)
        return config_fail(in->ctx, -EINVAL,
                           "nodes: address of node %u: %s is %s address; allowed: a unicast "
                           "address that only this node has",
                           n, node->address, special);
    if (loopback && frames)
        return config_fail(
            in->ctx, -EINVAL,
            "nodes: address of node %u: %s is a loopback address, and af_packet and "
            "af_xdp need one of nodes[].device; allowed with fabric.type: udp or verbs",
            n, node->address);
    if (loopback != is_loopback(version, cfg->node[0].ip))
        return config_fail(in->ctx, -EINVAL,
                           "nodes: address of node %u: %s, and node 0 has %s; allowed: loopback "
                           "addresses of all nodes, which are on one machine then, or of none",
                           n, node->address, cfg->node[0].address);
    if (is_link_local6(version, node->ip) && sockets)
        return config_fail(in->ctx, -EINVAL,
                           "nodes: address of node %u: %s is link-local, and a UDP socket cannot "
                           "know on which link; allowed with fabric.type: af_packet or af_xdp, or "
                           "auto without udp in fabric.ladder",
                           n, node->address);
    return 0;
}

/* A peer is its address, so each needs one, and one socket reaches them all. */
static int rule_address(const struct rule_input *in, struct pando_config *cfg)
{
    bool wrapped = cfg->fabric.encapsulation == CONFIG_ENCAP_UDP;
    if (wrapped && !config_on_the_wire(cfg->fabric.type))
        return config_fail(
            in->ctx, -EINVAL,
            "fabric.encapsulation: udp; allowed with fabric.type: af_packet, af_xdp, "
            "dpdk, auto or udp; it is %s",
            config_fabric_name(cfg->fabric.type));
    if (cfg->fabric.type != CONFIG_FABRIC_UDP && cfg->fabric.type != CONFIG_FABRIC_VERBS &&
        !wrapped)
        return 0;
    for (unsigned n = 0; n < cfg->node_count; n++) {
        struct config_node *node = &cfg->node[n];
        uint8_t version = strchr(node->address, ':') != NULL ? 6 : 4;
        if (inet_pton(version == 4 ? AF_INET : AF_INET6, node->address, node->ip) != 1)
            return config_fail(in->ctx, -EINVAL,
                               "nodes: address of node %u ('%s') is missing; allowed: an IPv4 or "
                               "IPv6 address, which %s needs on every node",
                               n, node->name,
                               cfg->fabric.type == CONFIG_FABRIC_VERBS ? "verbs" : "UDP");
        if (n > 0 && version != cfg->fabric.ip_version)
            return config_fail(in->ctx, -EINVAL,
                               "nodes: address of node %u: %s is IPv%u and node 0 has %s; allowed: "
                               "all nodes IPv4, or all IPv6",
                               n, node->address, version, cfg->node[0].address);
        cfg->fabric.ip_version = version;
        int rc = check_kind_of_address(in, cfg, n);
        if (rc != 0)
            return rc;
        for (unsigned m = 0; m < n; m++)
            if (memcmp(cfg->node[m].ip, node->ip, sizeof(node->ip)) == 0)
                return config_fail(
                    in->ctx, -EINVAL,
                    "nodes: address of node %u: %s is that of node %u; allowed: each "
                    "address once",
                    n, node->address, m);
    }
    return 0;
}

static int rule_group(const struct rule_input *in, struct pando_config *cfg)
{
    if (cfg->transport.group_min != 1)
        return 0;
    return config_fail(in->ctx, -EINVAL,
                       "transport.group_min: 1; allowed: 0, or 2 or more nodes for a common frame");
}

static int rule_ladder(const struct rule_input *in, struct pando_config *cfg)
{
    uint8_t *ladder = cfg->fabric.ladder;
    uint32_t given = in->raw->fabric.ladder_count;
    if (given > 0 && cfg->fabric.type != CONFIG_FABRIC_AUTO)
        return config_fail(in->ctx, -EINVAL,
                           "fabric.ladder: allowed with fabric.type: auto only; it is %s",
                           config_fabric_name(cfg->fabric.type));
    for (uint32_t i = 0; i < given; i++)
        for (uint32_t k = 0; k < i; k++)
            if (ladder[i] == ladder[k])
                return config_fail(in->ctx, -EINVAL,
                                   "fabric.ladder: '%s' is there twice; allowed: each once",
                                   in->raw->fabric.ladder[i]);
    bool udp = cfg->fabric.encapsulation == CONFIG_ENCAP_UDP;
    for (uint32_t i = 0; i < given; i++) {
        if (ladder[i] >= CONFIG_RUNG_UDP && !udp)
            return config_fail(in->ctx, -EINVAL,
                               "fabric.ladder: '%s' is allowed with fabric.encapsulation: udp, or "
                               "nodes on different rungs would not understand each other",
                               in->raw->fabric.ladder[i]);
        if (ladder[i] == CONFIG_RUNG_VERBS && i > 0)
            return config_fail(in->ctx, -EINVAL,
                               "fabric.ladder: 'verbs' is at place %u; allowed: as the first, as "
                               "nodes that are on it leave it when they hear of one that is not",
                               i + 1);
    }
    for (uint8_t i = 0; given == 0 && i < CONFIG_RUNG_VERBS; i++)
        if (i != CONFIG_RUNG_UDP || udp)
            ladder[cfg->fabric.ladder_count++] = i;
    if (given > 0)
        cfg->fabric.ladder_count = given;
    return 0;
}

/* A polling thread that never sleeps starves whatever shares its CPU; one that sleeps only slows
 * it. Nodes share CPUs only on one machine, which shm and memif imply. */
static int rule_cores(const struct rule_input *in, struct pando_config *cfg)
{
    bool one_machine = !config_on_the_wire(cfg->fabric.type);
    bool busy = cfg->poll.mode == CONFIG_POLL_BUSY;

    for (unsigned a = 0; a < cfg->node_count; a++)
        for (unsigned b = 0; b < cfg->node_count; b++) {
            int32_t core = cfg->node[a].dataplane_core;
            bool clash = a < b && one_machine && core >= 0 && core == cfg->node[b].dataplane_core;
            const char *what = "dataplane_core";
            for (uint32_t i = 0; !clash && core >= 0 && i < cfg->node[b].vcpu_core_count; i++)
                if ((a == b || one_machine) && cfg->node[b].vcpu_cores[i] == core) {
                    clash = true;
                    what = "vcpu_cores";
                }
            if (!clash)
                continue;
            config_fail(in->ctx, 0,
                        "%snodes: dataplane_core of node %u: CPU %d is also in %s of node %u; %s",
                        busy ? "" : "warning: ", a, core, what, b,
                        busy ? "allowed with poll.mode: busy: a CPU of its own"
                             : "they will take turns, which costs latency");
            return busy ? -EINVAL : 0;
        }
    return 0;
}

static int rule_threads(const struct rule_input *in, struct pando_config *cfg)
{
    return config_rule_threads(in->ctx, cfg);
}

int config_apply_rules(const struct config_context *ctx, const struct raw_config *raw,
                       struct pando_config *cfg)
{
    static int (*const rules[])(const struct rule_input *, struct pando_config *) = {
        rule_node_ids, rule_node_names, rule_vmm_node,  rule_vcpu_homes, rule_resident,
        rule_homes,    rule_transport,  rule_coherence, rule_zero_ahead, rule_device,
        rule_ladder,   rule_address,    rule_group,     rule_threads,    rule_cores,
    };
    struct rule_input in = {ctx, raw};

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        int r = rules[i](&in, cfg);
        if (r)
            return r;
    }
    return 0;
}
