/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/wire/wire.h"

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/base/crc32c.h"

enum {
    PAGE_BITS = 36,
    MASK_ACKS = 0x3F,
    FLAG_ZERO = 0x40,
    FLAG_EXCLUSIVE = 0x80,
    RRDP_SYN = 1 << 2,
    RRDP_ACK = 1 << 3,
    RRDP_EACK = 1 << 4,
    RRDP_RST = 1 << 5,
    RRDP_NUL = 1 << 6,
    RRDP_AEAD = 1 << 7,
    RRDP_VERSION_MASK = 3,
    RRDP_WORDS_MASK = 0x1F,
    RRDP_FIRST = 1 << 5,
    RRDP_LAST = 1 << 6,
    RRDP_RESERVED = 1 << 7,
};

#define X(id, ID, text, class, pay, owner)                                                         \
    [id] = {.name = text,                                                                          \
            .cls = WIRE_CLASS_##class,                                                             \
            .payload = WIRE_##pay,                                                                 \
            .family = WIRE_FAMILY_##owner},
static const struct wire_kind_info kinds[WIRE_KIND_LIMIT] = {WIRE_MSG_LIST(X)};
#undef X

static const char *const class_names[WIRE_CLASSES] = {"urgent", "request", "data", "bulk"};

static const char *const error_names[WIRE_ERRORS] = {
    [WIRE_OK] = "ok",         [WIRE_E_SHORT] = "short",     [WIRE_E_LENGTH] = "length",
    [WIRE_E_KIND] = "kind",   [WIRE_E_CLASS] = "class",     [WIRE_E_RESERVED] = "reserved",
    [WIRE_E_RANGE] = "range", [WIRE_E_VERSION] = "version", [WIRE_E_CLUSTER] = "cluster",
    [WIRE_E_CRC] = "crc",
};

const struct wire_kind_info *wire_kind_info(uint8_t kind)
{
    return &kinds[kind < WIRE_KIND_LIMIT ? kind : 0];
}

const char *wire_class_name(unsigned cls)
{
    return cls < WIRE_CLASSES ? class_names[cls] : "?";
}

const char *wire_error_name(enum wire_error e)
{
    return (unsigned)e < WIRE_ERRORS ? error_names[e] : "?";
}

static bool is_kind(uint8_t kind, enum wire_family family)
{
    return wire_kind_info(kind)->name != NULL && wire_kind_info(kind)->family == family;
}

/* Which kinds may carry the two flag bits. */
static bool may_be_flagged(uint8_t kind)
{
    return kind == WIRE_GRANT || kind == WIRE_DATA || kind == WIRE_FWD_GETM || kind == WIRE_INV_ACK;
}

static bool may_count_acks(uint8_t kind)
{
    return kind == WIRE_GRANT || kind == WIRE_DATA || kind == WIRE_FWD_GETM;
}

void wire_msg_pack(const struct wire_msg *m, uint8_t out[WIRE_MSG_HEADER])
{
    PANDO_CHECK(is_kind(m->kind, WIRE_FAMILY_COH));
    PANDO_CHECK(m->requester < WIRE_NODES_MAX && m->acks <= MASK_ACKS);
    PANDO_CHECK(((m->txn | m->version) >> 48) == 0 && m->page >> PAGE_BITS == 0);
    PANDO_CHECK(m->age <= WIRE_AGE_MAX);
    out[0] = m->kind;
    out[1] = m->vm;
    out[2] = m->requester;
    out[3] = (uint8_t)(m->acks | (m->zero ? FLAG_ZERO : 0) | (m->exclusive ? FLAG_EXCLUSIVE : 0));
    put_le48(out + 4, m->page | (uint64_t)m->age << PAGE_BITS);
    put_le48(out + 10, m->txn);
    put_le48(out + 16, m->version);
}

/* What all families have in common: size, kind, class, payload. */
static enum wire_error check_kind(const uint8_t *in, size_t len, unsigned cls, size_t payload_len,
                                  enum wire_family family)
{
    if (len < WIRE_MSG_HEADER)
        return WIRE_E_SHORT;
    const struct wire_kind_info *info = wire_kind_info(in[0]);
    if (!is_kind(in[0], family))
        return WIRE_E_KIND;
    if (info->cls != cls)
        return WIRE_E_CLASS;
    if (info->payload == WIRE_NONE   ? payload_len != 0
        : info->payload == WIRE_PAGE ? payload_len != WIRE_PAGE_SIZE
                                     : payload_len > WIRE_BYTES_MAX)
        return WIRE_E_LENGTH;
    return WIRE_OK;
}

enum wire_error wire_msg_unpack(const uint8_t *in, size_t len, unsigned cls, size_t payload_len,
                                struct wire_msg *out)
{
    enum wire_error e = check_kind(in, len, cls, payload_len, WIRE_FAMILY_COH);
    if (e != WIRE_OK)
        return e;
    struct wire_msg m = {
        .kind = in[0],
        .vm = in[1],
        .requester = in[2],
        .acks = in[3] & MASK_ACKS,
        .zero = (in[3] & FLAG_ZERO) != 0,
        .exclusive = (in[3] & FLAG_EXCLUSIVE) != 0,
        .page = get_le48(in + 4) & ((UINT64_C(1) << PAGE_BITS) - 1),
        .age = (uint16_t)(get_le48(in + 4) >> PAGE_BITS),
        .txn = get_le48(in + 10),
        .version = get_le48(in + 16),
    };
    if ((m.zero || m.exclusive) && !may_be_flagged(m.kind))
        return WIRE_E_RESERVED;
    if (m.acks != 0 && !may_count_acks(m.kind))
        return WIRE_E_RESERVED;
    if (m.age != 0 && !wire_has_age(m.kind))
        return WIRE_E_RESERVED;
    if (m.requester >= WIRE_NODES_MAX)
        return WIRE_E_RANGE;
    *out = m;
    return WIRE_OK;
}

void wire_glue_pack(const struct wire_glue *m, uint8_t out[WIRE_MSG_HEADER])
{
    PANDO_CHECK(is_kind(m->kind, WIRE_FAMILY_GLUE));
    out[0] = m->kind;
    out[1] = m->vm;
    put_le16(out + 2, m->chan);
    put_le16(out + 4, m->op);
    put_le32(out + 6, m->seq);
    put_le64(out + 10, m->arg);
    put_le32(out + 18, 0);
}

enum wire_error wire_glue_unpack(const uint8_t *in, size_t len, unsigned cls, size_t payload_len,
                                 struct wire_glue *out)
{
    enum wire_error e = check_kind(in, len, cls, payload_len, WIRE_FAMILY_GLUE);
    if (e != WIRE_OK)
        return e;
    if (get_le32(in + 18) != 0)
        return WIRE_E_RESERVED;
    uint16_t chan = get_le16(in + 2);
    if (chan >= WIRE_VCPUS_MAX && chan != WIRE_CHAN_VM)
        return WIRE_E_RANGE;
    *out = (struct wire_glue){
        .kind = in[0],
        .vm = in[1],
        .chan = chan,
        .op = get_le16(in + 4),
        .seq = get_le32(in + 6),
        .arg = get_le64(in + 10),
    };
    return WIRE_OK;
}

size_t wire_time_pack(const struct wire_time *m, uint8_t out[WIRE_TIME_MAX])
{
    PANDO_CHECK(is_kind(m->kind, WIRE_FAMILY_CLOCK) && m->khz != 0);
    out[0] = m->kind;
    out[1] = m->vm;
    put_le32(out + 2, m->seq);
    put_le32(out + 6, m->khz);
    put_le32(out + 10, (uint32_t)m->rate);
    put_le64(out + 14, m->stamp);
    if (m->kind == WIRE_TIME_REQ)
        return WIRE_MSG_HEADER;
    uint8_t *payload = out + WIRE_MSG_HEADER;
    put_le64(payload, m->received);
    put_le64(payload + 8, m->base_ref);
    put_le64(payload + 16, m->base_c);
    put_le32(payload + 24, m->generation);
    put_le32(payload + 28, 0);
    return WIRE_TIME_MAX;
}

enum wire_error wire_time_unpack(const uint8_t *in, size_t len, unsigned cls,
                                 const uint8_t *payload, size_t payload_len, struct wire_time *out)
{
    enum wire_error e = check_kind(in, len, cls, payload_len, WIRE_FAMILY_CLOCK);
    if (e != WIRE_OK)
        return e;
    struct wire_time m = {
        .kind = in[0],
        .vm = in[1],
        .seq = get_le32(in + 2),
        .khz = get_le32(in + 6),
        .rate = (int32_t)get_le32(in + 10),
        .stamp = get_le64(in + 14),
    };
    if (m.khz == 0)
        return WIRE_E_RANGE;
    if (m.kind == WIRE_TIME_REP) {
        if (payload_len != WIRE_TIME_BYTES)
            return WIRE_E_LENGTH;
        if (get_le32(payload + 28) != 0)
            return WIRE_E_RESERVED;
        m.received = get_le64(payload);
        m.base_ref = get_le64(payload + 8);
        m.base_c = get_le64(payload + 16);
        m.generation = get_le32(payload + 24);
    }
    *out = m;
    return WIRE_OK;
}

size_t wire_span_pack(const struct wire_span *m, uint8_t out[WIRE_SPAN_MAX])
{
    unsigned n = bit64_count(m->points);
    PANDO_CHECK(is_kind(m->kind, WIRE_FAMILY_SPAN) && n >= 1 && n <= WIRE_SPAN_STAMPS);
    PANDO_CHECK(m->what < WIRE_SPAN_WHATS && (m->flags & ~WIRE_SPAN_FLAGS) == 0 && m->id != 0);
    out[0] = m->kind;
    out[1] = m->vm;
    out[2] = m->what;
    out[3] = m->flags;
    put_le16(out + 4, m->chan);
    put_le16(out + 6, m->points);
    put_le32(out + 8, m->error);
    put_le64(out + 12, m->id);
    put_le16(out + 20, 0);
    for (unsigned i = 0; i < n; i++)
        put_le64(out + WIRE_MSG_HEADER + 8 * i, m->stamp[i]);
    return WIRE_MSG_HEADER + 8 * n;
}

static enum wire_error check_span(const struct wire_span *m, unsigned n)
{
    if ((m->flags & ~WIRE_SPAN_FLAGS) != 0)
        return WIRE_E_RESERVED;
    if (m->what >= WIRE_SPAN_WHATS || m->id == 0 || n < 1 || n > WIRE_SPAN_STAMPS ||
        (m->chan >= WIRE_VCPUS_MAX && m->chan != WIRE_CHAN_VM))
        return WIRE_E_RANGE;
    return WIRE_OK;
}

enum wire_error wire_span_unpack(const uint8_t *in, size_t len, unsigned cls,
                                 const uint8_t *payload, size_t payload_len, struct wire_span *out)
{
    enum wire_error e = check_kind(in, len, cls, payload_len, WIRE_FAMILY_SPAN);
    if (e != WIRE_OK)
        return e;
    struct wire_span m = {
        .kind = in[0],
        .vm = in[1],
        .what = in[2],
        .flags = in[3],
        .chan = get_le16(in + 4),
        .points = get_le16(in + 6),
        .error = get_le32(in + 8),
        .id = get_le64(in + 12),
    };
    unsigned n = bit64_count(m.points);
    if (get_le16(in + 20) != 0)
        return WIRE_E_RESERVED;
    e = check_span(&m, n);
    if (e != WIRE_OK)
        return e;
    if (payload_len != 8 * (size_t)n)
        return WIRE_E_LENGTH;
    for (unsigned i = 0; i < n; i++) {
        m.stamp[i] = get_le64(payload + 8 * (size_t)i);
        if (i > 0 && (int64_t)(m.stamp[i] - m.stamp[i - 1]) < 0)
            return WIRE_E_RANGE;
    }
    *out = m;
    return WIRE_OK;
}

size_t wire_rrdp_pack(const struct wire_rrdp *h, uint8_t out[WIRE_RRDP_HEADER_MAX])
{
    size_t len = h->eack   ? WIRE_RRDP_HEADER_MAX
                 : h->part ? WIRE_RRDP_HEADER_PART
                           : WIRE_RRDP_HEADER;
    PANDO_CHECK(!(h->eack && h->part));
    PANDO_CHECK(h->cls < WIRE_CLASSES && h->data_len <= WIRE_RRDP_DATA_MAX + WIRE_MSG_HEADER);
    uint32_t flags = WIRE_VERSION | (h->syn ? RRDP_SYN : 0) | (h->ack_valid ? RRDP_ACK : 0) |
                     (h->eack ? RRDP_EACK : 0) | (h->rst ? RRDP_RST : 0) | (h->nul ? RRDP_NUL : 0);
    uint32_t shape = (uint32_t)len / 4 | (h->first ? RRDP_FIRST : 0) | (h->last ? RRDP_LAST : 0);
    uint32_t length = h->cls | (uint32_t)h->data_len << 2;
    /* In words, not bytes: who copies the header next need not wait for each of them. */
    put_le64(out, flags | shape << 8 | (uint32_t)h->src << 16 | (uint32_t)h->dst << 24 |
                      (uint64_t)length << 32 | (uint64_t)h->credit << 48 |
                      (uint64_t)h->cluster_tag << 56);
    put_le64(out + 8, h->seq | (uint64_t)h->ack << 32);
    put_le64(out + 16, h->tag); /* CRC 0 */
    if (h->eack)
        put_le64(out + WIRE_RRDP_HEADER, h->eack_bits);
    if (h->part) {
        put_le16(out + WIRE_RRDP_HEADER, h->part_at);
        put_le16(out + WIRE_RRDP_HEADER + 2, h->part_of);
    }
    return len;
}

/* Of header and what follows it in one piece; to be continued. */
static uint32_t head_crc(const uint8_t *frame, size_t len)
{
    uint8_t header[WIRE_RRDP_HEADER];
    memcpy(header, frame, 16);
    put_le64(header + 16, get_le32(frame + 16)); /* one call instead of three; the CRC is 0 */
    uint32_t crc = crc32c_update(crc32c_begin(), header, sizeof(header));
    if (len > WIRE_RRDP_HEADER)
        crc = crc32c_update(crc, frame + WIRE_RRDP_HEADER, len - WIRE_RRDP_HEADER);
    return crc;
}

static uint32_t frame_crc(const uint8_t *frame, size_t len, const void *ext, size_t ext_len)
{
    uint32_t crc = head_crc(frame, len);
    return crc32c_end(ext_len > 0 ? crc32c_update(crc, ext, ext_len) : crc);
}

void wire_rrdp_seal_parts(uint8_t *head, size_t head_len, const void *ext, size_t ext_len)
{
    PANDO_CHECK(head_len >= WIRE_RRDP_HEADER);
    put_le32(head + WIRE_RRDP_CRC_OFFSET, frame_crc(head, head_len, ext, ext_len));
}

void wire_rrdp_seal_copy(uint8_t *head, size_t head_len, void *to, const void *ext, size_t ext_len)
{
    PANDO_CHECK(head_len >= WIRE_RRDP_HEADER);
    uint32_t crc = head_crc(head, head_len);
    /* No store until the sum is there: while those of the copy wait for their lines, loads go on.
     */
    memcpy(to, ext, ext_len);
    crc = crc32c_update(crc, ext, ext_len);
    put_le32(head + WIRE_RRDP_CRC_OFFSET, crc32c_end(crc));
}

void wire_rrdp_seal(uint8_t *frame, size_t len)
{
    wire_rrdp_seal_parts(frame, len, NULL, 0);
}

static bool ping_fits(const struct wire_rrdp *h)
{
    bool by = h->ack_valid ? h->credit == WIRE_PING_BY_KERNEL || h->credit == WIRE_PING_BY_PROCESS
                           : h->credit == 0;
    return by && h->cls == 0 && h->data_len == 0 && !h->first && !h->last && !h->rst && !h->eack &&
           !h->part;
}

static bool group_fits(const struct wire_rrdp *h)
{
    return h->first && h->last && !h->syn && !h->ack_valid && !h->eack && !h->rst && !h->nul &&
           !h->part && h->cls == WIRE_CLASS_URGENT && h->credit == 0 && h->seq == 0 &&
           h->ack == 0 && h->src < WIRE_NODES_MAX;
}

static bool part_fits(const struct wire_rrdp *h)
{
    return !h->syn && h->data_len > 0 && h->data_len < h->part_of &&
           h->part_at + h->data_len <= h->part_of && h->part_of <= WIRE_RRDP_DATA_MAX;
}

static enum wire_error check_rrdp_ranges(const struct wire_rrdp *h)
{
    if (h->dst == WIRE_DST_GROUP)
        return group_fits(h) ? WIRE_OK : WIRE_E_RANGE;
    if (h->src >= WIRE_NODES_MAX || h->dst >= WIRE_NODES_MAX)
        return WIRE_E_RANGE;
    /* A frame carries data, opens, resets, beats or acknowledges: one that does nothing is not
     * ours. */
    if (h->data_len == 0 && !h->syn && !h->rst && !h->nul && !h->ack_valid)
        return WIRE_E_RANGE;
    if (wire_rrdp_is_ping(h))
        return ping_fits(h) ? WIRE_OK : WIRE_E_RANGE;
    if (h->syn && (h->rst || h->eack))
        return WIRE_E_RANGE;
    if ((h->rst || h->nul) && h->data_len != 0)
        return WIRE_E_RANGE;
    if ((h->first || h->last) && h->data_len == 0)
        return WIRE_E_RANGE;
    if (!h->ack_valid && (h->eack || (h->data_len != 0 && !h->syn)))
        return WIRE_E_RANGE;
    if (h->part && !part_fits(h))
        return WIRE_E_RANGE;
    return WIRE_OK;
}

void wire_rrdp_read_common(const uint8_t *frame, struct wire_rrdp *out)
{
    *out = (struct wire_rrdp){
        .syn = (frame[0] & RRDP_SYN) != 0,
        .ack_valid = (frame[0] & RRDP_ACK) != 0,
        .src = frame[2],
        .dst = frame[3],
        .cluster_tag = frame[7],
        .tag = get_le32(frame + 16),
    };
}

enum wire_error wire_rrdp_unpack_parts(const uint8_t *frame, size_t len, const void *ext,
                                       size_t ext_len, uint8_t cluster_tag, struct wire_rrdp *out,
                                       const uint8_t **data)
{
    if (len < WIRE_RRDP_HEADER)
        return WIRE_E_SHORT;
    bool eack = (frame[0] & RRDP_EACK) != 0;
    size_t header = (size_t)(frame[1] & RRDP_WORDS_MASK) * 4;
    uint16_t data_len = get_le16(frame + 4) >> 2;
    bool part = !eack && header == WIRE_RRDP_HEADER_PART;
    if ((!part && header != (eack ? WIRE_RRDP_HEADER_MAX : WIRE_RRDP_HEADER)) ||
        (ext_len == 0 ? header + data_len > len
                      : header > len || header + data_len != len + ext_len))
        return WIRE_E_LENGTH;
    if (frame[7] != cluster_tag)
        return WIRE_E_CLUSTER;
    size_t covered = ext_len == 0 ? header + data_len : len;
    if (get_le32(frame + WIRE_RRDP_CRC_OFFSET) != frame_crc(frame, covered, ext, ext_len))
        return WIRE_E_CRC;
    if ((frame[0] & RRDP_VERSION_MASK) != WIRE_VERSION)
        return WIRE_E_VERSION;
    if ((frame[0] & RRDP_AEAD) != 0 || (frame[1] & RRDP_RESERVED) != 0)
        return WIRE_E_RESERVED;
    /* Field by field, in its place: a copy of bytes just written one by one waits for them. */
    uint64_t word = get_le64(frame);
    out->syn = (word & RRDP_SYN) != 0;
    out->ack_valid = (word & RRDP_ACK) != 0;
    out->eack = eack;
    out->rst = (word & RRDP_RST) != 0;
    out->nul = (word & RRDP_NUL) != 0;
    out->first = (word >> 8 & RRDP_FIRST) != 0;
    out->last = (word >> 8 & RRDP_LAST) != 0;
    out->part = part;
    out->src = (uint8_t)(word >> 16);
    out->dst = (uint8_t)(word >> 24);
    out->cls = word >> 32 & 3;
    out->credit = (uint8_t)(word >> 48);
    out->cluster_tag = (uint8_t)(word >> 56);
    out->data_len = data_len;
    out->seq = get_le32(frame + 8);
    out->ack = get_le32(frame + 12);
    out->tag = get_le32(frame + 16);
    out->eack_bits = eack ? get_le64(frame + WIRE_RRDP_HEADER) : 0;
    out->part_at = part ? get_le16(frame + WIRE_RRDP_HEADER) : 0;
    out->part_of = part ? get_le16(frame + WIRE_RRDP_HEADER + 2) : 0;
    *data = frame + header;
    return check_rrdp_ranges(out);
}

enum wire_error wire_rrdp_unpack(const uint8_t *frame, size_t len, uint8_t cluster_tag,
                                 struct wire_rrdp *out, const uint8_t **data)
{
    return wire_rrdp_unpack_parts(frame, len, NULL, 0, cluster_tag, out, data);
}

/* ---- group frames -------------------------------------------------------------------------- */

size_t wire_group_pack(const struct wire_group *g, const uint8_t *msg, size_t msg_len,
                       uint8_t out[WIRE_GROUP_MAX])
{
    size_t at = 8;
    PANDO_CHECK(msg_len >= WIRE_MSG_HEADER && msg_len <= WIRE_GROUP_MSG_MAX && g->members != 0);
    put_le64(out, g->members);
    for (uint64_t left = g->members; left != 0; left &= left - 1, at += 8) {
        unsigned n = bit64_first(left);
        put_le32(out + at, g->seq[n]);
        put_le32(out + at + 4, g->tag[n]);
    }
    memcpy(out + at, msg, msg_len);
    return at + msg_len;
}

enum wire_error wire_group_open(struct wire_rrdp *h, uint8_t self, const uint8_t **data)
{
    if (h->data_len < 8)
        return WIRE_E_LENGTH;
    uint64_t members = get_le64(*data);
    size_t head = wire_group_head(members);
    if (members == 0 || h->data_len < head + WIRE_MSG_HEADER ||
        h->data_len > head + WIRE_GROUP_MSG_MAX)
        return WIRE_E_LENGTH;
    if (self >= WIRE_NODES_MAX || !(members & bit64(self)))
        return WIRE_E_RANGE;
    const uint8_t *entry = *data + wire_group_head(members & (bit64(self) - 1));
    h->dst = self;
    h->seq = get_le32(entry);
    h->tag = get_le32(entry + 4);
    h->data_len = (uint16_t)(h->data_len - head);
    *data += head;
    return WIRE_OK;
}
