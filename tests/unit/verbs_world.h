/* SPDX-License-Identifier: BSD-3-Clause */
/* Nodes with verbs ports over a device in memory (fake_verbs.h), for tests; their hellos go over
 * real sockets, at 127.0.0.1 and up. Where something is not as it must be, the test fails. */
#ifndef PANDO_TESTS_VERBS_WORLD_H
#define PANDO_TESTS_VERBS_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/verbs.h"
#include "dataplane/port/verbs_port.h"
#include "fake_verbs.h"

enum {
    NODES = 3,
    MTU = 9000,
    PAGE = WIRE_PAGE_SIZE,
    PAGES = 16, /* a block; there are two, with a gap between them */
    SECOND_BLOCK = 100,
    HEAD = 46, /* bytes of a frame in front of its page */
    KEPT = 4096,
};
#define MS UINT64_C(1000000)

/* For the hellos: of this process, since several of them run at a time. */
uint16_t udp_port(void);

/* What arrived at a node. */
struct got {
    uint32_t n;
    uint64_t number[KEPT];
    uint32_t len[KEPT], ext_len[KEPT];
    const uint8_t *ext[KEPT];
    struct rrdp_mac src[KEPT];
};

extern struct port *port[NODES];
extern struct got got[NODES];
extern uint8_t *guest[NODES]; /* both blocks */
extern char err[PORT_ERROR_MAX];
/* As begin() sets them, and a test may change before it opens. */
extern uint8_t nodes;
extern uint64_t dead_ns;
extern bool ladder;

void begin(uint8_t n);
int open_as(uint8_t n, const char *device); /* what the opener says; err */
void open_node(uint8_t n);
void kill_node(uint8_t n); /* without a last word */
void close_all(void);      /* nothing is left of the device, and no rule was broken */
void connect_all(uint8_t n);
void round_of_all(void); /* each node looks, flushes, receives */
enum rdma_state state_of(uint8_t n, uint8_t peer);
bool all_up(void);
struct port_verbs_counters counters_of(uint8_t n);

/* Frames: byte i of number x is byte_of(x, i), but for the class at 4 and, if it is so long, the
 * number from 8 on. False: no room. receive() looks at all bytes. */
uint8_t byte_of(uint64_t number, uint32_t i);
void fill(uint8_t *bytes, uint64_t number, uint32_t first, uint32_t len);
void write_frame(uint8_t *out, uint64_t number, uint8_t cls, uint32_t len);
bool send_frame(uint8_t from, uint8_t to, uint64_t number, uint8_t cls, uint32_t len);
bool send_placed(uint8_t from, uint8_t to, uint64_t number, const uint8_t *page_bytes,
                 uint64_t page);
void receive(uint8_t n);

/* Guest memory: fixtures, then what a node opens. */
int make_guests(void **state);
int free_guests(void **state);
uint8_t *page_at(uint8_t n, uint64_t page);
int add_block(uint8_t n, uint64_t first);
void give_memory(uint8_t n);
bool is_open(uint8_t n, uint8_t peer); /* the peer's, to n */
void connect_with_memory(void);        /* nodes 0 and 1 */
bool page_is(const uint8_t *bytes, uint64_t number);

/* Until the condition holds; a test that waits for long fails. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t end_ = verbs_now() + 5000 * MS;                                                   \
        for (round_of_all(); !(condition); round_of_all()) {                                       \
            if (verbs_now() > end_)                                                                \
                print_message("waited in vain for: %s\n", #condition);                             \
            assert_true(verbs_now() <= end_);                                                      \
            usleep(200);                                                                           \
        }                                                                                          \
    } while (0)

#endif
