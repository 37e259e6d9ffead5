/* SPDX-License-Identifier: BSD-3-Clause */
/* What the two files of the device in memory share. */
#ifndef PANDO_TESTS_FAKE_PARTS_H
#define PANDO_TESTS_FAKE_PARTS_H

#include <stdio.h>

#include "fake_verbs.h"

enum { PAIRS = 64, KEYS = 256, WIRE = 256, GIDS = 8, DEVICES = 4, COMPLETIONS = 32768, GRH = 40 };

struct fake_context {
    struct ibv_context ibv;
    int async[2];
    struct fake_context *next;
};

struct fake_cq {
    struct ibv_cq ibv;
    struct fake_channel *channel;
    bool armed;
    uint32_t first, count, depth;
    struct done {
        struct ibv_wc wc;
        struct fake_qp *qp; /* sends: whose queue gets shorter, and to what */
        uint64_t retires;
    } * done;
};

struct fake_channel {
    struct ibv_comp_channel ibv;
    int end;
    struct fake_cq *cq;
};

struct receive {
    uint64_t id;
    struct ibv_sge part;
};

/* Of a UD queue pair, or shared. */
struct receives {
    uint32_t first, count, depth;
    struct receive *item;
};

struct fake_srq {
    struct ibv_srq ibv;
    struct receives in;
};

struct packet {
    struct ibv_send_wr wr;
    struct ibv_sge part;
    struct ibv_ah_attr way; /* UD */
    uint8_t data[512];      /* inline */
};

struct fake_qp {
    struct ibv_qp ibv;
    struct receives in;
    struct ibv_qp_attr attr;
    bool access_write;
    uint32_t limit, inline_max;
    uint64_t posted, retired; /* work requests; those that take no place any more */
    uint32_t first, count;
    struct packet *out;
};

struct fake_mr {
    struct ibv_mr ibv;
    int access;
};

struct fake_ah {
    struct ibv_ah ibv;
    struct ibv_ah_attr attr;
};

/* A WRITE between sender and receiver. */
struct wire {
    uint32_t from, to, packet;
    struct ibv_send_wr wr;
    uint8_t bytes[4096];
    uint32_t len;
};

struct fake_state {
    struct ibv_device device[DEVICES];
    struct fake_context *contexts;
    struct fake_qp *pair[PAIRS];
    struct fake_mr *key[KEYS];
    struct wire wire[WIRE];
    uint32_t wires, last_number, last_key;
};
extern struct fake_state w;

#define RULE(e)                                                                                    \
    do {                                                                                           \
        if (!(e)) {                                                                                \
            fprintf(stderr, "fake device: %s:%d: %s\n", __func__, __LINE__, #e);                   \
            fake.errors++;                                                                         \
        }                                                                                          \
    } while (0)

/* fake_verbs.c */
bool fake_fails(int *countdown);
void fake_complete(struct fake_cq *cq, const struct ibv_wc *wc, struct fake_qp *qp,
                   uint64_t retires);
uint8_t *fake_bytes(const struct ibv_pd *pd, uint32_t key, uint64_t address, uint32_t len,
                    int access);
int fake_query_gid(struct ibv_context *c, uint32_t port, uint32_t index, struct ibv_gid_entry *out,
                   uint32_t flags, size_t size);

/* fake_pairs.c */
struct ibv_srq *fake_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr);
int fake_destroy_srq(struct ibv_srq *ibv);
struct ibv_qp *fake_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
int fake_modify_qp(struct ibv_qp *ibv, struct ibv_qp_attr *attr, int mask);
int fake_destroy_qp(struct ibv_qp *ibv);
struct ibv_ah *fake_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr);
int fake_destroy_ah(struct ibv_ah *ah);
int fake_post_send(struct ibv_qp *ibv, struct ibv_send_wr *wr, struct ibv_send_wr **bad);
int fake_post_recv(struct ibv_qp *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
int fake_post_srq_recv(struct ibv_srq *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);

#endif
