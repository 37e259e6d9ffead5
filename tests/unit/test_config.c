/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration: every bad input is refused with a sentence that names key, value and what is
 * allowed; every example loads; the reference is current; the hash covers what nodes must have in
 * common and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/config/config.h"

#define NODES "nodes:\n- {id: 0, name: a}\n- {id: 1, name: b}\n"
#define TOP   "cluster: c\nvm: {ram_mib: 8, vcpus: 4}\n"
#define GOOD  TOP NODES

static int parse(const char *text, struct pando_config *cfg, char err[CONFIG_ERROR_MAX])
{
    return config_parse(text, strlen(text), "f.yaml", cfg, err);
}

/* ---- bad input: one test each --------------------------------------------------------------- */

struct bad {
    const char *name;
    const char *text;
    const char *says[4]; /* all must be in the message */
};

#define ADDRESSES(a, b)                                                                            \
    TOP "nodes:\n- {id: 0, name: a, device: eth0, address: '" a "'}\n"                             \
        "- {id: 1, name: b, device: eth0, address: '" b "'}\n"
#define UDP      "fabric: {type: udp}\n"
#define ONE_NODE "nodes:\n- {id: 0, name: a}\n"
static const struct bad bad_inputs[] = {
    {"empty file", "", {"empty"}},
    {"not a mapping", "- 1\n", {"MAPPING"}},
    {"not YAML", "cluster: \"c\n", {"line 1", "end of stream"}},
    {"two documents", GOOD "---\na: 1\n", {"one document"}},
    {"an alias", "cluster: &x c\nvm: {name: *x, ram_mib: 8, vcpus: 1}\n" ONE_NODE, {"alias"}},
    {"unknown top-level key",
     "colour: red\n" GOOD,
     {"'colour'", "line 1", "allowed: cluster run_dir vm"}},
    {"unknown key in vm",
     "cluster: c\nvm: {ram: 8, vcpus: 1}\n" ONE_NODE,
     {"'ram'", "in vm", "ram_mib"}},
    {"unknown key in a node",
     TOP "nodes:\n- {id: 0, name: a}\n- {id: 1, name: b, core: 3}\n",
     {"'core'", "nodes[1]", "line 5", "dataplane_core"}},
    {"unknown key in faults",
     GOOD "fabric: {faults: {loss: 3}}\n",
     {"'loss'", "fabric.faults", "drop_ppm"}},
    {"unknown key in fabric", GOOD "fabric: {kind: shm}\n", {"'kind'", "in fabric", "faults"}},
    {"key given twice", GOOD "poll: {mode: busy, mode: busy}\n", {"poll.mode", "twice"}},
    {"scalar for a section", "cluster: c\nvm: 4\n" NODES, {"vm", "MAPPING"}},
    {"list for a scalar", GOOD "fabric: {mtu: [1500]}\n", {"fabric.mtu", "SEQUENCE"}},
    {"cluster missing", "vm: {ram_mib: 8, vcpus: 1}\n" NODES, {"cluster is missing"}},
    {"ram missing", "cluster: c\nvm: {vcpus: 1}\n" NODES, {"vm.ram_mib is missing"}},
    {"vcpus missing", "cluster: c\nvm: {ram_mib: 8}\n" NODES, {"vm.vcpus is missing"}},
    {"nodes missing", TOP, {"nodes is missing", "1..64"}},
    {"nodes empty", TOP "nodes: []\n", {"nodes is missing or empty"}},
    {"node id missing", TOP "nodes:\n- {name: a}\n", {"nodes[0].id is missing"}},
    {"node name missing", TOP "nodes:\n- {id: 0}\n", {"nodes[0].name is missing"}},
    {"cluster name with a space",
     "cluster: a b\nvm: {ram_mib: 8, vcpus: 1}\n" NODES,
     {"cluster", "'a b'", "letters"}},
    {"cluster name too long",
     "cluster: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nvm: {ram_mib: 8, vcpus: 1}\n" NODES,
     {"cluster", "1 to 31"}},
    {"empty value", "cluster:\nvm: {ram_mib: 8, vcpus: 1}\n" NODES, {"cluster", "''"}},
    {"relative run_dir", "run_dir: x\n" GOOD, {"run_dir", "'x'", "absolute"}},
    {"run_dir too long for a socket",
     "run_dir: "
     "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" GOOD,
     {"run_dir", "80 bytes"}},
    {"ram not a number",
     "cluster: c\nvm: {ram_mib: lots, vcpus: 1}\n" NODES,
     {"vm.ram_mib", "'lots'", "MiB"}},
    {"ram with a unit",
     "cluster: c\nvm: {ram_mib: 64M, vcpus: 1}\n" NODES,
     {"vm.ram_mib", "'64M'"}},
    {"ram zero",
     "cluster: c\nvm: {ram_mib: 0, vcpus: 1}\n" NODES,
     {"vm.ram_mib", "'0'", "1..268435456 MiB"}},
    {"ram negative", "cluster: c\nvm: {ram_mib: -5, vcpus: 1}\n" NODES, {"vm.ram_mib", "'-5'"}},
    {"ram too large",
     "cluster: c\nvm: {ram_mib: 268435457, vcpus: 1}\n" NODES,
     {"vm.ram_mib", "268435456"}},
    {"number beyond 64 bits",
     "cluster: c\nvm: {ram_mib: 99999999999999999999, vcpus: 1}\n" NODES,
     {"vm.ram_mib"}},
    {"too many vcpus",
     "cluster: c\nvm: {ram_mib: 8, vcpus: 256}\n" NODES,
     {"vm.vcpus", "'256'", "1..255"}},
    {"unknown fabric",
     GOOD "fabric: {type: tcp}\n",
     {"fabric.type", "'tcp'", "shm, memif, af_packet"}},
    {"fabric by a prefix", GOOD "fabric: {type: sh}\n", {"fabric.type", "'sh'"}},
    {"mtu too small", GOOD "fabric: {mtu: 575}\n", {"fabric.mtu", "'575'", "576..9000 bytes"}},
    {"mtu too large", GOOD "fabric: {mtu: 9001}\n", {"fabric.mtu", "'9001'", "576..9000"}},
    {"ethertype that is a length",
     GOOD "fabric: {ethertype: 0x5FF}\n",
     {"fabric.ethertype", "0x600..0xFFFF"}},
    {"ppm above a million",
     GOOD "fabric: {faults: {drop_ppm: 1000001}}\n",
     {"fabric.faults.drop_ppm", "1000000"}},
    {"bad bool", GOOD "coherence: {check: maybe}\n", {"coherence.check", "'maybe'", "true, false"}},
    {"bad clock discipline",
     GOOD "clock: {discipline: maybe}\n",
     {"clock.discipline", "'maybe'", "off, on"}},
    {"clock interval too short",
     GOOD "clock: {interval_ms: 4}\n",
     {"clock.interval_ms", "5..1000"}},
    {"sample beyond a million",
     GOOD "telemetry: {sample: 1048577}\n",
     {"telemetry.sample", "'1048577'", "0..1048576"}},
    {"clock offset beyond 10 s",
     TOP "nodes:\n- {id: 0, name: a, clock_offset_us: 10000001}\n- {id: 1, name: b}\n",
     {"nodes[0].clock_offset_us", "'10000001'", "0..10000000 us"}},
    {"clock drift beyond 50 ppm",
     TOP "nodes:\n- {id: 0, name: a}\n- {id: 1, name: b, clock_drift_ppb: -50001}\n",
     {"nodes[1].clock_drift_ppb", "'-50001'", "-50000..50000 ppb"}},
    {"bad poll mode",
     GOOD "poll: {mode: spin}\n",
     {"poll.mode", "'spin'", "busy, yield, adaptive, interrupt, sleep"}},
    {"credit above the window",
     GOOD "transport: {credit: 65}\n",
     {"transport.credit", "'65'", "1..64"}},
    {"duplicate ids",
     TOP "nodes:\n- {id: 0, name: a}\n- {id: 0, name: b}\n",
     {"nodes[1].id", "0 is already", "'a'", "each id once"}},
    {"gap in ids",
     TOP "nodes:\n- {id: 0, name: a}\n- {id: 2, name: b}\n",
     {"nodes[1].id", "2 leaves a gap", "0..1"}},
    {"duplicate names",
     TOP "nodes:\n- {id: 0, name: a}\n- {id: 1, name: a}\n",
     {"nodes[1].name", "'a' is already"}},
    {"name that is a number",
     TOP "nodes:\n- {id: 0, name: a}\n- {id: 1, name: 0}\n",
     {"nodes[1].name", "'0'"}},
    {"id out of range", TOP "nodes:\n- {id: 64, name: a}\n", {"nodes[0].id", "'64'", "0..63"}},
    {"vmm_node does not exist",
     "cluster: c\nvm: {ram_mib: 8, vcpus: 1, vmm_node: 2}\n" NODES,
     {"vm.vmm_node", "no node 2", "0..1"}},
    {"vcpu home does not exist",
     "cluster: c\nvm: {ram_mib: 8, vcpus: 2, vcpu_homes: [0, 2]}\n" NODES,
     {"vm.vcpu_homes", "vCPU 1", "no node 2", "0..1"}},
    {"too few vcpu homes",
     "cluster: c\nvm: {ram_mib: 8, vcpus: 3, vcpu_homes: [0, 1]}\n" NODES,
     {"vm.vcpu_homes", "2 entries", "3 vCPUs"}},
    {"vcpu home not a number",
     "cluster: c\nvm: {ram_mib: 8, vcpus: 1, vcpu_homes: [x]}\n" NODES,
     {"vm.vcpu_homes", "'x'"}},
    {"resident sum too small",
     TOP "nodes:\n- {id: 0, name: a, resident_mib: 4}\n- {id: 1, name: b, resident_mib: 3}\n",
     {"resident_mib", "7 MiB", "vm.ram_mib: 8"}},
    {"range without range homes",
     TOP "nodes:\n- {id: 0, name: a, range_mib: 8}\n- {id: 1, name: b}\n",
     {"range_mib", "node 0", "homes: range"}},
    {"ranges do not add up",
     "cluster: c\nvm: {ram_mib: 8, vcpus: 1, homes: range}\n"
     "nodes:\n- {id: 0, name: a, range_mib: 4}\n- {id: 1, name: b, range_mib: 3}\n",
     {"range_mib", "7 MiB", "vm.ram_mib, 8"}},
    {"dead before 3 heartbeats",
     GOOD "transport: {heartbeat_ms: 100, dead_ms: 299}\n",
     {"transport.dead_ms", "299", "300"}},
    {"ack delay at the time-out",
     GOOD "transport: {rto_min_us: 100, ack_delay_us: 100}\n",
     {"transport.ack_delay_us", "100", "rto_min_us"}},
    {"rto max below min",
     GOOD "transport: {rto_min_us: 5000, rto_max_us: 4999}\n",
     {"transport.rto_max_us", "4999", "5000"}},
    {"zero ahead that is no power of two",
     GOOD "coherence: {zero_ahead: 12}\n",
     {"coherence.zero_ahead", "12", "0, 1, 2"}},
    {"a group of one", GOOD "transport: {group_min: 1}\n", {"transport.group_min", "0, or 2"}},
    {"hold max below hold",
     GOOD "coherence: {hold_us: 200, hold_max_us: 100}\n",
     {"coherence.hold_max_us", "100", "200"}},
    {"af_packet without device",
     TOP "nodes:\n- {id: 0, name: a, device: eth0}\n- {id: 1, name: b}\n"
         "fabric: {type: af_packet}\n",
     {"device", "node 1", "'b'", "af_packet"}},
    {"auto without device",
     TOP "nodes:\n- {id: 0, name: a}\n- {id: 1, name: b}\nfabric: {type: auto}\n",
     {"device", "node 0", "'a'", "auto"}},
    {"no IP address",
     TOP "nodes:\n- {id: 0, name: a, address: 10.0.0.256}\n- {id: 1, name: b}\n"
         "fabric: {type: udp}\n",
     {"nodes[0].address", "'10.0.0.256'", "IPv4 or IPv6"}},
    {"udp without address",
     TOP "nodes:\n- {id: 0, name: a, address: 10.0.0.1}\n- {id: 1, name: b}\n"
         "fabric: {type: udp}\n",
     {"address", "node 1", "'b'", "UDP"}},
    {"addresses of two families",
     TOP "nodes:\n- {id: 0, name: a, address: 10.0.0.1}\n- {id: 1, name: b, address: 'fd00::1'}\n"
         "fabric: {type: udp}\n",
     {"node 1", "fd00::1 is IPv6", "10.0.0.1"}},
    {"an address twice, written differently",
     TOP "nodes:\n- {id: 0, name: a, address: 'fd00::1'}\n"
         "- {id: 1, name: b, address: 'fd00:0::01'}\nfabric: {type: udp}\n",
     {"node 1", "fd00:0::01", "node 0", "each address once"}},
    {"an address of nobody",
     ADDRESSES("0.0.0.0", "10.0.0.2") UDP,
     {"node 0", "0.0.0.0 is an unspecified", "allowed: a unicast"}},
    {"an address of nobody, IPv6", ADDRESSES("fd00::1", "::") UDP, {"node 1", ":: is an unspecif"}},
    {"a host of this network", ADDRESSES("0.0.0.7", "10.0.0.2") UDP, {"0.0.0.7", "unspecified"}},
    {"an address of everybody",
     ADDRESSES("10.0.0.1", "255.255.255.255") UDP,
     {"node 1", "255.255.255.255 is a broadcast"}},
    {"an address of a group", ADDRESSES("10.0.0.1", "224.0.0.1") UDP, {"224.0.0.1 is a multicast"}},
    {"the last address of a group", ADDRESSES("239.255.255.255", "10.0.0.1") UDP, {"a multicast"}},
    {"an address of a group, IPv6",
     ADDRESSES("ff02::1", "fd00::1") UDP,
     {"ff02::1 is a multicast"}},
    {"IPv4 as IPv6",
     ADDRESSES("::ffff:10.0.0.1", "::ffff:10.0.0.2") UDP,
     {"node 0", "::ffff:10.0.0.1 is an IPv4-mapped"}},
    {"a group in frames of ours",
     ADDRESSES("10.0.0.1", "224.0.0.1") "fabric: {type: af_packet, encapsulation: udp}\n",
     {"224.0.0.1 is a multicast"}},
    {"loopback on an interface",
     ADDRESSES("127.0.0.1", "127.0.0.2") "fabric: {type: af_packet, encapsulation: udp}\n",
     {"node 0", "127.0.0.1 is a loopback", "fabric.type: udp"}},
    {"loopback on a ladder",
     ADDRESSES("::1", "fd00::1") "fabric: {type: auto, encapsulation: udp}\n",
     {"node 0", "::1 is a loopback", "fabric.type: udp"}},
    {"a node on loopback",
     ADDRESSES("127.0.0.1", "10.0.0.2") UDP,
     {"node 1", "10.0.0.2", "127.0.0.1", "of all nodes"}},
    {"a further node on loopback", ADDRESSES("10.0.0.1", "127.0.0.2") UDP, {"node 1", "of none"}},
    {"link-local at a socket",
     ADDRESSES("fe80::1", "fe80::2") UDP,
     {"node 0", "fe80::1 is link-local", "af_packet or af_xdp"}},
    {"link-local on a ladder",
     ADDRESSES("fd00::1", "febf::2") "fabric: {type: auto, encapsulation: udp}\n",
     {"node 1", "febf::2 is link-local", "without udp in fabric.ladder"}},
    {"udp in a ladder",
     TOP "nodes:\n- {id: 0, name: a, device: eth0}\n- {id: 1, name: b, device: eth0}\n"
         "fabric: {type: auto, ladder: [udp]}\n",
     {"fabric.ladder", "'udp'", "fabric.encapsulation: udp"}},
    {"verbs in a ladder",
     TOP "nodes:\n- {id: 0, name: a, device: eth0}\n- {id: 1, name: b, device: eth0}\n"
         "fabric: {type: auto, ladder: [verbs, af_packet]}\n",
     {"fabric.ladder", "'verbs'", "fabric.encapsulation: udp"}},
    {"verbs below another",
     ADDRESSES("10.0.0.1", "10.0.0.2") "fabric: {type: auto, encapsulation: udp, ladder: "
                                       "[af_packet, verbs]}\n",
     {"fabric.ladder", "'verbs' is at place 2", "as the first"}},
    {"verbs without addresses",
     GOOD "fabric: {type: verbs}\n",
     {"address", "node 0", "which verbs needs"}},
    {"a device that is none of verbs'",
     TOP "nodes:\n- {id: 0, name: a, address: 10.0.0.1, device: '0000:03:00.0'}\n"
         "- {id: 1, name: b, address: 10.0.0.2}\nfabric: {type: verbs}\n",
     {"nodes[0].device: '0000:03:00.0'", "an RDMA device's name, 0 to 63 letters"}},
    {"encapsulation without addresses",
     TOP "nodes:\n- {id: 0, name: a, device: eth0}\n- {id: 1, name: b, device: eth0}\n"
         "fabric: {type: af_packet, encapsulation: udp}\n",
     {"address", "node 0", "'a'", "UDP"}},
    {"encapsulation in shared memory",
     GOOD "fabric: {type: shm, encapsulation: udp}\n",
     {"fabric.encapsulation", "af_packet", "it is shm"}},
    {"port zero", GOOD "fabric: {udp_port: 0}\n", {"fabric.udp_port", "0", "1..65535"}},
    {"a ladder for a fixed type",
     GOOD "fabric: {type: shm, ladder: [af_packet]}\n",
     {"fabric.ladder", "auto", "shm"}},
    {"a rung twice",
     TOP "nodes:\n- {id: 0, name: a, device: eth0}\n- {id: 1, name: b, device: eth0}\n"
         "fabric: {type: auto, ladder: [af_packet, af_packet]}\n",
     {"fabric.ladder", "'af_packet'", "twice"}},
    {"a rung that is none",
     TOP "nodes:\n- {id: 0, name: a, device: eth0}\n- {id: 1, name: b, device: eth0}\n"
         "fabric: {type: auto, ladder: [shm]}\n",
     {"fabric.ladder", "'shm'", "a list of af_xdp, af_packet"}},
    {"too many rungs",
     TOP "nodes:\n- {id: 0, name: a, device: eth0}\n- {id: 1, name: b, device: eth0}\n"
         "fabric: {type: auto, ladder: [af_packet, af_xdp, af_packet, af_xdp, af_xdp]}\n",
     {"fabric.ladder", "list of 5"}},
    {"queue beyond all NICs",
     TOP "nodes:\n- {id: 0, name: a, queue: 64}\n- {id: 1, name: b}\n",
     {"nodes[0].queue", "'64'", "0..63"}},
    {"a NIC that is no PCI address",
     TOP "nodes:\n- {id: 0, name: a, device: '0000:03:00.0'}\n- {id: 1, name: b, device: eth0}\n"
         "fabric: {type: dpdk}\n",
     {"nodes[1].device", "'eth0'", "PCI address"}},
    {"a PCI address with a digit too many",
     TOP "nodes:\n- {id: 0, name: a, device: '0000:03:00.00'}\n- {id: 1, name: b}\n"
         "fabric: {type: dpdk}\n",
     {"nodes[0].device", "'0000:03:00.00'", "PCI address"}},
    {"a PCI address as an interface",
     TOP "nodes:\n- {id: 0, name: a, device: '0000:03:00.0'}\n- {id: 1, name: b, device: eth0}\n"
         "fabric: {type: af_packet}\n",
     {"nodes[0].device", "0000:03:00.0", "a network interface's name"}},
    {"dpdk without device",
     TOP "nodes:\n- {id: 0, name: a}\n- {id: 1, name: b}\nfabric: {type: dpdk}\n",
     {"device", "node 0", "'a'", "dpdk"}},
    {"a device with a blank",
     TOP "nodes:\n- {id: 0, name: a, device: 'net_tap0, iface=x'}\n- {id: 1, name: b}\n"
         "fabric: {type: dpdk}\n",
     {"nodes[0].device", "net_tap0, iface=x", "0 to 95"}},
    {"device name too long",
     TOP "nodes:\n- {id: 0, name: a, device: aaaaaaaaaaaaaaaa}\n- {id: 1, name: b}\n",
     {"nodes[0].device", "0 to 15"}},
    {"two busy pollers on a CPU",
     TOP "nodes:\n- {id: 0, name: a, dataplane_core: 1}\n"
         "- {id: 1, name: b, dataplane_core: 1}\npoll: {mode: busy}\n",
     {"dataplane_core", "CPU 1", "node 1", "its own"}},
    {"busy poller on a vCPU's CPU",
     TOP "nodes:\n- {id: 0, name: a, dataplane_core: 1, vcpu_cores: [0, 1]}\n"
         "- {id: 1, name: b}\npoll: {mode: busy}\n",
     {"CPU 1", "vcpu_cores", "its own"}},
    {"core below -1",
     TOP "nodes:\n- {id: 0, name: a, agent_core: -2}\n- {id: 1, name: b}\n",
     {"nodes[0].agent_core", "'-2'"}},
};

static void test_bad(void **state)
{
    const struct bad *b = *state;
    struct pando_config cfg, untouched;
    char err[CONFIG_ERROR_MAX];

    memset(&cfg, 0x5A, sizeof(cfg));
    memset(&untouched, 0x5A, sizeof(untouched));
    assert_true(parse(b->text, &cfg, err) < 0);
    assert_memory_equal(&cfg, &untouched, sizeof(cfg));
    assert_int_equal(strncmp(err, "f.yaml: ", 8), 0);
    for (unsigned i = 0; i < 4 && b->says[i]; i++)
        if (!strstr(err, b->says[i]))
            fail_msg("'%s' does not say '%s'", err, b->says[i]);
}

static void test_bytes_zero(void **state)
{
    struct pando_config cfg;
    char err[CONFIG_ERROR_MAX];

    (void)state;
    assert_int_equal(config_parse("cluster: c\0", 11, "f.yaml", &cfg, err), -EINVAL);
    assert_non_null(strstr(err, "byte 0"));
}

static void test_too_many_nodes(void **state)
{
    char text[4096], err[CONFIG_ERROR_MAX];
    struct pando_config cfg;
    size_t n = (size_t)snprintf(text, sizeof(text), "%snodes:\n", TOP);

    (void)state;
    for (int i = 0; i < 65; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "- {id: %d, name: n%d}\n", i % 64, i);
    assert_int_equal(parse(text, &cfg, err), -EINVAL);
    assert_non_null(strstr(err, "65"));
    assert_non_null(strstr(err, "1..64"));
}

static void test_no_file(void **state)
{
    struct pando_config cfg;
    char err[CONFIG_ERROR_MAX];

    (void)state;
    assert_int_equal(config_load("/nonexistent/x.yaml", &cfg, err), -ENOENT);
    assert_non_null(strstr(err, "/nonexistent/x.yaml: cannot be opened"));
}

/* Cut anywhere, with any byte changed: an answer, never a crash (run under ASan and UBSan). */
static void test_mangled(void **state)
{
    char text[] = GOOD "fabric: {type: shm, faults: {drop_ppm: 5}}\npoll: {mode: busy}\n";
    struct pando_config cfg;
    char err[CONFIG_ERROR_MAX];

    (void)state;
    for (size_t len = 0; len < sizeof(text); len++)
        config_parse(text, len, "f.yaml", &cfg, err);
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        for (const char *c = "\n:[]{}-,&*'\"0\xFF"; *c; c++) {
            char old = text[i];
            text[i] = *c;
            config_parse(text, sizeof(text) - 1, "f.yaml", &cfg, err);
            text[i] = old;
        }
}

/* ---- good input ----------------------------------------------------------------------------- */

static void load_good(const char *text, struct pando_config *cfg)
{
    char err[CONFIG_ERROR_MAX];

    if (parse(text, cfg, err))
        fail_msg("%s", err);
    assert_string_equal(err, "");
}

static void test_values(void **state)
{
    struct pando_config c;

    (void)state;
    load_good(
        "cluster: west\nrun_dir: /run/p\n"
        "vm: {name: big, ram_mib: 8, vcpus: 3, vcpu_homes: [1, 0, 1], vmm_node: 1, homes: range}\n"
        "nodes:\n- {id: 1, name: b, device: eth1, range_mib: 5}\n"
        "- {id: 0, name: a, device: eth0, range_mib: 3, resident_mib: 4, dataplane_core: 0, "
        "vcpu_cores: [2, 3]}\n"
        "fabric: {type: af_packet, mtu: 1500, ethertype: 0x1234, hugepages: off, faults: {seed: 7, "
        "drop_ppm: 9}}\n"
        "transport: {rto_min_us: 100, ack_delay_us: 10, credit: 8}\ncoherence: {check: true, "
        "txn_max: 4}\n"
        "poll: {mode: busy}\n",
        &c);
    assert_string_equal(c.cluster, "west");
    assert_string_equal(c.run_dir, "/run/p");
    assert_string_equal(c.vm.name, "big");
    assert_int_equal(c.vm.ram_pages, 2048);
    assert_int_equal(c.vm.vcpus, 3);
    assert_int_equal(c.vm.vcpu_home[0], 1);
    assert_int_equal(c.vm.vcpu_home[1], 0);
    assert_int_equal(c.vm.vcpu_home[2], 1);
    assert_int_equal(c.vm.vmm_node, 1);
    assert_int_equal(c.vm.homes, CONFIG_HOME_RANGE);
    assert_int_equal(c.node_count, 2);
    assert_string_equal(c.node[0].name, "a"); /* sorted by id */
    assert_string_equal(c.node[1].device, "eth1");
    assert_int_equal(c.node[0].resident_pages, 1024);
    assert_int_equal(c.node[0].range_pages, 768);
    assert_int_equal(c.node[0].dataplane_core, 0);
    assert_int_equal(c.node[0].agent_core, -1);
    assert_int_equal(c.node[0].vcpu_core_count, 2);
    assert_int_equal(c.node[0].vcpu_cores[1], 3);
    assert_int_equal(c.node[1].vcpu_core_count, 0);
    assert_int_equal(c.fabric.type, CONFIG_FABRIC_AF_PACKET);
    assert_int_equal(c.fabric.mtu, 1500);
    assert_int_equal(c.fabric.ethertype, 0x1234);
    assert_int_equal(c.fabric.hugepages, CONFIG_HUGE_OFF);
    assert_int_equal(c.fabric.faults.seed, 7);
    assert_int_equal(c.fabric.faults.drop_ppm, 9);
    assert_int_equal(c.transport.credit, 8);
    assert_int_equal(c.transport.heartbeat_ms, 100);
    assert_true(c.coherence.check);
    assert_int_equal(c.poll.mode, CONFIG_POLL_BUSY);
}

static void test_defaults(void **state)
{
    struct pando_config c;

    (void)state;
    load_good(GOOD, &c);
    assert_string_equal(c.run_dir, "/run/pando");
    assert_int_equal(c.fabric.type, CONFIG_FABRIC_SHM);
    assert_int_equal(c.fabric.ethertype, WIRE_ETHERTYPE);
    assert_int_equal(c.poll.mode, CONFIG_POLL_INTERRUPT);
    assert_int_equal(c.clock.discipline, CONFIG_ON);
    assert_int_equal(c.clock.interval_ms, 50);
    assert_int_equal(c.telemetry.sample, 64);
    assert_int_equal(c.poll.empty_polls, 16);
    assert_false(c.coherence.check);
    assert_int_equal(c.node[0].resident_pages, 0);
}

static void test_devices_of_dpdk(void **state)
{
    static const char text[] =
        TOP "nodes:\n- {id: 0, name: a, device: '0000:af:1d.7'}\n"
            "- {id: 1, name: b, device: 'net_tap0,iface=pando0,mac=02:00:00:00:00:01'}\n"
            "fabric: {type: dpdk}\n";
    struct pando_config c;

    (void)state;
    load_good(text, &c);
    assert_int_equal(c.fabric.type, CONFIG_FABRIC_DPDK);
    assert_true(config_on_the_wire(c.fabric.type));
    assert_true(config_is_pci(c.node[0].device) && !config_is_pci(c.node[1].device));
    assert_false(config_is_pci("0000:af:1d.8") || config_is_pci("0000:af:1d") || config_is_pci(""));
    assert_string_equal(c.node[1].device, "net_tap0,iface=pando0,mac=02:00:00:00:00:01");
}

static void test_ladder(void **state)
{
    static const char nodes[] = TOP "nodes:\n- {id: 0, name: a, device: eth0, queue: 3}\n"
                                    "- {id: 1, name: b, device: eth1}\n";
    struct pando_config c;
    char text[1024];

    (void)state;
    snprintf(text, sizeof(text), "%sfabric: {type: auto}\n", nodes);
    load_good(text, &c);
    uint64_t hash = c.hash;
    assert_int_equal(c.fabric.ladder_count, CONFIG_RUNG_UDP); /* udp speaks otherwise */
    for (uint32_t i = 0; i < c.fabric.ladder_count; i++)
        assert_int_equal(c.fabric.ladder[i], i);
    assert_int_equal(c.node[0].queue, 3);
    snprintf(text, sizeof(text), "%sfabric: {type: auto, ladder: [af_packet]}\n", nodes);
    load_good(text, &c);
    assert_int_equal(c.fabric.ladder_count, 1);
    assert_int_equal(c.fabric.ladder[0], CONFIG_RUNG_AF_PACKET);
    assert_true(c.hash == hash); /* each host climbs its own */
    snprintf(text, sizeof(text),
             TOP "nodes:\n- {id: 0, name: a, device: eth0, address: 10.1.2.3}\n"
                 "- {id: 1, name: b, device: eth1, address: 10.1.2.4}\n"
                 "fabric: {type: auto, encapsulation: udp}\n");
    load_good(text, &c);
    assert_int_equal(c.fabric.ladder_count, CONFIG_RUNG_VERBS); /* which all nodes must have */
    assert_int_equal(c.fabric.ladder[CONFIG_RUNG_VERBS - 1], CONFIG_RUNG_UDP);
    assert_int_equal(c.fabric.ip_version, 4);
    assert_memory_equal(c.node[1].ip, ((const uint8_t[]){10, 1, 2, 4}), 4);
    assert_true(c.hash != hash);
}

/* Beside ordinary ones: what works on one machine, or on one link. */
static void test_addresses(void **state)
{
    static const char *const good[] = {
        ADDRESSES("127.0.0.1", "127.255.255.254") UDP,
        ADDRESSES("127.0.0.1", "127.0.0.2") "fabric: {type: auto, encapsulation: udp, ladder: "
                                            "[udp]}\n",
        ADDRESSES("169.254.1.1", "169.254.1.2") UDP,
        ADDRESSES("223.255.255.254", "1.0.0.1") UDP,
        ADDRESSES("169.254.1.1", "10.0.0.2") "fabric: {type: auto, encapsulation: udp}\n",
        ADDRESSES("fe80::1", "fe80::2") "fabric: {type: af_packet, encapsulation: udp}\n",
        ADDRESSES("fe80::1", "fd00::2") "fabric: {type: af_xdp, encapsulation: udp}\n",
        ADDRESSES("fe80::1", "fe80::2") "fabric: {type: auto, encapsulation: udp, ladder: "
                                        "[af_xdp, af_packet]}\n",
        ADDRESSES("fec0::1", "fe7f::2") UDP,
        ADDRESSES("fe80::1", "fe80::2") "fabric: {type: verbs}\n",
        ADDRESSES("127.0.0.1", "127.0.0.2") "fabric: {type: verbs}\n",
        ADDRESSES("fe80::1", "fe80::2") "fabric: {type: auto, encapsulation: udp, ladder: "
                                        "[verbs, af_xdp]}\n",
        ADDRESSES("224.0.0.1", "0.0.0.0") "fabric: {type: af_packet}\n", /* not looked at */
    };
    struct pando_config c;
    (void)state;
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        load_good(good[i], &c);
}

static void test_homes_dealt_out(void **state)
{
    struct pando_config c;
    const uint8_t want[] = {0, 0, 0, 1, 1, 2, 2};

    (void)state;
    load_good("cluster: c\nvm: {ram_mib: 8, vcpus: 7}\nnodes:\n- {id: 0, name: a}\n- {id: 1, name: "
              "b}\n- {id: 2, name: c}\n",
              &c);
    assert_memory_equal(c.vm.vcpu_home, want, sizeof(want));
}

static void test_warning(void **state)
{
    struct pando_config c;
    char err[CONFIG_ERROR_MAX];

    (void)state;
    assert_int_equal(parse(TOP "nodes:\n- {id: 0, name: a, dataplane_core: 1}\n- {id: 1, name: b, "
                               "dataplane_core: 1}\n",
                           &c, err),
                     0);
    assert_non_null(strstr(err, "warning"));
    assert_non_null(strstr(err, "CPU 1"));
}

static void test_find_node(void **state)
{
    struct pando_config c;
    char err[CONFIG_ERROR_MAX] = "", path[CONFIG_PATH_MAX + 16];
    uint8_t node = 99;

    (void)state;
    load_good(GOOD, &c);
    assert_int_equal(config_find_node(&c, "1", &node, err), 0);
    assert_int_equal(node, 1);
    assert_int_equal(config_find_node(&c, "a", &node, err), 0);
    assert_int_equal(node, 0);
    node = 99;
    assert_int_equal(config_find_node(&c, "2", &node, err), -ENOENT);
    assert_int_equal(node, 99);
    assert_non_null(strstr(err, "'2'"));
    assert_int_equal(config_glue_socket(&c, 1, path, sizeof(path)), 0);
    assert_string_equal(path, "/run/pando/node1.sock");
    assert_int_equal(config_glue_socket(&c, 1, path, 8), -ENAMETOOLONG);
}

/* ---- hash ------------------------------------------------------------------------------------ */

static uint64_t hash_of(const char *text)
{
    struct pando_config c;

    load_good(text, &c);
    assert_true(c.hash != 0);
    return c.hash;
}

static void test_hash_same(void **state)
{
    uint64_t h = hash_of(GOOD);

    (void)state;
    assert_true(h == hash_of("# comment\n" NODES TOP));
    assert_true(h == hash_of(TOP "nodes:\n- {id: 1, name: b}\n- {id: 0, name: a}\n"));
    assert_true(h == hash_of(GOOD "fabric: {type: shm, mtu: 9000, ethertype: 34997}\n"));
    assert_true(
        h == hash_of("cluster: c\nvm: {ram_mib: 8, vcpus: 4, vcpu_homes: [0, 0, 1, 1]}\n" NODES));
    assert_true(h == hash_of("run_dir: /run/other\n" GOOD
                             "poll: {mode: busy}\nfabric: {faults: {drop_ppm: 3}}\n"));
    assert_true(h == hash_of(TOP "nodes:\n- {id: 0, name: a, dataplane_core: 1, device: e}\n- {id: "
                                 "1, name: b, resident_mib: 1}\n"));
}

static void test_hash_differs(void **state)
{
    static const char *const other[] = {
        "cluster: d\nvm: {ram_mib: 8, vcpus: 4}\n" NODES,
        "cluster: c\nvm: {ram_mib: 9, vcpus: 4}\n" NODES,
        "cluster: c\nvm: {ram_mib: 8, vcpus: 5}\n" NODES,
        "cluster: c\nvm: {ram_mib: 8, vcpus: 4, name: x}\n" NODES,
        "cluster: c\nvm: {ram_mib: 8, vcpus: 4, vcpu_homes: [0, 1, 0, 1]}\n" NODES,
        "cluster: c\nvm: {ram_mib: 8, vcpus: 4, vmm_node: 1}\n" NODES,
        "cluster: c\nvm: {ram_mib: 8, vcpus: 4, interleave_shift: 1}\n" NODES,
        TOP "nodes:\n- {id: 0, name: b}\n- {id: 1, name: a}\n",
        TOP "nodes:\n- {id: 0, name: a}\n- {id: 1, name: b}\n- {id: 2, name: c}\n",
        GOOD "fabric: {type: memif}\n",
        GOOD "fabric: {mtu: 1500}\n",
        GOOD "fabric: {ethertype: 0x88B6}\n",
        GOOD "transport: {credit: 32}\n",
        GOOD "transport: {dead_ms: 3000}\n",
        GOOD "coherence: {txn_max: 8}\n",
        GOOD "clock: {discipline: off}\n",
        GOOD "telemetry: {sample: 63}\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
        for (size_t j = 0; j <= i; j++)
            if (hash_of(other[i]) == (j == i ? hash_of(GOOD) : hash_of(other[j])))
                fail_msg("the same hash for:\n%s", other[i]);
}

/* ---- files of the repository ------------------------------------------------------------------
 */

static void test_examples(void **state)
{
    DIR *dir = opendir(PANDO_SOURCE_ROOT "/configs");
    unsigned loaded = 0;
    struct dirent *e;

    (void)state;
    assert_non_null(dir);
    while ((e = readdir(dir))) {
        struct pando_config c;
        char path[600], err[CONFIG_ERROR_MAX];
        size_t len = strlen(e->d_name);
        if (len < 5 || strcmp(e->d_name + len - 5, ".yaml") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/configs/%s", PANDO_SOURCE_ROOT, e->d_name);
        if (config_load(path, &c, err) || err[0])
            fail_msg("%s", err);
        loaded++;
    }
    closedir(dir);
    assert_true(loaded >= 5);
}

struct shown {
    unsigned keys;
    char text[8192];
};

static void collect(void *arg, const char *path, const char *value, bool is_default)
{
    struct shown *s = arg;
    size_t used = strlen(s->text);
    s->keys++;
    if (!is_default)
        snprintf(s->text + used, sizeof(s->text) - used, "%s=%s;", path, value);
}

/* What is in force is said as the file would say it, and what is the default is known. */
static void test_show(void **state)
{
    static struct pando_config cfg;
    static struct shown s;
    (void)state;
    load_good(GOOD, &cfg);
    config_show(&cfg, collect, &s);
    assert_true(s.keys > 60);
    assert_string_equal(s.text, "cluster=c;vm.ram_mib=8;vm.vcpus=4;vm.vcpu_homes=[0, 0, 1, 1];"
                                "nodes[0].id=0;nodes[0].name=a;nodes[1].id=1;nodes[1].name=b;"
                                "fabric.ladder=[af_xdp, af_packet];");
    s = (struct shown){0};
    load_good("run_dir: /x\n" TOP
              "nodes:\n- {id: 1, name: b, device: eth1, housekeeping_cores: [5]}\n"
              "- {id: 0, name: a, vcpu_cores: [3, 1], agent_core: 2, "
              "clock_drift_ppb: -7, resident_mib: 9, device: eth0}\n"
              "fabric: {type: auto, ladder: [af_packet, af_xdp], ethertype: 0x88B6, mtu: 9000}\n"
              "coherence: {check: true}\npoll: {mode: busy, nice: -20}\n",
              &cfg);
    config_show(&cfg, collect, &s);
    const char *const want[] = {"run_dir=/x;",
                                "nodes[0].vcpu_cores=[3, 1];",
                                "nodes[0].agent_core=2;",
                                "nodes[1].housekeeping_cores=[5];",
                                "poll.nice=-20;",
                                "nodes[0].clock_drift_ppb=-7;",
                                "nodes[0].resident_mib=9;",
                                "fabric.type=auto;",
                                "fabric.ladder=[af_packet, af_xdp];",
                                "fabric.ethertype=34998;",
                                "coherence.check=true;",
                                "poll.mode=busy;"};
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        if (strstr(s.text, want[i]) == NULL)
            fail_msg("%s is not in %s", want[i], s.text);
    assert_null(strstr(s.text, "mtu"));
    assert_null(strstr(s.text, "nodes[0].housekeeping"));
    assert_null(strstr(s.text, "nodes[1].vcpu_cores"));
}

static void test_reference_current(void **state)
{
    static char printed[32768], stored[32768];
    FILE *f = fopen(PANDO_SOURCE_ROOT "/configs/REFERENCE.md", "r"), *tmp = tmpfile();
    size_t n;

    (void)state;
    assert_non_null(f);
    assert_non_null(tmp);
    config_print_reference(fileno(tmp));
    rewind(tmp);
    n = fread(printed, 1, sizeof(printed) - 1, tmp);
    assert_true(n > 1000 && n < sizeof(printed) - 1);
    assert_true(fread(stored, 1, sizeof(stored) - 1, f) > 0);
    fclose(f);
    fclose(tmp);
    if (strcmp(printed, stored) != 0)
        fail_msg("configs/REFERENCE.md is old; run: build/dataplane/config/pando-config reference "
                 "> configs/REFERENCE.md");
}

enum { BAD = sizeof(bad_inputs) / sizeof(bad_inputs[0]) };

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_bytes_zero),
        cmocka_unit_test(test_too_many_nodes),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_mangled),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_devices_of_dpdk),
        cmocka_unit_test(test_ladder),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_homes_dealt_out),
        cmocka_unit_test(test_warning),
        cmocka_unit_test(test_find_node),
        cmocka_unit_test(test_hash_same),
        cmocka_unit_test(test_hash_differs),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_reference_current),
        cmocka_unit_test(test_show),
    };
    enum { OTHERS = sizeof(others) / sizeof(others[0]) };
    struct CMUnitTest tests[BAD + OTHERS];

    for (unsigned i = 0; i < BAD; i++)
        tests[i] = (struct CMUnitTest){bad_inputs[i].name, test_bad, NULL, NULL,
                                       (void *)(uintptr_t)&bad_inputs[i]};
    memcpy(&tests[BAD], others, sizeof(others));
    return _cmocka_run_group_tests("config", tests, BAD + OTHERS, NULL, NULL);
}
