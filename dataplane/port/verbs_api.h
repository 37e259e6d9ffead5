/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libibverbs, found at run time: a program that links it would not start where it is missing. EDGE.
 *
 * The functions of the library are in a table. Those that verbs.h defines inline (post, poll, ask
 * for an event) go through the context that open_device returned, so a table with other functions
 * is another provider: the tests have one.
 */
#ifndef PANDO_PORT_VERBS_API_H
#define PANDO_PORT_VERBS_API_H

#include <infiniband/verbs.h>

#include "dataplane/port/port.h"

/* X(name, the library's name, result, parameters) */
/* clang-format off */
#define VERBS_API_LIST(X) \
    X(get_device_list, "ibv_get_device_list", struct ibv_device **, (int *)) \
    X(free_device_list, "ibv_free_device_list", void, (struct ibv_device **)) \
    X(get_device_name, "ibv_get_device_name", const char *, (struct ibv_device *)) \
    X(open_device, "ibv_open_device", struct ibv_context *, (struct ibv_device *)) \
    X(close_device, "ibv_close_device", int, (struct ibv_context *)) \
    X(query_device, "ibv_query_device", int, (struct ibv_context *, struct ibv_device_attr *)) \
    X(query_port, "ibv_query_port", int, \
      (struct ibv_context *, uint8_t, struct _compat_ibv_port_attr *)) \
    X(query_gid, "_ibv_query_gid_ex", int, \
      (struct ibv_context *, uint32_t, uint32_t, struct ibv_gid_entry *, uint32_t, size_t)) \
    X(get_async_event, "ibv_get_async_event", int, \
      (struct ibv_context *, struct ibv_async_event *)) \
    X(ack_async_event, "ibv_ack_async_event", void, (struct ibv_async_event *)) \
    X(alloc_pd, "ibv_alloc_pd", struct ibv_pd *, (struct ibv_context *)) \
    X(dealloc_pd, "ibv_dealloc_pd", int, (struct ibv_pd *)) \
    X(reg_mr, "ibv_reg_mr", struct ibv_mr *, (struct ibv_pd *, void *, size_t, int)) \
    X(dereg_mr, "ibv_dereg_mr", int, (struct ibv_mr *)) \
    X(create_comp_channel, "ibv_create_comp_channel", struct ibv_comp_channel *, \
      (struct ibv_context *)) \
    X(destroy_comp_channel, "ibv_destroy_comp_channel", int, (struct ibv_comp_channel *)) \
    X(get_cq_event, "ibv_get_cq_event", int, \
      (struct ibv_comp_channel *, struct ibv_cq **, void **)) \
    X(ack_cq_events, "ibv_ack_cq_events", void, (struct ibv_cq *, unsigned int)) \
    X(create_cq, "ibv_create_cq", struct ibv_cq *, \
      (struct ibv_context *, int, void *, struct ibv_comp_channel *, int)) \
    X(destroy_cq, "ibv_destroy_cq", int, (struct ibv_cq *)) \
    X(create_srq, "ibv_create_srq", struct ibv_srq *, \
      (struct ibv_pd *, struct ibv_srq_init_attr *)) \
    X(destroy_srq, "ibv_destroy_srq", int, (struct ibv_srq *)) \
    X(create_qp, "ibv_create_qp", struct ibv_qp *, (struct ibv_pd *, struct ibv_qp_init_attr *)) \
    X(modify_qp, "ibv_modify_qp", int, (struct ibv_qp *, struct ibv_qp_attr *, int)) \
    X(destroy_qp, "ibv_destroy_qp", int, (struct ibv_qp *)) \
    X(create_ah, "ibv_create_ah", struct ibv_ah *, (struct ibv_pd *, struct ibv_ah_attr *)) \
    X(destroy_ah, "ibv_destroy_ah", int, (struct ibv_ah *)) \
    X(wc_status_str, "ibv_wc_status_str", const char *, (enum ibv_wc_status)) \
    X(event_type_str, "ibv_event_type_str", const char *, (enum ibv_event_type))
/* clang-format on */

struct verbs_api {
#define X(name, symbol, result, parameters) result(*name) parameters;
    VERBS_API_LIST(X)
#undef X
};

/* The library's functions. It stays loaded. 0; -ENODEV: it is not there, or lacks one; with what to
 * do in err. */
int verbs_load(struct verbs_api *ret_api, char err[PORT_ERROR_MAX]);

#endif
