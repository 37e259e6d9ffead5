/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cluster configuration: one YAML file, the same on every node. APP/EDGE border (libcyaml).
 *
 * Every key is declared once, in config_keys.c, as {path, type, unit, range, default, sentence}:
 * that table checks values and prints the reference in configs/REFERENCE.md (config_keys.h,
 * `pando-config reference`). A peer whose configuration hash differs is refused by the transport.
 */
#ifndef PANDO_CONFIG_H
#define PANDO_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/host/thread.h"
#include "dataplane/wire/wire.h"

enum { CONFIG_NAME_MAX = 32, CONFIG_PATH_MAX = 96, CONFIG_ERROR_MAX = 512, CONFIG_CPUS_MAX = 64 };

enum config_fabric {
    CONFIG_FABRIC_SHM,
    CONFIG_FABRIC_MEMIF,
    CONFIG_FABRIC_AF_PACKET,
    CONFIG_FABRIC_AF_XDP,
    CONFIG_FABRIC_UDP,
    CONFIG_FABRIC_DPDK, /* a NIC of our own */
    CONFIG_FABRIC_VERBS,
    CONFIG_FABRIC_AUTO, /* the first of fabric.ladder that works here */
    CONFIG_FABRICS
};
const char *config_fabric_name(enum config_fabric f);

/* Frames that other machines see; the kinds before it join processes of one machine. */
static inline bool config_on_the_wire(enum config_fabric f)
{
    return f >= CONFIG_FABRIC_AF_PACKET;
}

/* The rungs of fabric.ladder, in the order of the key's choices. */
enum config_rung {
    CONFIG_RUNG_AF_XDP,
    CONFIG_RUNG_AF_PACKET,
    CONFIG_RUNG_UDP,
    CONFIG_RUNG_VERBS,
    CONFIG_RUNGS
};
enum config_encapsulation { CONFIG_ENCAP_ETHERNET, CONFIG_ENCAP_UDP };
enum config_poll {
    CONFIG_POLL_BUSY,
    CONFIG_POLL_YIELD,
    CONFIG_POLL_ADAPTIVE,
    CONFIG_POLL_INTERRUPT,
    CONFIG_POLL_SLEEP, /* in the file only: config_load makes INTERRUPT of it */
};
const char *config_poll_name(enum config_poll p);
enum config_home { CONFIG_HOME_INTERLEAVE, CONFIG_HOME_RANGE };
enum config_switch { CONFIG_OFF, CONFIG_ON };
enum config_hugepages {
    CONFIG_HUGE_AUTO,
    CONFIG_HUGE_ON,
    CONFIG_HUGE_OFF,
    CONFIG_HUGE_2M,
    CONFIG_HUGE_1G
};

struct config_node {
    uint8_t id;                 /* 0..63, unique; nodes are 0..n-1 without gaps */
    char name[CONFIG_NAME_MAX]; /* unique */
    int32_t dataplane_core;     /* CPU of the poll loop; -1: not pinned */
    int32_t agent_core;
    int32_t vcpu_cores[CONFIG_CPUS_MAX];
    uint32_t vcpu_core_count; /* 0: vCPU threads not pinned */
    int32_t housekeeping_cores[CONFIG_CPUS_MAX];
    uint32_t housekeeping_core_count; /* 0: not pinned */
    int32_t registration_core;        /* -1: as housekeeping */
    int32_t ram_node, packet_node;    /* NUMA; -1: the kernel's choice */
    uint64_t resident_pages;          /* from resident_mib; 0: no limit */
    uint64_t range_pages;             /* homes: range -> pages homed here */
    char device[CONFIG_PATH_MAX];     /* the interface; dpdk: config_is_pci, or device arguments */
    uint32_t queue;                   /* of device, for AF_XDP */
    char address[46];                 /* udp: as it was written; ip is the same */
    uint8_t ip[16];                   /* IPv4: the first four */
    uint32_t clock_offset_us;         /* tests: what the host's TSC pretends to be ahead by ... */
    int32_t clock_drift_ppb;          /* ... and to be faster by */
};

struct pando_config {
    char cluster[CONFIG_NAME_MAX];
    uint64_t cluster_id;           /* hash of the name */
    uint64_t hash;                 /* of everything that all nodes must have in common */
    char run_dir[CONFIG_PATH_MAX]; /* sockets and shared-memory fabric; /run/pando by default */

    struct {
        char name[CONFIG_NAME_MAX];
        uint64_t ram_pages;     /* from ram_mib: upper bound of the guest RAM made coherent */
        uint32_t vcpus;         /* 1..255 */
        uint8_t vcpu_home[256]; /* given by list, or dealt out in equal runs over the nodes */
        uint8_t vmm_node;
        enum config_home homes;
        uint8_t interleave_shift;                   /* log2 pages */
        uint32_t tick_rest_times, tick_rest_max_ms; /* vkvm/run.c: a slow tick */
    } vm;

    uint32_t node_count;
    struct config_node node[WIRE_NODES_MAX];

    struct {
        enum config_fabric type;
        uint8_t ladder[CONFIG_RUNGS]; /* enum config_rung, in order of preference */
        uint32_t ladder_count;
        uint16_t mtu; /* bytes after the Ethernet header */
        uint16_t ethertype;
        enum config_encapsulation encapsulation;
        uint16_t udp_port;
        uint8_t ip_version; /* udp: 4 or 6, of all nodes */
        enum config_hugepages hugepages;
        struct { /* fault filter, for tests and demonstrations; all 0: no filter */
            uint64_t seed;
            uint32_t drop_ppm, duplicate_ppm, reorder_ppm, corrupt_ppm, delay_ppm, delay_max_us;
        } faults;
    } fabric;

    struct {
        uint32_t rto_min_us, rto_max_us, ack_delay_us, heartbeat_ms, dead_ms, join_timeout_ms;
        uint32_t credit; /* frames a class and peer, 1..64 */
        uint32_t group_min;
    } transport;

    struct {
        uint32_t txn_max;
        uint32_t hold_us, hold_max_us;
        uint32_t zero_ahead;
        bool check; /* run coh_check after each step */
    } coherence;

    struct {
        enum config_poll mode;
        uint32_t empty_polls;          /* not busy: empty rounds before the core is given away */
        uint32_t sleep_after_us;       /* interrupt: idle time before blocking */
        int32_t nice;                  /* of the poll loop and the agent thread */
        uint32_t slice_us;             /* of the same; 0: the kernel's default */
        uint32_t rx_frames, tx_frames; /* a round */
        uint32_t glue_entries;         /* a round and channel */
    } poll;

    /* Classes and priorities; nice levels and slices of the first two are poll's. What a thread is
     * to have: config_sched. */
    struct {
        struct host_sched poll, agent, vcpu;
        bool housekeeping_batch;
        int8_t housekeeping_nice;
    } threads;

    struct {
        enum config_switch discipline;
        uint32_t interval_ms; /* between exchanges with the reference, vm.vmm_node */
    } clock;

    struct {
        uint32_t sample; /* spans: one in so many; 0: none */
    } telemetry;
};

/* Reads and checks a file. 0, or -errno with a sentence in err that names file, key, value and what
 * is allowed. Unknown keys are errors. On 0, err holds a warning for the user ("file: warning:
 * ..."), or "". */
int config_load(const char *path, struct pando_config *ret, char err[CONFIG_ERROR_MAX]);

/* The same from memory; name is used in messages. */
int config_parse(const char *text, size_t len, const char *name, struct pando_config *ret,
                 char err[CONFIG_ERROR_MAX]);

/* Node by number or name; -ENOENT with err. */
int config_find_node(const struct pando_config *cfg, const char *id_or_name, uint8_t *ret_node,
                     char err[CONFIG_ERROR_MAX]);

/* The node with this number; NULL: there is none. */
static inline const struct config_node *config_node_of(const struct pando_config *cfg, uint8_t id)
{
    for (uint32_t i = 0; i < cfg->node_count; i++)
        if (cfg->node[i].id == id)
            return &cfg->node[i];
    return NULL;
}

/* The roles of threads. Registration's class is housekeeping's. */
enum config_role {
    CONFIG_ROLE_POLL,
    CONFIG_ROLE_AGENT,
    CONFIG_ROLE_VCPU,
    CONFIG_ROLE_HOUSEKEEPING,
    CONFIG_ROLE_REGISTRATION,
    CONFIG_ROLES
};
/* What a thread of this role is to have of the scheduler; false: it is left as its process was
 * started. */
bool config_sched(const struct pando_config *cfg, enum config_role role, struct host_sched *ret);

/* The CPUs of a role on a node; empty: not pinned. (vCPUs take theirs in turn.) */
struct host_cpus config_cpus(const struct config_node *node, enum config_role role);

/* Prints the reference table (Markdown) to a stream. */
void config_print_reference(int fd);

/* Calls each for every key, in the order of the reference, nodes by number, with the value in force
 * as the file would say it ("[0, 1]" for a list; cut after CONFIG_VALUE_MAX - 1 bytes) and whether
 * that is the default. vm.vcpu_homes and fabric.ladder, where left out, are shown as
 * they were derived. */
enum { CONFIG_VALUE_MAX = 1280 };
typedef void config_each(void *arg, const char *path, const char *value, bool is_default);
void config_show(const struct pando_config *cfg, config_each *each, void *arg);

/* "0000:03:00.0": domain, bus, device, function of a PCI device. */
bool config_is_pci(const char *device);

/* Path of a node's glue socket. */
int config_glue_socket(const struct pando_config *cfg, uint8_t node, char *buf, size_t size);

#endif
