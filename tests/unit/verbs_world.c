/* SPDX-License-Identifier: BSD-3-Clause */
#include "verbs_world.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct port *port[NODES];
struct got got[NODES];
uint8_t *guest[NODES];
uint8_t nodes;
uint64_t dead_ns;
bool ladder;
char err[PORT_ERROR_MAX];

/* ---- ports --------------------------------------------------------------------------------- */

uint16_t udp_port(void)
{
    return (uint16_t)(16384 + getpid() % 16384);
}

static struct link_config link_for(uint8_t self)
{
    struct link_config l = {
        .kind = LINK_UDP4, .udp_port = udp_port(), .self = self, .nodes = nodes};
    for (uint8_t n = 0; n < nodes && n < WIRE_NODES_MAX; n++)
        memcpy(l.ip[n], (const uint8_t[]){127, 0, 0, n + 1}, 4);
    return l;
}

int open_as(uint8_t n, const char *device)
{
    struct link_config l = link_for(n);
    struct port_verbs c = {.device = device,
                           .link = &l,
                           .cluster_id = 5,
                           .dead_ns = dead_ns,
                           .mtu = MTU,
                           .credit = 64,
                           .ladder = ladder};
    return verbs_open_with(&c, fake_api(), &port[n], err);
}

void open_node(uint8_t n)
{
    int rc = open_as(n, "");
    if (rc != 0)
        print_message("%s\n", err);
    assert_int_equal(rc, 0);
}

void close_all(void)
{
    for (uint8_t n = 0; n < NODES; n++)
        port[n] = port_close(port[n]);
    assert_int_equal(fake.objects, 0);
    assert_int_equal(fake.errors, 0);
}

void begin(uint8_t n)
{
    fake_begin();
    nodes = n;
    dead_ns = 800 * MS;
    ladder = true;
    memset(got, 0, sizeof(got));
}

/* ---- frames -------------------------------------------------------------------------------- */

uint8_t byte_of(uint64_t number, uint32_t i)
{
    return (uint8_t)(number * 31 + i * 7 + (i >> 8));
}

void fill(uint8_t *bytes, uint64_t number, uint32_t first, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = byte_of(number, first + i);
}

/* A frame of this class: its number from byte 8 on, if it is so long. */
void write_frame(uint8_t *out, uint64_t number, uint8_t cls, uint32_t len)
{
    fill(out, number, 0, len);
    if (len > 4)
        out[4] = cls;
    if (len >= 16)
        put_le64(out + 8, number);
}

bool send_frame(uint8_t from, uint8_t to, uint64_t number, uint8_t cls, uint32_t len)
{
    uint8_t *b = port[from]->ops->tx_reserve(port[from], to, NULL);
    if (b == NULL)
        return false;
    write_frame(b, number, cls, len);
    port[from]->ops->tx_commit(port[from], len);
    return true;
}

bool send_placed(uint8_t from, uint8_t to, uint64_t number, const uint8_t *page_bytes,
                 uint64_t page)
{
    uint8_t *b = port[from]->ops->tx_reserve(port[from], to, NULL);
    if (b == NULL)
        return false;
    write_frame(b, number, WIRE_CLASS_DATA, HEAD);
    port[from]->ops->tx_commit_placed(port[from], HEAD, page_bytes, page);
    return true;
}

static void check_bytes(const struct port_frame *f, uint64_t number)
{
    uint32_t own = f->len > HEAD && f->ext_len == 0 && f->len == HEAD + PAGE ? HEAD : f->len;
    for (uint32_t i = 0; i < own; i++)
        if (i != 4 && (i < 8 || i >= 16) && f->data[i] != byte_of(number, i)) {
            print_message("frame %llu of %u bytes: byte %u\n", (unsigned long long)number, f->len,
                          i);
            fail();
        }
}

void receive(uint8_t n)
{
    struct port_frame f[PORT_BURST];
    struct got *g = &got[n];
    if (port[n] == NULL)
        return;
    for (uint32_t k; (k = port_rx(port[n], f, PORT_BURST)) > 0;)
        for (uint32_t i = 0; i < k && g->n < KEPT; i++, g->n++) {
            uint64_t number = f[i].len >= 16 ? get_le64(f[i].data + 8) : 0;
            if (f[i].len >= 16)
                check_bytes(&f[i], number);
            g->number[g->n] = number;
            g->len[g->n] = f[i].len;
            g->ext[g->n] = f[i].ext;
            g->ext_len[g->n] = f[i].ext_len;
            g->src[g->n] = f[i].src;
        }
}

void round_of_all(void)
{
    for (uint8_t n = 0; n < NODES; n++) {
        if (port[n] == NULL)
            continue;
        (void)port_look(port[n]);
        port[n]->ops->flush(port[n]);
        receive(n);
    }
}

enum rdma_state state_of(uint8_t n, uint8_t peer)
{
    return verbs_of(port[n])->peer[peer].rdma.state;
}

bool all_up(void)
{
    for (uint8_t a = 0; a < nodes; a++)
        for (uint8_t b = 0; b < nodes; b++)
            if (a != b && (port[a] == NULL || state_of(a, b) != RDMA_UP))
                return false;
    return true;
}

void connect_all(uint8_t n)
{
    begin(n);
    for (uint8_t i = 0; i < n; i++)
        open_node(i);
    UNTIL(all_up());
}

struct port_verbs_counters counters_of(uint8_t n)
{
    struct port_verbs_counters c;
    assert_int_equal(port_verbs_counters(port[n], &c), 0);
    return c;
}

/* ---- guest memory -------------------------------------------------------------------------- */

uint8_t *page_at(uint8_t n, uint64_t page)
{
    uint64_t i = page >= SECOND_BLOCK ? PAGES + page - SECOND_BLOCK : page;
    return guest[n] + i * PAGE;
}

int add_block(uint8_t n, uint64_t first)
{
    return port_add_memory(port[n], first, PAGES, page_at(n, first), err);
}

void give_memory(uint8_t n)
{
    memset(guest[n], 0xCC, 2 * PAGES * PAGE);
    assert_int_equal(add_block(n, 0), 0);
    assert_int_equal(add_block(n, SECOND_BLOCK), 0);
}

bool is_open(uint8_t n, uint8_t peer)
{
    return state_of(n, peer) == RDMA_UP && verbs_of(port[n])->peer[peer].rdma.theirs.blocks == 2;
}

void connect_with_memory(void)
{
    connect_all(2);
    give_memory(0);
    give_memory(1);
    UNTIL(is_open(0, 1) && is_open(1, 0));
}

bool page_is(const uint8_t *bytes, uint64_t number)
{
    for (uint32_t i = 0; i < PAGE; i++)
        if (bytes[i] != byte_of(number, i))
            return false;
    return true;
}

int make_guests(void **state)
{
    (void)state;
    for (uint8_t n = 0; n < NODES; n++)
        if (posix_memalign((void **)&guest[n], PAGE, 2 * PAGES * PAGE) != 0)
            return -1;
    return 0;
}

int free_guests(void **state)
{
    (void)state;
    for (uint8_t n = 0; n < NODES; n++)
        free(guest[n]);
    return 0;
}

/* As if the process were killed: no last word; its queue pairs end with it. */
void kill_node(uint8_t n)
{
    struct verbs_port *v = verbs_of(port[n]);
    close(v->socket);
    v->socket = -1;
    port[n] = port_close(port[n]);
}
