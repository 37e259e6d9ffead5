/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The key table: every configuration key, once. APP, private to this folder.
 *
 * One line of CONFIG_KEYS_* makes the field of the raw structure that libcyaml fills, the libcyaml
 * schema entry, the row that checks and stores the value, the row of the reference, and (COMMON)
 * the key's part of the configuration hash. Adding a key is adding a line and regenerating
 * configs/REFERENCE.md (`pando-config reference`).
 *
 * X(key, TYPE, unit, min, max, default, COMMON or LOCAL, scale, target, sentence)
 *   TYPE     UINT INT BOOL WORD PATH ADDRESS (of IP) DEVICE ENUM LIST (of numbers) CHOICES (a list
 *            of those of an ENUM)
 *   unit     what the number counts; for ENUM and CHOICES the choices, "a|b|c", in C's order
 *   min,max  of the number; of the length for WORD, PATH and DEVICE; of each entry for LIST
 *   default  as it would be written in the file; NULL: the key must be given; "": see the sentence
 *   COMMON   must be equal on every node: part of the hash. LOCAL: may differ between hosts
 *   scale    stored value = written value * scale (MiB to pages: 256)
 *   target   member of struct pando_config, or of struct config_node for nodes
 */
#ifndef PANDO_CONFIG_KEYS_H
#define PANDO_CONFIG_KEYS_H

#include "dataplane/config/config.h"
#include "dataplane/host/thread.h"
#include "dataplane/span/span.h"
#include "dataplane/transport/rrdp.h"
#include "hypervisor-glue/link/glue_abi.h"

enum {
    CONFIG_PAGES_PER_MIB = 1048576 / WIRE_PAGE_SIZE,
    CONFIG_RAM_MIB_MAX = 1 << 28, /* 2^36 pages: what the coherence core can number */
    CONFIG_IFNAME_MAX = 15,       /* IFNAMSIZ without the terminator */
    CONFIG_RUN_DIR_MAX = 80,      /* "/node63.sock" behind it still fits into sockaddr_un */
    CONFIG_RDMA_NAME_MAX = 63,    /* IB_DEVICE_NAME_MAX without the terminator */
    CONFIG_CORE_MAX = HOST_CPUS_MAX - 1,
    CONFIG_NUMA_MAX = 31, /* RTE_MAX_NUMA_NODES - 1 */
    CONFIG_QUEUE_MAX = 63,
    CONFIG_LIST_MAX = 255,
};

/* clang-format off */
#define CONFIG_KEYS_TOP(X)                                                                         \
    X(cluster, WORD, "", 1, CONFIG_NAME_MAX - 1, NULL, COMMON, 1, cluster,                         \
      "Name of the cluster. Frames of a cluster with another name are dropped and counted.")       \
    X(run_dir, PATH, "", 1, CONFIG_RUN_DIR_MAX, "/run/pando", LOCAL, 1, run_dir,                   \
      "Directory of the glue sockets and of the shared-memory and memif fabrics; made 0700.")

#define CONFIG_KEYS_VM(X)                                                                          \
    X(name, WORD, "", 1, CONFIG_NAME_MAX - 1, "vm0", COMMON, 1, vm.name, "Name of the VM.")        \
    X(ram_mib, UINT, "MiB", 1, CONFIG_RAM_MIB_MAX, NULL, COMMON, CONFIG_PAGES_PER_MIB,             \
      vm.ram_pages,                                                                                \
      "Upper bound of the guest RAM that is kept coherent. The VMM may give the guest less.")      \
    X(vcpus, UINT, "", 1, WIRE_VCPUS_MAX, NULL, COMMON, 1, vm.vcpus, "vCPUs of the VM.")           \
    X(vcpu_homes, LIST, "node", 0, WIRE_NODES_MAX - 1, "", COMMON, 1, vm.vcpu_home,                \
      "Home node of each vCPU, one entry a vCPU. Left out: dealt out in equal runs over the "      \
      "nodes.")                                                                                    \
    X(vmm_node, UINT, "node", 0, WIRE_NODES_MAX - 1, "0", COMMON, 1, vm.vmm_node,                  \
      "Node whose host runs the VMM; the other nodes run pando-vcpud.")                            \
    X(homes, ENUM, "interleave|range", 0, 0, "interleave", COMMON, 1, vm.homes,                    \
      "Which node keeps the directory of a page: stripes in turn, or one range a node "            \
      "(range_mib).")                                                                              \
    X(interleave_shift, UINT, "log2 pages", 0, 20, "0", COMMON, 1, vm.interleave_shift,            \
      "homes: interleave: pages of a stripe, as a power of two.")                                  \
    X(tick_rest_times, UINT, "", 0, 1000, "3", COMMON, 1, vm.tick_rest_times,                      \
      "A vCPU whose timer interrupt took more than 1 ms to handle, where another seemed to have "  \
      "before, gets no other for so many times as long: time for other work. 0: off.")             \
    X(tick_rest_max_ms, UINT, "ms", 1, 60000, "200", COMMON, 1, vm.tick_rest_max_ms,               \
      "The longest such rest: so late may a timer of the guest be then.")

#define CONFIG_KEYS_NODE(X)                                                                        \
    X(id, UINT, "", 0, WIRE_NODES_MAX - 1, NULL, COMMON, 1, id,                                    \
      "Number of the node. The nodes of a cluster are 0..n-1 without gaps.")                       \
    X(name, WORD, "", 1, CONFIG_NAME_MAX - 1, NULL, COMMON, 1, name, "Name of the node, unique.")  \
    X(dataplane_core, INT, "CPU", -1, CONFIG_CORE_MAX, "-1", LOCAL, 1, dataplane_core,             \
      "CPU of the poll loop; -1: not pinned.")                                                     \
    X(agent_core, INT, "CPU", -1, CONFIG_CORE_MAX, "-1", LOCAL, 1, agent_core,                     \
      "CPU of the agent thread, which unmaps pages in the vCPU process; -1: not pinned.")          \
    X(vcpu_cores, LIST, "CPU", 0, CONFIG_CORE_MAX, "", LOCAL, 1, vcpu_cores,                       \
      "CPUs of the vCPU threads at home here, in turn, by vCPU number; empty: not pinned.")        \
    X(housekeeping_cores, LIST, "CPU", 0, CONFIG_CORE_MAX, "", LOCAL, 1, housekeeping_cores,       \
      "CPUs of all other threads of the dataplane and of the VMM or pando-vcpud: DPDK's, "         \
      "telemetry's, the VMM's main and I/O threads; empty: not pinned.")                           \
    X(registration_core, INT, "CPU", -1, CONFIG_CORE_MAX, "-1", LOCAL, 1, registration_core,       \
      "verbs: CPU of the thread that makes guest memory known to the RDMA device; -1: those of "   \
      "housekeeping_cores.")                                                                       \
    X(ram_node, INT, "NUMA node", -1, CONFIG_NUMA_MAX, "-1", LOCAL, 1, ram_node,                   \
      "Guest memory that this host holds is taken from this NUMA node alone: when that is full, "  \
      "the VM ends. -1: wherever the kernel takes it.")                                            \
    X(packet_node, INT, "NUMA node", -1, CONFIG_NUMA_MAX, "-1", LOCAL, 1, packet_node,             \
      "The same for packet memory; best that of the NIC and of dataplane_core. -1: wherever "      \
      "DPDK and the kernel take it, most often the node of dataplane_core.")                       \
    X(resident_mib, UINT, "MiB", 0, CONFIG_RAM_MIB_MAX, "0", LOCAL, CONFIG_PAGES_PER_MIB,          \
      resident_pages,                                                                              \
      "Guest memory that this node may hold at a time; 0: no limit.")                              \
    X(range_mib, UINT, "MiB", 0, CONFIG_RAM_MIB_MAX, "0", COMMON, CONFIG_PAGES_PER_MIB,            \
      range_pages,                                                                                 \
      "homes: range: how much of the guest RAM has its home here. The nodes' sum is vm.ram_mib.")  \
    X(device, DEVICE, "", 0, CONFIG_PATH_MAX - 1, "", LOCAL, 1, device,                            \
      "fabric.type: af_packet, af_xdp, auto: the network interface (0 to 15 letters, digits, '.', " \
      "'_' or '-'). dpdk: a NIC's PCI address, 0000:03:00.0, bound to vfio-pci (mlx5: left with "   \
      "its kernel driver), or the arguments of a virtual device, net_tap0,iface=pando0. verbs: the "  \
      "RDMA device, rxe0 or mlx5_0; left out: the one that has nodes[].address.")                  \
    X(queue, UINT, "", 0, CONFIG_QUEUE_MAX, "0", LOCAL, 1, queue,                                  \
      "AF_XDP: the receive queue of device whose frames of Pando's are taken; the NIC must put "   \
      "them there (one queue: ethtool -L DEVICE combined 1).")                                     \
    X(address, ADDRESS, "", 0, 45, "", COMMON, 1, address,                                         \
      "UDP (fabric.type or fabric.encapsulation) and verbs: the node's IP address, by which the others "     \
      "know it. All are IPv4 or all are IPv6, each once; loopback only with fabric.type: udp or verbs and " \
      "all nodes on one machine, IPv6 link-local only without UDP sockets (af_packet, af_xdp).")   \
    X(clock_offset_us, UINT, "us", 0, 10000000, "0", LOCAL, 1, clock_offset_us,                    \
      "For tests: the node takes its host's TSC to be ahead by this.")                             \
    X(clock_drift_ppb, INT, "ppb", -50000, 50000, "0", LOCAL, 1, clock_drift_ppb,                  \
      "For tests: ... and to be faster by this.")

#define CONFIG_KEYS_FABRIC(X)                                                                      \
    X(type, ENUM, "shm|memif|af_packet|af_xdp|udp|dpdk|verbs|auto", 0, 0, "shm", COMMON, 1, fabric.type,          \
      "shm and memif join processes of one machine; af_packet takes any kernel network "           \
      "interface, and so does af_xdp, past most of the kernel; auto: the first of ladder that "    \
      "works on a host. udp: sockets of the kernel's, over any network that routes, without "       \
      "privileges. dpdk: a whole NIC, driven by DPDK without the kernel. The frames of af_packet, " \
      "af_xdp and dpdk are the same. verbs: an RDMA device (InfiniBand, RoCE v2, rdma_rxe), which "    \
      "writes pages into the other node's guest memory.")                                          \
    X(ladder, CHOICES, "af_xdp|af_packet|udp|verbs", 0, 0, "", LOCAL, 1, fabric.ladder,                      \
      "type: auto: what is tried, in this order. Left out: af_xdp, af_packet, and udp if "          \
      "encapsulation: udp. verbs only as the first, with encapsulation: udp, and on all nodes; where "  \
      "one of them leaves it, all do.")                                                                       \
    X(mtu, UINT, "bytes", RRDP_MTU_MIN, RRDP_MTU_MAX, "9000", COMMON, 1, fabric.mtu,               \
      "Bytes of a frame after the Ethernet header. The interface must be able to carry it.")       \
    X(ethertype, UINT, "", 0x0600, 0xFFFF, "0x88B5", COMMON, 1, fabric.ethertype,                  \
      "EtherType of the frames; 0x88B5 is IEEE's for local experiments.")                          \
    X(encapsulation, ENUM, "ethernet|udp", 0, 0, "ethernet", COMMON, 1, fabric.encapsulation,      \
      "af_packet, af_xdp, dpdk, auto: frames of Ethernet on one segment, or inside UDP between "   \
      "nodes[].address, which any network carries that routes. fabric.mtu does not count the 28 "  \
      "bytes of IPv4 and UDP, or 48 of IPv6. dpdk: udp only with devices that have an interface "  \
      "of the kernel's too (mlx5, net_tap), which finds the next hops.")                           \
    X(udp_port, UINT, "", 1, 65535, "34997", COMMON, 1, fabric.udp_port,                           \
      "UDP, and how nodes meet for verbs: the port at each address. Firewalls must let it through "  \
      "both ways.")                                                                                \
    X(hugepages, ENUM, "auto|on|off|2M|1G", 0, 0, "auto", LOCAL, 1, fabric.hugepages,              \
      "Packet memory of memif, af_packet and dpdk. auto: hugepages if there are some, else said "  \
      "and done without; a NIC on PCI needs them. on: of the kernel's default size, or no start. " \
      "2M, 1G: of that size, or no start; 1G takes a whole one. Where pages of 1G are free "     \
      "DPDK was seen to take one with 2M, too.")

#define CONFIG_KEYS_FAULTS(X)                                                                      \
    X(seed, UINT, "", 0, INT64_MAX, "1", LOCAL, 1, fabric.faults.seed,                             \
      "Seed of the fault filter, which tests and demonstrations put between engine and fabric.")   \
    X(drop_ppm, UINT, "ppm", 0, 1000000, "0", LOCAL, 1, fabric.faults.drop_ppm, "Frames lost.")    \
    X(duplicate_ppm, UINT, "ppm", 0, 1000000, "0", LOCAL, 1, fabric.faults.duplicate_ppm,          \
      "Frames that come twice.")                                                                   \
    X(reorder_ppm, UINT, "ppm", 0, 1000000, "0", LOCAL, 1, fabric.faults.reorder_ppm,              \
      "Frames that are overtaken by later ones.")                                                  \
    X(corrupt_ppm, UINT, "ppm", 0, 1000000, "0", LOCAL, 1, fabric.faults.corrupt_ppm,              \
      "Frames with a flipped bit.")                                                                \
    X(delay_ppm, UINT, "ppm", 0, 1000000, "0", LOCAL, 1, fabric.faults.delay_ppm,                  \
      "Frames delayed.")                                                                           \
    X(delay_max_us, UINT, "us", 0, 1000000, "0", LOCAL, 1, fabric.faults.delay_max_us,             \
      "Upper bound of the delay of a delayed frame.")

#define CONFIG_KEYS_TRANSPORT(X)                                                                   \
    X(rto_min_us, UINT, "us", 50, 10000000, "2000", COMMON, 1, transport.rto_min_us,               \
      "Floor of the retransmission time-out.")                                                     \
    X(rto_max_us, UINT, "us", 100, 60000000, "100000", COMMON, 1, transport.rto_max_us,            \
      "Ceiling of the retransmission time-out, back-off included.")                                \
    X(ack_delay_us, UINT, "us", 0, 1000000, "50", COMMON, 1, transport.ack_delay_us,               \
      "A lone acknowledgement waits this long for a frame to ride on; less than rto_min_us.")      \
    X(heartbeat_ms, UINT, "ms", 1, 60000, "100", COMMON, 1, transport.heartbeat_ms,                \
      "A heartbeat is sent after this long without another frame.")                                \
    X(dead_ms, UINT, "ms", 3, 600000, "800", COMMON, 1, transport.dead_ms,                         \
      "A peer is dead, and the VM stops, after this long without a frame; 3 heartbeats or more. "  \
      "Where the fabric tells (shm, memif), the end of a peer's dataplane is noticed sooner.")     \
    X(join_timeout_ms, UINT, "ms", 100, 3600000, "30000", LOCAL, 1, transport.join_timeout_ms,     \
      "How long a starting node waits for the others before it gives up, naming who is missing.")  \
    X(credit, UINT, "frames", 1, RRDP_WINDOW, "64", COMMON, 1, transport.credit,                   \
      "Frames that a node takes in flight, for each class and peer.")                              \
    X(group_min, UINT, "nodes", 0, WIRE_NODES_MAX, "2", LOCAL, 1, transport.group_min,             \
      "An invalidation for so many nodes or more, 2 at least, leaves as one frame, where one frame "  \
      "reaches them all (af_packet, af_xdp, dpdk). 0: never.")

#define CONFIG_KEYS_COHERENCE(X)                                                                   \
    X(txn_max, UINT, "", 1, 65536, "256", COMMON, 1, coherence.txn_max,                            \
      "Page transactions of a node in flight.")                                                    \
    X(hold_us, UINT, "us", 0, 1000000, "100", LOCAL, 1, coherence.hold_us,                         \
      "Minimum residency of a granted page, and the quiet time that ends a page set.")             \
    X(zero_ahead, UINT, "pages", 0, 64, "16", LOCAL, 1, coherence.zero_ahead,                      \
      "Pages given with the first write to one that nobody has touched, if they are homed at the writer's node: "  \
      "its aligned group of so many, a power of two; 0: only itself.")                              \
    X(hold_max_us, UINT, "us", 1, 10000000, "5000", LOCAL, 1, coherence.hold_max_us,               \
      "Longest time that a page set is held against others; hold_us or more.")                     \
    X(check, BOOL, "", 0, 1, "false", LOCAL, 1, coherence.check,                                   \
      "Check the invariants after each step; a violation stops the VM.")

#define CONFIG_KEYS_POLL(X)                                                                        \
    X(mode, ENUM, "busy|yield|adaptive|interrupt|sleep", 0, 0, "interrupt", LOCAL, 1, poll.mode,   \
      "What the poll loop does when idle. busy: polls on; needs a core of its own. yield: gives "  \
      "the core away after empty_polls. interrupt: that, and sleeps after sleep_after_us until a " \
      "frame, a fault or a deadline comes; sleep is its older name. adaptive: polls while frames " \
      "come faster than a sleep and the way back take here (measured at start), sleeps where the " \
      "gaps are longer. All but busy sleep at once, yield for 50 us, after they have woken a vCPU " \
      "or the agent of their own CPU.")                                                            \
    X(empty_polls, UINT, "rounds", 1, 1000000, "16", LOCAL, 1, poll.empty_polls,                   \
      "yield, interrupt, adaptive: empty rounds before the core is given away at all.")            \
    X(sleep_after_us, UINT, "us", 1, 1000000, "100", LOCAL, 1, poll.sleep_after_us,                \
      "interrupt: idle time before the loop blocks.")                                              \
    X(nice, INT, "nice level", -20, 19, "-10", LOCAL, 1, poll.nice,                                \
      "Nice level of the poll loop and the agent thread: where cores are short they must come "    \
      "before vCPUs. Of threads.*_class: other.")                                                  \
    X(slice_us, UINT, "us", 0, HOST_SLICE_MAX_US, "100", LOCAL, 1, poll.slice_us,                  \
      "Time slice of the same two; a shorter one than the vCPUs' lets them have the CPU as soon "  \
      "as they wake up (Linux 6.12 or later; its minimum is 100). 0: the kernel's default.")       \
    X(rx_frames, UINT, "frames", 1, 1024, "64", LOCAL, 1, poll.rx_frames,                          \
      "Frames taken from the fabric a round, 32 at a time. More: fewer rounds at high rates; "     \
      "less: what else waits, faults and interrupts, comes sooner.")                               \
    X(tx_frames, UINT, "frames", 1, 1024, "64", LOCAL, 1, poll.tx_frames,                          \
      "Frames given to the fabric a round.")                                                       \
    X(glue_entries, UINT, "entries", 1, GLUE_RING_ENTRIES, "16", LOCAL, 1, poll.glue_entries,      \
      "Interrupts, I/O exits and commands taken from one vCPU a round.")

#define CONFIG_KEYS_THREADS(X)                                                                     \
    X(poll_class, ENUM, "other|fifo|rr", 0, 0, "other", LOCAL, 1, threads.poll.class,              \
      "Scheduler class of the poll loop. fifo and rr never yield to ordinary threads: a loop "     \
      "that spins then keeps even the kernel's own threads off its CPU, until RT throttling "      \
      "stops it for 50 ms a second.")                                                              \
    X(poll_priority, UINT, "", 1, 99, "1", LOCAL, 1, threads.poll.priority,                        \
      "Its priority in fifo or rr; above 50 it comes before the handlers of threaded IRQs.")       \
    X(agent_class, ENUM, "other|fifo|rr", 0, 0, "other", LOCAL, 1, threads.agent.class,            \
      "The same for the agent thread, which sleeps when it has nothing to do.")                    \
    X(agent_priority, UINT, "", 1, 99, "1", LOCAL, 1, threads.agent.priority, "Its priority.")     \
    X(vcpu_class, ENUM, "other|fifo|rr", 0, 0, "other", LOCAL, 1, threads.vcpu.class,              \
      "The same for vCPU threads. A guest that spins is never preempted then: only with CPUs of "  \
      "their own, or below poll loop and agent.")                                                  \
    X(vcpu_priority, UINT, "", 1, 99, "1", LOCAL, 1, threads.vcpu.priority, "Their priority.")     \
    X(vcpu_nice, INT, "nice level", -20, 19, "0", LOCAL, 1, threads.vcpu.nice,                     \
      "Nice level of vCPU threads in class other; 0: their process's.")                            \
    X(housekeeping_class, ENUM, "other|batch", 0, 0, "other", LOCAL, 1, threads.housekeeping_batch,\
      "All other threads, and verbs's registration. batch: they wake up without taking the CPU "   \
      "from who runs there.")                                                                      \
    X(housekeeping_nice, INT, "nice level", -20, 19, "0", LOCAL, 1, threads.housekeeping_nice,     \
      "Their nice level; 0: as it was.")

#define CONFIG_KEYS_CLOCK(X)                                                                       \
    X(discipline, ENUM, "off|on", 0, 0, "on", COMMON, 1, clock.discipline,                         \
      "One guest clock over all nodes. off: guest time is each host's own, for tests.")            \
    X(interval_ms, UINT, "ms", 5, 1000, "50", LOCAL, 1, clock.interval_ms,                         \
      "Between two exchanges of time stamps with the VMM's node, whose TSC is the reference.")

#define CONFIG_KEYS_TELEMETRY(X)                                                                   \
    X(sample, UINT, "", 0, SPAN_SAMPLE_MAX, "64", COMMON, 1, telemetry.sample,                     \
      "Spans: one transaction in so many is timed stage by stage on all nodes that it passes; "    \
      "1: all, 0: none.")

/* X(enumerator, C name, name in the file, key list). NODE is the one section that is a sequence. */
#define CONFIG_SECTIONS(X)                                                                         \
    X(TOP, top, "", CONFIG_KEYS_TOP)                                                               \
    X(VM, vm, "vm", CONFIG_KEYS_VM)                                                                \
    X(NODE, node, "nodes", CONFIG_KEYS_NODE)                                                       \
    X(FABRIC, fabric, "fabric", CONFIG_KEYS_FABRIC)                                                \
    X(FAULTS, faults, "fabric.faults", CONFIG_KEYS_FAULTS)                                         \
    X(TRANSPORT, transport, "transport", CONFIG_KEYS_TRANSPORT)                                    \
    X(COHERENCE, coherence, "coherence", CONFIG_KEYS_COHERENCE)                                    \
    X(POLL, poll, "poll", CONFIG_KEYS_POLL)                                                        \
    X(THREADS, threads, "threads", CONFIG_KEYS_THREADS)                                            \
    X(CLOCK, clock, "clock", CONFIG_KEYS_CLOCK)                                                    \
    X(TELEMETRY, telemetry, "telemetry", CONFIG_KEYS_TELEMETRY)

/* clang-format on */

#define X(ID, id, name, keys) CONFIG_SECTION_##ID,
enum config_section { CONFIG_SECTIONS(X) CONFIG_SECTION_COUNT };
#undef X

enum config_type {
    CONFIG_UINT,
    CONFIG_INT,
    CONFIG_BOOL,
    CONFIG_WORD,
    CONFIG_ADDRESS,
    CONFIG_DEVICE,
    CONFIG_PATH,
    CONFIG_ENUM,
    CONFIG_LIST,
    CONFIG_CHOICES,
};

/* clang-format off */
/* What libcyaml fills: every value as the text in the file, NULL where it was left out. */
#define RAW_SCALAR(key) char *key;
#define RAW_UINT RAW_SCALAR
#define RAW_INT RAW_SCALAR
#define RAW_BOOL RAW_SCALAR
#define RAW_WORD RAW_SCALAR
#define RAW_ADDRESS RAW_SCALAR
#define RAW_DEVICE RAW_SCALAR
#define RAW_PATH RAW_SCALAR
#define RAW_ENUM RAW_SCALAR
#define RAW_LIST(key)                                                                              \
    char **key;                                                                                    \
    unsigned key##_count;
#define RAW_CHOICES RAW_LIST
#define RAW(key, type, ...) RAW_##type(key)
struct raw_vm { CONFIG_KEYS_VM(RAW) };
struct raw_node { CONFIG_KEYS_NODE(RAW) };
struct raw_faults { CONFIG_KEYS_FAULTS(RAW) };
struct raw_fabric { CONFIG_KEYS_FABRIC(RAW) struct raw_faults faults; };
struct raw_transport { CONFIG_KEYS_TRANSPORT(RAW) };
struct raw_coherence { CONFIG_KEYS_COHERENCE(RAW) };
struct raw_poll { CONFIG_KEYS_POLL(RAW) };
struct raw_threads { CONFIG_KEYS_THREADS(RAW) };
struct raw_clock { CONFIG_KEYS_CLOCK(RAW) };
struct raw_telemetry { CONFIG_KEYS_TELEMETRY(RAW) };
struct raw_config {
    CONFIG_KEYS_TOP(RAW)
    struct raw_vm vm;
    struct raw_node *nodes;
    unsigned nodes_count;
    struct raw_fabric fabric;
    struct raw_transport transport;
    struct raw_coherence coherence;
    struct raw_poll poll;
    struct raw_threads threads;
    struct raw_clock clock;
    struct raw_telemetry telemetry;
};
#undef RAW
/* clang-format on */

struct config_key {
    enum config_section section;
    const char *key;
    enum config_type type;
    const char *unit;
    int64_t min, max;
    const char *def;
    bool common;
    uint32_t scale;
    size_t raw_offset;    /* in struct raw_config, or struct raw_node */
    size_t target_offset; /* in struct pando_config, or struct config_node */
    size_t target_size;   /* of the member; of one entry for LIST */
    size_t target_count;  /* LIST: entries that fit */
    const char *doc;
};

extern const struct config_key config_keys[];
extern const size_t config_keys_count;
const char *config_section_name(enum config_section s);
/* The key as a person would write its path: "vm.ram_mib", "nodes[1].id", "cluster". */
void config_key_path(const struct config_key *k, unsigned index, char *buf, size_t size);

/* Where messages come from and go to. */
struct config_context {
    const char *file;
    char *err; /* CONFIG_ERROR_MAX bytes */
};
/* Writes "file: sentence" and returns error. */
int config_fail(const struct config_context *ctx, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* config_keys.c: checks every value of one section of raw and stores it at target. */
int config_store(const struct config_context *ctx, enum config_section section, unsigned index,
                 const void *raw, void *target);

/* config_yaml.c: text to raw structure. Free with config_raw_free (NULL is fine). */
int config_raw_load(const struct config_context *ctx, const char *text, size_t len,
                    struct raw_config **ret_raw);
void config_raw_free(struct raw_config *raw);

/* config_rules.c: what holds between keys; fills what was left out (vCPU homes). */
int config_apply_rules(const struct config_context *ctx, const struct raw_config *raw,
                       struct pando_config *cfg);

/* config_threads.c: a rule as those. */
int config_rule_threads(const struct config_context *ctx, struct pando_config *cfg);

/* config_hash.c: of every COMMON key; and FNV-1a, 64 bits. */
uint64_t config_hash(const struct pando_config *cfg);
uint64_t config_fnv1a(uint64_t hash, const void *data, size_t len);
#define CONFIG_FNV_START UINT64_C(0xCBF29CE484222325)

#endif
