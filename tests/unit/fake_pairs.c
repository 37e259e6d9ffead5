/* SPDX-License-Identifier: BSD-3-Clause */
/* The device in memory: queue pairs, and the wire between them. */
#include "fake_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- queue pairs --------------------------------------------------------------------------- */

static struct receives receives_of(uint32_t depth)
{
    return (struct receives){.depth = depth,
                             .item = calloc(depth == 0 ? 1 : depth, sizeof(struct receive))};
}

static int post_to(struct receives *in, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    for (; wr != NULL; wr = wr->next) {
        RULE(wr->num_sge == 1);
        if (in->count == in->depth) {
            *bad = wr;
            return ENOMEM;
        }
        in->item[(in->first + in->count++) % in->depth] =
            (struct receive){.id = wr->wr_id, .part = wr->sg_list[0]};
    }
    return 0;
}

struct ibv_srq *fake_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr)
{
    struct fake_srq *srq = calloc(1, sizeof(*srq));
    srq->ibv = (struct ibv_srq){.context = pd->context, .pd = pd};
    srq->in = receives_of(attr->attr.max_wr);
    fake.objects++;
    return &srq->ibv;
}

int fake_destroy_srq(struct ibv_srq *ibv)
{
    struct fake_srq *srq = (struct fake_srq *)ibv;
    for (unsigned i = 0; i < PAIRS; i++)
        RULE(w.pair[i] == NULL || w.pair[i]->ibv.srq != ibv);
    free(srq->in.item);
    free(srq);
    fake.objects--;
    return 0;
}

struct ibv_qp *fake_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
    unsigned i = 0;
    if (fake_fails(&fake.fail_qp))
        return NULL;
    if (attr->cap.max_inline_data > fake.inline_max) {
        errno = EINVAL;
        return NULL;
    }
    while (i < PAIRS && w.pair[i] != NULL)
        i++;
    RULE(i < PAIRS && (int)attr->cap.max_send_wr <= fake.max_qp_wr);
    struct fake_qp *qp = calloc(1, sizeof(*qp));
    qp->ibv = (struct ibv_qp){.context = pd->context,
                              .pd = pd,
                              .send_cq = attr->send_cq,
                              .recv_cq = attr->recv_cq,
                              .srq = attr->srq,
                              .qp_type = attr->qp_type,
                              .qp_num = ++w.last_number,
                              .state = IBV_QPS_RESET};
    qp->limit = attr->cap.max_send_wr;
    qp->inline_max = attr->cap.max_inline_data;
    qp->in = receives_of(attr->cap.max_recv_wr);
    qp->out = calloc(qp->limit, sizeof(*qp->out));
    w.pair[i] = qp;
    fake.objects++;
    return &qp->ibv;
}

static struct fake_qp *pair_of(uint32_t number)
{
    for (unsigned i = 0; i < PAIRS; i++)
        if (w.pair[i] != NULL && w.pair[i]->ibv.qp_num == number)
            return w.pair[i];
    return NULL;
}

/* The head of the send queue has ended so. */
static void end_head(struct fake_qp *qp, enum ibv_wc_status status)
{
    const struct packet *p = &qp->out[qp->first];
    struct ibv_wc wc = {.wr_id = p->wr.wr_id, .status = status, .qp_num = qp->ibv.qp_num};
    uint64_t number = qp->posted - qp->count + 1;
    qp->first = (qp->first + 1) % qp->limit;
    qp->count--;
    if (status != IBV_WC_SUCCESS || (p->wr.send_flags & IBV_SEND_SIGNALED))
        fake_complete((struct fake_cq *)qp->ibv.send_cq, &wc, qp, number);
}

static void to_error(struct fake_qp *qp)
{
    qp->ibv.state = IBV_QPS_ERR;
    while (qp->count > 0)
        end_head(qp, IBV_WC_WR_FLUSH_ERR);
    while (qp->in.count > 0) {
        struct ibv_wc wc = {.wr_id = qp->in.item[qp->in.first].id,
                            .status = IBV_WC_WR_FLUSH_ERR,
                            .qp_num = qp->ibv.qp_num};
        qp->in.first = (qp->in.first + 1) % qp->in.depth;
        qp->in.count--;
        fake_complete((struct fake_cq *)qp->ibv.recv_cq, &wc, NULL, 0);
    }
}

int fake_modify_qp(struct ibv_qp *ibv, struct ibv_qp_attr *attr, int mask)
{
    enum {
        RTR = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
              IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
        RTS = IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
              IBV_QP_MAX_QP_RD_ATOMIC
    };
    struct fake_qp *qp = (struct fake_qp *)ibv;
    bool rc = ibv->qp_type == IBV_QPT_RC;
    if (attr->qp_state == IBV_QPS_ERR) {
        to_error(qp);
        return 0;
    }
    if (attr->qp_state == IBV_QPS_RESET) { /* what was completed is seen yet */
        qp->count = qp->in.count = 0;
        qp->retired = qp->posted;
        ibv->state = IBV_QPS_RESET;
        return 0;
    }
    if ((int)attr->qp_state != (int)ibv->state + 1 ||
        (rc && attr->qp_state == IBV_QPS_RTR && mask != RTR) ||
        (rc && attr->qp_state == IBV_QPS_RTS && mask != RTS))
        return EINVAL;
    RULE(!(rc && attr->qp_state == IBV_QPS_RTS) || attr->retry_cnt < 7);
    if (mask & IBV_QP_ACCESS_FLAGS)
        qp->access_write = attr->qp_access_flags & IBV_ACCESS_REMOTE_WRITE;
    if (mask & IBV_QP_QKEY)
        qp->attr.qkey = attr->qkey;
    if (rc && attr->qp_state == IBV_QPS_RTR)
        qp->attr = *attr;
    if (mask & IBV_QP_SQ_PSN)
        qp->attr.sq_psn = attr->sq_psn;
    ibv->state = attr->qp_state;
    return 0;
}

int fake_destroy_qp(struct ibv_qp *ibv)
{
    struct fake_qp *qp = (struct fake_qp *)ibv;
    struct fake_cq *cq = (struct fake_cq *)ibv->send_cq;
    for (uint32_t i = 0; i < cq->count; i++)
        if (cq->done[(cq->first + i) % cq->depth].qp == qp)
            cq->done[(cq->first + i) % cq->depth].qp = NULL; /* what was completed is seen yet */
    for (unsigned i = 0; i < PAIRS; i++)
        if (w.pair[i] == qp)
            w.pair[i] = NULL;
    free(qp->in.item);
    free(qp->out);
    free(qp);
    fake.objects--;
    return 0;
}

struct ibv_ah *fake_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr)
{
    struct fake_ah *ah = calloc(1, sizeof(*ah));
    RULE(attr->is_global && attr->port_num == 1);
    ah->ibv = (struct ibv_ah){.context = pd->context, .pd = pd};
    ah->attr = *attr;
    fake.objects++;
    return &ah->ibv;
}

int fake_destroy_ah(struct ibv_ah *ah)
{
    free(ah);
    fake.objects--;
    return 0;
}

/* ---- the wire ------------------------------------------------------------------------------ */

static const uint8_t *bytes_of(const struct fake_qp *qp, const struct packet *p)
{
    if (p->wr.send_flags & IBV_SEND_INLINE)
        return p->data;
    return p->wr.num_sge == 0
               ? p->data
               : fake_bytes(qp->ibv.pd, p->part.lkey, p->part.addr, p->part.length, 0);
}

static bool receive(struct receives *in, struct fake_cq *cq, const struct ibv_pd *pd,
                    const void *head, uint32_t head_len, const void *bytes, uint32_t len,
                    struct ibv_wc *wc)
{
    if (in->count == 0)
        return false;
    struct receive r = in->item[in->first];
    in->first = (in->first + 1) % in->depth;
    in->count--;
    uint8_t *to = fake_bytes(pd, r.part.lkey, r.part.addr, r.part.length, IBV_ACCESS_LOCAL_WRITE);
    RULE(to != NULL && head_len + len <= r.part.length);
    if (to == NULL || head_len + len > r.part.length)
        return false;
    if (head_len > 0)
        memcpy(to, head, head_len);
    memcpy(to + head_len, bytes, len);
    wc->wr_id = r.id;
    wc->opcode = IBV_WC_RECV;
    wc->byte_len = head_len + len;
    fake_complete(cq, wc, NULL, 0);
    return true;
}

bool fake_inject_ud(uint32_t to, uint32_t key, uint32_t from, const union ibv_gid *gid,
                    const void *bytes, uint32_t len)
{
    struct fake_qp *qp = pair_of(to);
    uint8_t grh[GRH];
    struct ibv_wc wc = {.qp_num = to, .src_qp = from, .wc_flags = IBV_WC_GRH};
    if (qp == NULL || qp->ibv.qp_type != IBV_QPT_UD || qp->attr.qkey != key ||
        qp->ibv.state < IBV_QPS_RTR || qp->ibv.state == IBV_QPS_ERR)
        return false;
    memset(grh, 0xEE, sizeof(grh)); /* the first half is anything, for IPv4 */
    memcpy(grh + 20 + 12, gid->raw + 12, 4);
    return receive(&qp->in, (struct fake_cq *)qp->ibv.recv_cq, qp->ibv.pd, grh, GRH, bytes, len,
                   &wc);
}

static void send_ud(struct fake_qp *qp, const struct packet *p)
{
    const uint8_t *bytes = bytes_of(qp, p);
    struct ibv_gid_entry own;
    (void)fake_query_gid(NULL, 1, p->way.grh.sgid_index, &own, 0, sizeof(own));
    RULE(bytes != NULL && p->part.length <= 128u << fake.mtu);
    if (bytes != NULL && !fake.cut && !fake.drop_ud)
        (void)fake_inject_ud(p->wr.wr.ud.remote_qpn, p->wr.wr.ud.remote_qkey, qp->ibv.qp_num,
                             &own.gid, bytes, p->part.length);
}

/* The receiver that answers to this sender; NULL: nobody does. */
static struct fake_qp *other_end(uint32_t from, uint32_t to, uint32_t packet)
{
    struct fake_qp *qp = pair_of(to);
    bool good = qp != NULL && (qp->ibv.state == IBV_QPS_RTR || qp->ibv.state == IBV_QPS_RTS) &&
                qp->attr.dest_qp_num == from && qp->attr.rq_psn == packet;
    return good ? qp : NULL;
}

static bool land(struct fake_qp *to, const struct ibv_send_wr *wr, const void *bytes, uint32_t len)
{
    uint8_t *at = fake_bytes(to->ibv.pd, wr->wr.rdma.rkey, wr->wr.rdma.remote_addr, len,
                             IBV_ACCESS_REMOTE_WRITE);
    if (len == 0)
        return true;
    if (at == NULL || !to->access_write)
        return false;
    memcpy(at, bytes, len);
    fake.writes++;
    return true;
}

static void delay(struct fake_qp *qp, const struct packet *p, const uint8_t *bytes)
{
    struct wire *x = &w.wire[w.wires];
    RULE(w.wires < WIRE && p->part.length <= sizeof(x->bytes));
    if (w.wires == WIRE)
        return;
    w.wires++;
    *x = (struct wire){.from = qp->ibv.qp_num,
                       .to = qp->attr.dest_qp_num,
                       .packet = qp->attr.sq_psn,
                       .wr = p->wr,
                       .len = p->part.length};
    memcpy(x->bytes, bytes, x->len);
}

static bool is_delayed(const struct fake_qp *qp)
{
    for (uint32_t i = 0; i < w.wires; i++)
        if (w.wire[i].from == qp->ibv.qp_num && w.wire[i].wr.wr_id == qp->out[qp->first].wr.wr_id)
            return true;
    return false;
}

/* One packet of a connection. False: it waits. */
static bool send_rc(struct fake_qp *qp, const struct packet *p)
{
    const uint8_t *bytes = bytes_of(qp, p);
    uint32_t len = p->wr.num_sge > 0 ? p->part.length : 0;
    struct fake_qp *to = other_end(qp->ibv.qp_num, qp->attr.dest_qp_num, qp->attr.sq_psn);
    if (fake.stopped || is_delayed(qp))
        return false;
    RULE(bytes != NULL);
    if (to == NULL || fake.cut || bytes == NULL) {
        end_head(qp, bytes == NULL ? IBV_WC_LOC_PROT_ERR : IBV_WC_RETRY_EXC_ERR);
        to_error(qp);
        return false;
    }
    if (p->wr.opcode == IBV_WR_RDMA_WRITE && len > 0 && fake.delay_writes) {
        delay(qp, p, bytes);
        return false;
    }
    if (p->wr.opcode == IBV_WR_RDMA_WRITE && !land(to, &p->wr, bytes, len)) {
        end_head(qp, IBV_WC_REM_ACCESS_ERR);
        to_error(qp);
        to_error(to);
        return false;
    }
    if (p->wr.opcode != IBV_WR_RDMA_WRITE) {
        bool placed = p->wr.opcode == IBV_WR_SEND_WITH_IMM;
        struct ibv_wc wc = {.qp_num = to->ibv.qp_num,
                            .src_qp = qp->ibv.qp_num,
                            .imm_data = p->wr.imm_data,
                            .wc_flags = placed ? IBV_WC_WITH_IMM : 0};
        if (!receive(&((struct fake_srq *)to->ibv.srq)->in, (struct fake_cq *)to->ibv.recv_cq,
                     to->ibv.pd, NULL, 0, bytes, len, &wc)) {
            fake.rnr++;
            return false;
        }
    }
    end_head(qp, IBV_WC_SUCCESS);
    return true;
}

static void pump(struct fake_qp *qp)
{
    while (qp->count > 0 && qp->ibv.state == IBV_QPS_RTS) {
        struct packet *p = &qp->out[qp->first];
        if (qp->ibv.qp_type == IBV_QPT_UD) {
            send_ud(qp, p);
            end_head(qp, IBV_WC_SUCCESS);
        } else if (!send_rc(qp, p)) {
            return;
        }
    }
}

void fake_go_on(void)
{
    for (unsigned i = 0; i < PAIRS; i++)
        if (w.pair[i] != NULL)
            pump(w.pair[i]);
}

void fake_late(void)
{
    uint32_t n = w.wires;
    fake.delay_writes = false;
    w.wires = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct wire *x = &w.wire[i];
        struct fake_qp *to = other_end(x->from, x->to, x->packet), *from = pair_of(x->from);
        bool landed = to != NULL && land(to, &x->wr, x->bytes, x->len);
        fake.writes_late_landed += landed;
        fake.writes_late_refused += !landed;
        if (from != NULL && from->ibv.state == IBV_QPS_RTS)
            end_head(from, landed ? IBV_WC_SUCCESS : IBV_WC_REM_ACCESS_ERR);
        if (!landed && from != NULL)
            to_error(from);
    }
    fake_go_on();
}

int fake_post_send(struct ibv_qp *ibv, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
    struct fake_qp *qp = (struct fake_qp *)ibv;
    fake.posts++;
    for (; wr != NULL; wr = wr->next) {
        struct packet *p = &qp->out[(qp->first + qp->count) % qp->limit];
        if (ibv->state < IBV_QPS_RTS || qp->posted - qp->retired >= qp->limit ||
            qp->count == qp->limit) {
            RULE(ibv->state >= IBV_QPS_RTS && qp->posted - qp->retired < qp->limit);
            *bad = wr;
            return ENOMEM;
        }
        RULE(wr->num_sge <= 1);
        *p = (struct packet){.wr = *wr};
        if (wr->num_sge == 1)
            p->part = wr->sg_list[0];
        if (wr->send_flags & IBV_SEND_INLINE) {
            RULE(p->part.length <= qp->inline_max);
            memcpy(p->data, (void *)(uintptr_t)p->part.addr, p->part.length);
        }
        if (ibv->qp_type == IBV_QPT_UD)
            p->way = ((struct fake_ah *)wr->wr.ud.ah)->attr;
        qp->posted++;
        qp->count++;
        fake.requests++;
    }
    if (ibv->state == IBV_QPS_ERR)
        to_error(qp);
    pump(qp);
    return 0;
}

int fake_post_recv(struct ibv_qp *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    return post_to(&((struct fake_qp *)ibv)->in, wr, bad);
}

int fake_post_srq_recv(struct ibv_srq *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    int rc = post_to(&((struct fake_srq *)ibv)->in, wr, bad);
    fake_go_on(); /* who found no buffer */
    return rc;
}

/* ---- what tests ask ------------------------------------------------------------------------ */

bool fake_inject_rc(uint32_t to, const void *bytes, uint32_t len, uint32_t immediate)
{
    struct fake_qp *qp = pair_of(to);
    if (qp == NULL)
        return false;
    struct ibv_wc wc = {.qp_num = to,
                        .src_qp = qp->attr.dest_qp_num,
                        .imm_data = htonl(immediate),
                        .wc_flags = IBV_WC_WITH_IMM};
    return receive(&((struct fake_srq *)qp->ibv.srq)->in, (struct fake_cq *)qp->ibv.recv_cq,
                   qp->ibv.pd, NULL, 0, bytes, len, &wc);
}

void fake_break(uint32_t number)
{
    struct fake_qp *qp = pair_of(number);
    RULE(qp != NULL);
    if (qp != NULL)
        to_error(qp);
}

uint32_t fake_ud_of(unsigned n, uint32_t *ret_key)
{
    for (unsigned i = 0; i < PAIRS; i++)
        if (w.pair[i] != NULL && w.pair[i]->ibv.qp_type == IBV_QPT_UD && n-- == 0) {
            *ret_key = w.pair[i]->attr.qkey;
            return w.pair[i]->ibv.qp_num;
        }
    return 0;
}
