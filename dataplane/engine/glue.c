/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The glue's rings (glue_abi.h): what vCPUs and the VMM say to other nodes, and what other nodes
 * say to them.
 *
 * What the glue wrote is checked once, here; a broken rule of the ring itself ends the VM, a wrong
 * field drops the entry with a named reason. A message that the transport has no room for stays in
 * its ring, which slows that channel down and nobody else.
 */
#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/engine/engine.h"
#include "dataplane/engine/probes.h"
#include "hypervisor-glue/link/glue_cpu.h"
#include "hypervisor-glue/link/glue_ring.h"

/* [W] We published for the thread; after a full fence (the exchange is one) we look where it is.
 * The thread stores its state, fences, looks at what it consumes, and only then enters the guest or
 * sleeps: one of the two sees the other. The exchange makes it one kick for many messages, and a
 * futex call that comes late returns at once. */
void glue_wake(struct engine *e, uint32_t chan)
{
    struct glue_chan *c = &e->shared->chan[chan];
    uint32_t state = atomic_exchange(&c->state, GLUE_AWAKE);
    if (state == GLUE_SLEEPING || state == GLUE_IN_GUEST)
        e->make_way |= glue_cpu_shared(atomic_load_explicit(&c->cpu, memory_order_relaxed));
    if (state == GLUE_SLEEPING) {
        syscall(SYS_futex, &c->state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
        e->count.futex_wakes++;
    } else if (state == GLUE_IN_GUEST && e->glue_pid > 0) {
        uint32_t tid = atomic_load_explicit(&c->tid, memory_order_relaxed);
        /* tgkill itself refuses a thread that is not of this process. */
        if (tid != 0)
            syscall(SYS_tgkill, e->glue_pid, (pid_t)tid, SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET);
        e->count.kicks++;
    }
}

static bool reject(struct engine *e, enum engine_drop why)
{
    engine_drop(e, why);
    return false;
}

/* The rules of a glue message, whoever sent it. to_self: it is for this node. */
static bool valid(struct engine *e, const struct wire_glue *m, uint32_t len, bool to_self)
{
    const struct wire_kind_info *info = wire_kind_info(m->kind);
    if (info->name == NULL || info->family != WIRE_FAMILY_GLUE)
        return reject(e, ENGINE_DROP_GLUE_KIND);
    if (info->payload == WIRE_NONE && len != 0)
        return reject(e, ENGINE_DROP_GLUE_LENGTH);
    if (m->chan != WIRE_CHAN_VM && m->chan >= e->cfg->vm.vcpus)
        return reject(e, ENGINE_DROP_GLUE_CHAN);
    if (m->kind == WIRE_IRQ && (m->op < GLUE_IRQ_EDGE || m->op > GLUE_IRQ_EXTINT || m->arg > 255))
        return reject(e, ENGINE_DROP_GLUE_FIELD);
    if (m->kind == WIRE_APIC_ACK && to_self && m->seq >> 16 != WIRE_CHAN_VM &&
        m->seq >> 16 >= e->cfg->vm.vcpus)
        return reject(e, ENGINE_DROP_GLUE_FIELD);
    if (m->kind != WIRE_IRQ && m->kind != WIRE_KICK && m->kind != WIRE_APIC_SET)
        return true;
    if (m->chan == WIRE_CHAN_VM ||
        (m->kind != WIRE_APIC_SET && to_self && e->cfg->vm.vcpu_home[m->chan] != e->self))
        return reject(e, ENGINE_DROP_GLUE_CHAN);
    return true;
}

/* ---- to the glue --------------------------------------------------------------------------- */

static void post_irq(struct engine *e, const struct wire_glue *m)
{
    struct glue_posted *p = &e->shared->chan[m->chan].posted;
    uint64_t bit = UINT64_C(1) << (m->arg & 63);
    uint32_t word = (uint32_t)(m->arg >> 6);
    static const uint32_t event_of[] = {[GLUE_IRQ_NMI] = GLUE_POST_NMI,
                                        [GLUE_IRQ_INIT] = GLUE_POST_INIT,
                                        [GLUE_IRQ_SIPI] = GLUE_POST_SIPI,
                                        [GLUE_IRQ_EXTINT] = GLUE_POST_EXTINT};
    switch (m->op) {
    case GLUE_IRQ_EDGE:
        atomic_fetch_and_explicit(&p->level[word], ~bit, memory_order_relaxed);
        atomic_fetch_or_explicit(&p->irr[word], bit, memory_order_release);
        break;
    case GLUE_IRQ_LEVEL: /* the mode first: whoever takes the bit then sees its mode */
        atomic_fetch_or_explicit(&p->level[word], bit, memory_order_relaxed);
        atomic_fetch_or_explicit(&p->irr[word], bit, memory_order_release);
        break;
    default:
        if (m->op == GLUE_IRQ_SIPI)
            atomic_store_explicit(&p->sipi_vector, (uint32_t)m->arg, memory_order_relaxed);
        atomic_fetch_or_explicit(&p->events, event_of[m->op], memory_order_release);
        break;
    }
    atomic_fetch_add_explicit(&p->count, 1, memory_order_relaxed);
    e->count.irqs++;
    PROBE(irq_posted, e->self, m->chan, m->op, m->arg);
}

static void kick(struct engine *e, const struct wire_glue *m)
{
    struct glue_chan *c = &e->shared->chan[m->chan];
    if (m->arg > atomic_load_explicit(&c->kick_run, memory_order_relaxed))
        atomic_store_explicit(&c->kick_run, m->arg, memory_order_release);
    glue_wake(e, m->chan);
}

static void apic_set(struct engine *e, uint8_t src, const struct wire_glue *m)
{
    struct glue_apic *a = &e->shared->apic[m->chan];
    uint32_t lock = atomic_load_explicit(&a->lock, memory_order_relaxed);
    atomic_store_explicit(&a->lock, lock | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* readers see odd before new fields */
    a->op = m->op;
    a->arg = m->arg;
    atomic_store_explicit(&a->lock, (lock | 1) + 1, memory_order_release);
    struct wire_glue ack = {
        .kind = WIRE_APIC_ACK, .chan = m->chan, .op = m->op, .seq = m->seq, .arg = m->arg};
    if (src == e->self)
        glue_deliver(e, e->self, &ack, NULL, 0);
    else if (transmit_glue(e, src, &ack, NULL, 0) == -EAGAIN)
        engine_stop(e, false, "node %u: no room to acknowledge an APIC address of node %u (%s)",
                    e->self, src, node_name(e, src));
}

void glue_deliver(struct engine *e, uint8_t src, const struct wire_glue *m, const uint8_t *payload,
                  uint32_t len)
{
    if (!valid(e, m, len, true))
        return;
    span_delivering(e, src, m);
    if (m->kind == WIRE_IRQ) {
        post_irq(e, m);
        span_delivered(e, src, m);
        glue_wake(e, m->chan);
        return;
    }
    if (m->kind == WIRE_KICK) {
        kick(e, m);
        return;
    }
    if (m->kind == WIRE_APIC_SET) {
        apic_set(e, src, m);
        return;
    }
    /* An APIC_ACK goes to the channel that announced; the others carry theirs. */
    uint32_t to = m->kind == WIRE_APIC_ACK ? m->seq >> 16 : m->chan;
    uint32_t chan = to == WIRE_CHAN_VM ? e->cfg->vm.vcpus : to;
    struct glue_entry entry = {
        .kind = m->kind, .node = src, .chan = m->chan, .op = m->op, .seq = m->seq, .arg = m->arg};
    if (glue_ring_put(&e->shared->chan[chan].to_glue, &entry, payload, len) != 0) {
        engine_stop(
            e, false,
            "node %u: the VM's process does not take messages: channel %u is full (%s of node %u)",
            e->self, chan, wire_kind_info(m->kind)->name, src);
        return;
    }
    if (PROBE_WANTED(io_done) && m->kind == WIRE_IO_DONE)
        PROBE(io_done, e->self, m->chan, m->arg, src, len);
    e->count.to_glue++;
    span_delivered(e, src, m);
    glue_wake(e, chan);
}

/* ---- from the glue ------------------------------------------------------------------------- */

/* True if the entry is done with (sent or dropped). */
static bool take(struct engine *e, const struct glue_entry *entry, const uint8_t *payload)
{
    struct wire_glue m = {.kind = entry->kind,
                          .chan = entry->chan,
                          .op = entry->op,
                          .seq = entry->seq,
                          .arg = entry->arg};
    if (entry->node >= e->nodes) {
        engine_drop(e, ENGINE_DROP_GLUE_NODE);
        return true;
    }
    if (entry->node == e->self) {
        glue_deliver(e, e->self, &m, payload, entry->len);
        return true;
    }
    if (!valid(e, &m, entry->len, false))
        return true;
    span_entry(e, entry);
    int rc = transmit_glue(e, entry->node, &m, payload, entry->len);
    if (rc == -EAGAIN)
        return false;
    if (rc != 0)
        engine_drop(e, ENGINE_DROP_GLUE_PEER);
    else if (PROBE_WANTED(io_exit) && m.kind == WIRE_IO_EXIT)
        PROBE(io_exit, e->self, m.chan, m.arg, entry->node, entry->len);
    e->count.from_glue++;
    return true;
}

static bool poll_chan(struct engine *e, uint32_t chan)
{
    struct glue_ring *r = &e->shared->chan[chan].to_dp;
    struct glue_entry entry;
    const uint8_t *payload;
    bool useful = false;
    for (uint32_t i = 0; i < e->cfg->poll.glue_entries; i++) {
        int rc = glue_ring_peek(r, &entry, &payload);
        if (rc == 0)
            break;
        if (rc < 0) {
            engine_stop(e, false, "node %u: the VM's process broke the ring of channel %u", e->self,
                        chan);
            break;
        }
        if (!take(e, &entry, payload))
            break;
        glue_ring_pop(r, entry.len);
        useful = true;
    }
    return useful;
}

bool glue_poll(struct engine *e)
{
    uint32_t n = e->cfg->vm.vcpus + 1;
    bool useful = false;
    if (e->conn != CONN_WELCOMED)
        return false;
    span_poll(e);
    for (uint32_t i = 0; i < n && e->phase == ENGINE_RUNNING; i++) {
        uint32_t chan = (e->next_chan + i) % n;
        if (!glue_ring_empty(&e->shared->chan[chan].to_dp))
            useful |= poll_chan(e, chan);
    }
    e->next_chan = (e->next_chan + 1) % n; /* who comes first takes turns */
    return useful;
}

bool glue_pending(struct engine *e)
{
    for (uint32_t i = 0; i <= e->cfg->vm.vcpus; i++)
        if (!glue_ring_empty(&e->shared->chan[i].to_dp))
            return true;
    return atomic_load_explicit(&e->shared->agent.done, memory_order_acquire) != e->zap.ring_tail;
}
