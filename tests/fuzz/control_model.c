/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/control_model.h"

#include <string.h>

#include "dataplane/base/check.h"

enum { PACKETS_A_LOOK = 4 };

void model_connect(struct model *m, struct client *c, int fd, bool deaf)
{
    *c = (struct client){.place = PENDING, .fd = fd, .deaf = deaf, .finished = fd < 0};
    m->pending[m->pending_n++] = (int)(c - m->client);
}

static void answer(struct model *m, int to, uint8_t type)
{
    struct client *c = &m->client[to];
    if (c->fd < 0 || c->deaf)
        return;
    PANDO_CHECK(c->answers < ANSWERS);
    c->answer[c->answers++] = type;
}

static void refuse(struct model *m, int whom)
{
    m->drops++;
    answer(m, whom, GLUE_ERROR);
}

void model_stop(struct model *m, bool orderly)
{
    if (m->phase == ENGINE_LEAVING)
        return;
    m->phase = ENGINE_LEAVING;
    m->orderly = orderly;
    m->stops++;
    if (m->owner >= 0)
        answer(m, m->owner, GLUE_STOP);
}

static void disconnect(struct model *m)
{
    m->client[m->owner].place = ENDED;
    m->client[m->owner].unread = m->client[m->owner].n > 0;
    m->owner = -1;
    m->conn = CONN_NONE;
}

static void gone(struct model *m)
{
    bool had = m->conn != CONN_NEW;
    disconnect(m);
    if (had)
        model_stop(m, false);
}

void model_welcome(struct model *m)
{
    if (m->conn != CONN_HELLO || m->phase != ENGINE_RUNNING)
        return;
    m->conn = CONN_WELCOMED;
    answer(m, m->owner, GLUE_WELCOME);
}

static bool good_ram(const struct model *m, const struct packet *p)
{
    const struct glue_ctl *c = &p->ctl;
    uint64_t file = p->kind[0] == FD_MEMFD ? FILE_PAGES : p->kind[0] == FD_SMALL ? 1 : 0;
    return m->conn == CONN_WELCOMED && p->fds == FDS_TAKEN && p->kind[1] == FD_UFFD && m->uffd &&
           c->block == m->blocks && m->blocks < RAM_BLOCKS && c->base_page == m->pages &&
           c->pages > 0 && c->pages <= RAM_PAGES - m->pages && c->pages <= file &&
           c->hva % RAM_PAGE == 0 && c->hva <= UINT64_MAX - c->pages * RAM_PAGE;
}

/* False: refused, or the end. */
static bool read_packet(struct model *m, const struct packet *p, uint32_t *room)
{
    const struct glue_ctl *c = &p->ctl;
    bool whole = p->length == sizeof(*c) && p->fds <= *room && p->fds <= FDS_TAKEN;
    if (whole && c->type == GLUE_HELLO && m->conn == CONN_NEW && c->abi == GLUE_ABI_VERSION &&
        c->role == (m->takes_vmm ? GLUE_ROLE_VMM : GLUE_ROLE_VCPUD)) {
        m->conn = CONN_HELLO;
        model_welcome(m);
        return true;
    }
    if (whole && c->type == GLUE_BYE && m->conn != CONN_NEW) {
        model_stop(m, true);
        return false;
    }
    if (whole && c->type == GLUE_RAM && good_ram(m, p)) {
        m->blocks++;
        m->pages += c->pages;
        *room -= FDS_TAKEN;
        if (!m->watch_fails) {
            answer(m, m->owner, GLUE_OK);
            return true;
        }
        m->watch_fails = false;
    }
    refuse(m, m->owner);
    return false;
}

void model_serve(struct model *m, uint32_t room)
{
    for (int i = 0; i < PACKETS_A_LOOK && m->conn != CONN_NONE; i++) {
        struct client *c = &m->client[m->owner];
        if (c->n == 0) {
            if (c->finished)
                gone(m);
            return;
        }
        const struct packet *p = &c->queue[c->head];
        c->head = (c->head + 1) % QUEUE;
        c->n--;
        if (p->length == 0) /* reads as the end */
            gone(m);
        else if (read_packet(m, p, &room))
            continue;
        else if (m->phase == ENGINE_LEAVING || m->conn == CONN_NEW)
            disconnect(m);
        else
            gone(m);
        return;
    }
}

void model_accept(struct model *m, uint32_t room)
{
    if (m->pending_n == 0 || room == 0)
        return;
    int who = m->pending[0];
    m->pending_n--;
    memmove(m->pending, m->pending + 1, (size_t)m->pending_n * sizeof(m->pending[0]));
    if (m->conn == CONN_NEW) /* somebody who only looked is gone again */
        model_serve(m, room - 1);
    if (m->conn != CONN_NONE || m->blocks > 0 || m->phase == ENGINE_LEAVING) {
        refuse(m, who);
        m->client[who].place = ENDED;
        m->client[who].unread = m->client[who].n > 1; /* its HELLO resets nothing */
        return;
    }
    m->owner = who;
    m->conn = CONN_NEW;
    m->client[who].place = SERVED;
    if (m->watch_fails) {
        m->watch_fails = false;
        disconnect(m);
    }
}
