/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables. A claim is where its source says; a claim that no source makes is not made. */
#include <string.h>

#include "dataplane/base/bits.h"
#include "offload/nic/nic.h"

#define F(id) (UINT32_C(1) << RULE_##id)
#define A(id) (UINT32_C(1) << RULE_DO_##id)
#define K(id) (UINT32_C(1) << LINK_##id)

enum {
    ETHERNET = K(ETHERNET),
    UDP = K(UDP4) | K(UDP6),
    ANY_KIND = ETHERNET | UDP,
    ADDRESSES = F(IP_SRC) | F(IP_DST),
    PORTS = F(UDP_SRC) | F(UDP_DST),
    HEADERS = F(ETH_SRC) | F(ETH_DST) | F(ETH_TYPE) | ADDRESSES | PORTS,
};

/* ---- NVIDIA -------------------------------------------------------------------------------- */

#define MLX5_HEADERS                                                                               \
    {                                                                                              \
        .name = "flow rule", .kinds = ANY_KIND, .may = HEADERS | F(VLAN_PCP) | F(IP_PROTO),        \
        .fates = A(QUEUE) | A(RSS) | A(DROP), .with = A(COUNT) | A(MARK), .tagged = true,          \
        .source = "doc/guides/nics/features/mlx5.ini and mlx5.rst, DPDK 22.11",                    \
    }
/* Mirrored by SAMPLE of ratio 1, of which a rule has one. */
#define MLX5_MIRROR                                                                                \
    {                                                                                              \
        .name = "mirror in the e-switch", .kinds = ETHERNET, .must = F(ETH_DST),                   \
        .fates = A(REPLICATE), .with = A(COUNT), .transfer = true, .copies = 1,                    \
        .source = "doc/guides/nics/mlx5.rst, \"Sample flow\"; "                                    \
                  "flow_dv_validate_action_sample() in drivers/net/mlx5/mlx5_flow_dv.c "           \
                  "(\"Multiple sample actions not supported\"), DPDK 22.11",                       \
    }
/* Group 0 needs no rule that jumps there, but its priorities are those of the kernel's driver: 0
 * and 1 are there with the fewest that it can have. */
#define MLX5_COMMON                                                                                \
    .priorities = true, .priority_max = 1, .group = 0, .async = true, .mac_filter = true,          \
    .checksum = true, .queues = 1024,                                                              \
    .source = "drivers/net/mlx5/mlx5_flow.c: mlx5_flow_adjust_priority(); mlx5.c: "                \
              "mlx5_set_mc_addr_list(); doc/guides/nics/features/mlx5.ini, DPDK 22.11"

/* doc/guides/nics/mlx5.rst, "dv_flow_en" and limitations of HW steering; mlx5_flow_hw.c:
 * flow_hw_pattern_validate(), mlx5_flow_hw_actions_validate(). */
#define MLX5_QUEUES                                                                                \
    "With devargs dv_flow_en=2 (ConnectX-6 Dx or later) rules go by flow queues only, and there "  \
    "is neither flex item nor copy. Flow queues, flex item and copies were run against a fake "    \
    "that keeps rte_flow's contract, never on hardware."

static const struct nic bluefield2 = {
    .name = "bluefield2",
    .drivers = "mlx5_pci mlx5_auxiliary",
    .title = "NVIDIA BlueField-2, with the flexible parser",
    MLX5_COMMON,
    .flex = NIC_FLEX_ITEM,
    .flex_samples = 8,
    .flex_links = ANY_KIND,
    .templates = 3,
    .shape =
        {
            MLX5_HEADERS,
            {
                .name = "flow rule with a flex item",
                .kinds = ANY_KIND,
                .may = HEADERS | F(VLAN_PCP) | F(IP_PROTO) | F(RRDP_SOURCE) | F(RRDP_CLASS) |
                       F(RRDP_TAG),
                .fates = A(QUEUE) | A(RSS) | A(DROP),
                .with = A(COUNT) | A(MARK),
                .flex_bytes = 32,
                .flex_until = 255,
                .flex_bits = true,
                .source = "doc/guides/nics/mlx5.rst, \"Flex item\": BlueField-2, PF only, one "
                          "input link of eth or udp, 8 sample fields of the device; "
                          "drivers/net/mlx5/mlx5_flow_flex.c, DPDK 22.11",
            },
            MLX5_MIRROR,
        },
    .notes = "Firmware: FLEX_PARSER_PROFILE_ENABLE=4. The item uses 3 of the device's 8 sample "
             "fields. Copies: e-switch mode switchdev. " MLX5_QUEUES,
};

static const struct nic mlx5 = {
    .name = "mlx5",
    .drivers = "mlx5_pci mlx5_auxiliary",
    .title = "NVIDIA ConnectX-5, ConnectX-6 Dx, ConnectX-7",
    MLX5_COMMON,
    .flex = NIC_FLEX_NONE,
    .templates = 2,
    .shape = {MLX5_HEADERS, MLX5_MIRROR},
    .notes = "Without the flexible parser, which DPDK 22.11 knows of BlueField-2 only, it does not "
             "see Pando's header: use UDP. Copies: e-switch mode switchdev. " MLX5_QUEUES,
};

/* ---- Intel --------------------------------------------------------------------------------- */

/* One input set a packet type: the first rule's, and "Conflict with the first rule's input set" for
 * another. So all rules match the same fields, those that every use of them needs. */
static const struct nic i40e = {
    .name = "i40e",
    .drivers = "net_i40e",
    .title = "Intel X710, XL710, X722",
    .priorities = false,
    .checksum = true,
    .queues = 64,
    .flex = NIC_FLEX_RAW,
    .templates = 3,
    .shape =
        {
            {
                .name = "flow director",
                .kinds = UDP,
                .must = ADDRESSES | PORTS,
                .fates = A(QUEUE) | A(DROP),
                .with = A(MARK),
                .source = "drivers/net/i40e/i40e_flow.c: i40e_flow_parse_fdir_pattern(), "
                          "i40e_flow_parse_fdir_action(); i40e_ethdev.c: i40e_get_default_input_"
                          "set(), DPDK 22.11",
            },
            {
                .name = "flow director with flexible payload",
                .kinds = ETHERNET,
                .must = F(ETH_TYPE) | F(RRDP_SOURCE) | F(RRDP_CLASS),
                .fates = A(QUEUE) | A(DROP),
                .with = A(MARK),
                .flex_bytes = 16,
                .flex_until = 255,
                .flex_bits = true,
                .source =
                    "drivers/net/i40e/i40e_flow.c: item RAW, relative, even offset, 16 bytes; "
                    "i40e_fdir.c: i40e_flow_store_flex_mask(), at most 2 words under a mask of "
                    "bits; one mask for all rules of the packet type, DPDK 22.11",
            },
            {
                .name = "ethertype filter",
                .kinds = ETHERNET,
                .must = F(ETH_TYPE),
                .fates = A(QUEUE) | A(DROP),
                .capacity = 768,
                .source = "drivers/net/i40e/i40e_flow.c: i40e_flow_parse_ethertype_pattern(); "
                          "I40E_MAX_ETHERTYPE_FILTER_NUM, DPDK 22.11",
            },
        },
    .notes = "How many flow director rules there are is the device's share "
             "(num_filters_guaranteed in its log). Not with support-multi-driver=1.",
    .source = "drivers/net/i40e/i40e_flow.c: i40e_flow_parse_attr(); no set_mc_addr_list in "
              "i40e_ethdev.c, DPDK 22.11",
};

/* Not in pipeline mode (devargs), where priority chooses between two engines. */
static const struct nic ice = {
    .name = "ice",
    .drivers = "net_ice",
    .title = "Intel E810, E822, E823",
    .priorities = false,
    .checksum = true,
    .queues = 256,
    .flex = NIC_FLEX_FRAME,
    .templates = 3,
    .shape =
        {
            {
                .name = "flow director",
                .kinds = UDP,
                .must = ADDRESSES | PORTS,
                .fates = A(QUEUE) | A(DROP),
                .with = A(COUNT) | A(MARK),
                .capacity = 8192,
                .source = "drivers/net/ice/ice_fdir_filter.c: ice_fdir_pattern_list[], "
                          "ice_fdir_parse_action(), DPDK 22.11; counters: 32 pools of 256",
            },
            {
                .name = "raw flow director",
                .kinds = ETHERNET,
                .must = F(ETH_TYPE) | F(RRDP_SOURCE) | F(RRDP_CLASS),
                .fates = A(QUEUE) | A(DROP),
                .with = A(MARK),
                .flex_bytes = 64,
                .flex_until = 255,
                .flex_bits = true,
                .source =
                    "drivers/net/ice/ice_fdir_filter.c: pattern_raw, no counter is allocated for "
                    "it; base/ice_parser.c: ice_parser_profile_init(), 32 words, DPDK 22.11",
            },
            {
                .name = "ethertype flow director",
                .kinds = ETHERNET,
                .must = F(ETH_SRC) | F(ETH_TYPE),
                .fates = A(QUEUE) | A(DROP),
                .with = A(COUNT) | A(MARK),
                .capacity = 8192,
                .source = "drivers/net/ice/ice_fdir_filter.c: ICE_FDIR_INSET_ETH, DPDK 22.11",
            },
        },
    .notes = "Raw rules need the DDP package (\"Failed to initialize DDP parser\" in the log is "
             "its absence).",
    .source = "doc/guides/nics/ice.rst, \"Generic Flow Pipeline Mode Support\"; no "
              "set_mc_addr_list in ice_ethdev.c, DPDK 22.11",
};

#define IGB_ETHERTYPE                                                                              \
    {                                                                                              \
        .name = "ethertype filter", .kinds = ETHERNET, .must = F(ETH_TYPE), .fates = A(QUEUE),     \
        .capacity = 8,                                                                             \
        .source = "drivers/net/e1000/igb_flow.c: igb_parse_ethertype_filter() (\"drop option is "  \
                  "unsupported\"); E1000_MAX_ETQF_FILTERS, DPDK 22.11",                            \
    }
#define IGB_SOURCE                                                                                 \
    "drivers/net/e1000/igb_flow.c, igb_ethdev.c: eth_igb_infos_get(), "                            \
    "eth_igb_set_mc_addr_list(), "                                                                 \
    "DPDK 22.11"

static const struct nic igb = {
    .name = "igb",
    .drivers = "net_e1000_igb",
    .title = "Intel 82576",
    .priorities = false,
    .mac_filter = true,
    .checksum = true,
    .queues = 16,
    .templates = 2,
    .shape =
        {
            IGB_ETHERTYPE,
            {
                .name = "5-tuple filter",
                .kinds = K(UDP4),
                .must = F(IP_DST) | F(IP_PROTO) | PORTS,
                .may = F(IP_SRC),
                .fates = A(QUEUE),
                .capacity = 8,
                .source = "drivers/net/e1000/igb_flow.c: cons_parse_ntuple_filter(); "
                          "E1000_MAX_FTQF_FILTERS, DPDK 22.11; probe on QEMU's 82576, which takes "
                          "such rules and then ignores them",
            },
        },
    .notes = "QEMU's 82576 has the filters, but sends all frames to queue 0.",
    .source = IGB_SOURCE,
};

/* Its flexible filter takes whole bytes of a frame's first 128 and no DROP: the class shares its
 * byte with a length. */
static const struct nic i350 = {
    .name = "i350",
    .drivers = "net_e1000_igb",
    .title = "Intel 82580, I350, I354, I210",
    .priorities = false,
    .mac_filter = true,
    .checksum = true,
    .queues = 4,
    .templates = 2,
    .shape =
        {
            IGB_ETHERTYPE,
            {
                .name = "2-tuple filter",
                .kinds = K(UDP4),
                .must = F(IP_PROTO) | F(UDP_DST),
                .fates = A(QUEUE),
                .capacity = 8,
                .source =
                    "drivers/net/e1000/igb_flow.c: igb_parse_ntuple_filter() (\"only two tuple "
                    "are supported\"); E1000_MAX_TTQF_FILTERS, DPDK 22.11",
            },
        },
    .notes = "8 queues, but 4 on I210.",
    .source = IGB_SOURCE,
};

static const struct nic e1000e = {
    .name = "e1000e",
    .drivers = "net_e1000_em",
    .title = "Intel 8254x, 8257x, 82583",
    .mac_filter = true,
    .checksum = true,
    .queues = 1,
    .notes = "No rte_flow; the rules in doc/guides/nics/features/e1000.ini are igb's.",
    .source = "drivers/net/e1000/em_ethdev.c: no flow_ops_get; eth_em_infos_get() says 2 queues, "
              "and its comment why one is what works, DPDK 22.11",
};

/* ---- Broadcom ------------------------------------------------------------------------------ */

static const struct nic bnxt = {
    .name = "bnxt",
    .drivers = "net_bnxt",
    .title = "Broadcom NetXtreme-C/E, Stingray",
    .priorities = false,
    .mac_filter = true,
    .checksum = true,
    .queues = 128,
    .templates = 2,
    .shape =
        {
            {
                .name = "TruFlow rule",
                .kinds = UDP,
                .must = ADDRESSES | PORTS,
                .fates = A(RSS) | A(DROP),
                .with = A(COUNT) | A(MARK),
                .source = "drivers/net/bnxt/tf_ulp/ulp_rte_handler_tbl.c: RSS, DROP, COUNT, MARK; "
                          "QUEUE and item RAW not supported, DPDK 22.11",
            },
            {
                .name = "ntuple filter",
                .kinds = UDP,
                .must = ADDRESSES | PORTS,
                .fates = A(QUEUE) | A(DROP),
                .source = "drivers/net/bnxt/bnxt_flow.c: bnxt_validate_and_parse_flow(); "
                          "bnxt_get_vnic(): RSS of queues on Stingray only, DPDK 22.11",
            },
        },
    .notes = "With devargs host-based-truflow=1 the first shape, without it the second. Rules for "
             "plain Ethernet are not planned: without TruFlow they become MAC filters that take "
             "all of the port's traffic along.",
    .source = "doc/guides/nics/features/bnxt.ini; drivers/net/bnxt/bnxt_ethdev.c: "
              "bnxt_dev_set_mc_addr_list_op(), DPDK 22.11",
};

/* ---- software devices ---------------------------------------------------------------------- */

/* Not in it, though documented, since the probe on Linux 6.12 could not create it: RSS ("Kernel too
 * old or not configured to support BPF program loading"); VLAN items, which are created and match
 * nothing. */
static const struct nic tap = {
    .name = "tap",
    .drivers = "net_tap",
    .title = "TAP interface of Linux, rules by tc's cls_flower",
    .priorities = true,
    .priority_max = 4000,
    .mac_filter = true,
    .checksum = true,
    .queues = 4,
    .templates = 2,
    .shape =
        {
            {
                .name = "flower rule",
                .kinds = ETHERNET,
                .must = F(ETH_TYPE),
                .may = F(ETH_SRC) | F(ETH_DST),
                .fates = A(QUEUE) | A(DROP),
                .source = "doc/guides/nics/tap.rst; drivers/net/tap/tap_flow.c: "
                          "priv_flow_process(), one action a rule; probe, net_tap of DPDK 22.11 on "
                          "Linux 6.12",
            },
            {
                .name = "flower rule",
                .kinds = UDP,
                .may = F(ETH_SRC) | F(ETH_DST) | F(IP_PROTO) | ADDRESSES | PORTS,
                .fates = A(QUEUE) | A(DROP),
                .source = "doc/guides/nics/tap.rst; drivers/net/tap/tap_flow.c: "
                          "tap_flow_items[]; probe, net_tap of DPDK 22.11 on Linux 6.12",
            },
        },
    .notes = "The kernel needs cls_flower, sch_multiq and sch_ingress. The device takes every "
             "group address, and computes checksums in software.",
    .source = "drivers/net/tap/rte_eth_tap.c: tap_set_mc_addr_list(); tap_mp_req_on_rxtx(), which "
              "writes past its array with more than 4 pairs of queues, whatever "
              "RTE_PMD_TAP_MAX_QUEUES says; tap_flow.h: MAX_PRIORITY, DPDK 22.11",
};

/* Each answers "Function not implemented" to every rule: probe, DPDK 22.11; softnic was not probed.
 */
#define NO_RULES(ID, driver, text, n, doc)                                                         \
    static const struct nic ID = {                                                                 \
        .name = #ID,                                                                               \
        .drivers = driver,                                                                         \
        .title = text,                                                                             \
        .queues = n,                                                                               \
        .notes = "",                                                                               \
        .source = doc ", DPDK 22.11",                                                              \
    };
/* clang-format off */
NO_RULES(virtio, "net_virtio net_virtio_user", "virtio-net", 256,
         "drivers/net/virtio/virtio_ethdev.c: no flow_ops_get, no IPv4 checksum, no set_mc_addr_list")
NO_RULES(softnic, "net_softnic", "SoftNIC", 16,
         "drivers/net/softnic: no flow_ops_get any more, whatever doc/guides/nics/softnic.rst says")
NO_RULES(af_packet, "net_af_packet", "AF_PACKET socket", 16,
         "drivers/net/af_packet/rte_eth_af_packet.c: no flow_ops_get")
NO_RULES(af_xdp, "net_af_xdp", "AF_XDP socket", 16, "drivers/net/af_xdp/rte_eth_af_xdp.c: no flow_ops_get")
NO_RULES(memif, "net_memif", "shared memory interface", 255, "drivers/net/memif/rte_eth_memif.c: no flow_ops_get")
/* clang-format on */

const struct nic nic_none = {
    .name = "none",
    .drivers = "",
    .title = "no NIC, or one that is not known",
    .queues = 1,
    .notes = "",
    .source = "",
};

/* Of two with the same driver, the one that can do more is first: what a device refuses is taken
 * out of the plan. */
static const struct nic *const all[] = {&bluefield2, &mlx5,      &ice,    &i40e,  &bnxt,
                                        &igb,        &i350,      &e1000e, &tap,   &virtio,
                                        &softnic,    &af_packet, &af_xdp, &memif, &nic_none};

const struct nic *nic_at(unsigned i)
{
    return i < PANDO_ARRAY_LEN(all) ? all[i] : NULL;
}

static bool same_word(const char *list, size_t len, const char *word)
{
    size_t i = 0;
    while (word[i] != '\0' && i < len && list[i] == word[i])
        i++;
    return i == len && word[i] == '\0';
}

static size_t word_len(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0' && s[n] != ' ')
        n++;
    return n;
}

const struct nic *nic_by_name(const char *name)
{
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(all); i++)
        if (same_word(all[i]->name, word_len(all[i]->name), name))
            return all[i];
    return NULL;
}

const struct nic *nic_by_driver(const char *driver)
{
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(all); i++)
        for (const char *w = all[i]->drivers; *w != '\0';) {
            size_t len = word_len(w);
            if (same_word(w, len, driver))
                return all[i];
            w += len + (w[len] == ' ');
        }
    return NULL;
}
