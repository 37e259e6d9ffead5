/* SPDX-License-Identifier: BSD-3-Clause */
/* DPDK's telemetry socket: a packet with who it is, then for each command a packet with the answer,
 * {"COMMAND": value}. The value of /pando/offload is a string, and JSON in itself. What comes from
 * there is another process's: each part of it may be missing or wrong. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "offload/show/show.h"

enum { PACKET_MAX = 64 * 1024, SILENCE_MS = 2000, ALL_MS = 5000, PAGES_MAX = 256, FORMAT = 1 };

struct asking {
    int fd;
    const char *path;
    uint64_t end_ms; /* of all that is asked: pages that trickle in must end as well */
    char *err;
};

static int fail(const struct asking *a, int rc, const char *what)
{
    snprintf(a->err, SHOW_ERROR_MAX, "%s", what);
    return rc;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int slow(const struct asking *a)
{
    if (now_ms() >= a->end_ms)
        return fail(a, -ETIMEDOUT, "not all of the answer within 5 seconds");
    return fail(a, -EAGAIN,
                "no answer within 2 seconds: the dataplane is stopped, or has too many clients "
                "(10)");
}

/* Comes before each call that may wait. */
static int set_wait(const struct asking *a)
{
    uint64_t now = now_ms();
    if (now >= a->end_ms)
        return slow(a);
    uint64_t ms = a->end_ms - now < SILENCE_MS ? a->end_ms - now : SILENCE_MS;
    struct timeval wait = {.tv_sec = (time_t)(ms / 1000),
                           .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    setsockopt(a->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(a->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    return 0;
}

static int connect_to(const struct asking *a)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(a->path) >= sizeof(to.sun_path))
        return fail(a, -ENAMETOOLONG, "longer than a socket's name can be");
    strcpy(to.sun_path, a->path);
    int rc = set_wait(a);
    if (rc != 0)
        return rc;
    if (connect(a->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return 0;
    rc = -errno;
    switch (-rc) {
    case ECONNREFUSED:
        return fail(a, rc,
                    "nobody answers there: its dataplane was killed. The next one removes it");
    case ENOENT:
        return fail(a, rc, "there is none: the dataplane of this node does not run");
    case EACCES:
        return fail(a, rc, "it is another user's: run this as that user, or as root");
    case EAGAIN:
        return slow(a);
    default:
        return fail(a, rc, strerror(-rc));
    }
}

static int receive(const struct asking *a, char packet[PACKET_MAX])
{
    int rc = set_wait(a);
    if (rc != 0)
        return rc;
    ssize_t n = recv(a->fd, packet, PACKET_MAX - 1, 0);
    if (n > 0) {
        packet[n] = '\0';
        return 0;
    }
    if (n == 0)
        return fail(a, -ECONNRESET, "the dataplane has ended");
    rc = -errno;
    return rc == -EAGAIN ? slow(a) : fail(a, rc, strerror(-rc));
}

static int command(const struct asking *a, json_int_t from)
{
    char text[64];
    int rc = set_wait(a),
        len = snprintf(text, sizeof(text), "/pando/offload,%lld", (long long)from);
    if (rc != 0 || send(a->fd, text, (size_t)len, MSG_NOSIGNAL) == len)
        return rc;
    rc = -errno;
    return rc == -EAGAIN ? slow(a) : fail(a, rc, strerror(-rc));
}

/* One page: from element `from` on. */
static int ask_page(const struct asking *a, json_int_t from, json_t **ret_page)
{
    static char packet[PACKET_MAX];
    int rc = command(a, from);
    if (rc == 0)
        rc = receive(a, packet);
    if (rc != 0)
        return rc;
    json_t *outer = json_loads(packet, 0, NULL);
    const char *text = json_string_value(json_object_get(outer, "/pando/offload"));
    json_t *page = text != NULL ? json_loads(text, 0, NULL) : NULL;
    json_decref(outer);
    if (!json_is_object(page)) {
        json_decref(page);
        return fail(a, -ENOTSUP,
                    "it does not know /pando/offload: the program there is no dataplane of this "
                    "version");
    }
    if (json_integer_value(json_object_get(page, "v")) != FORMAT) {
        json_decref(page);
        return fail(a, -EPROTO, "it answers in another format: versions differ");
    }
    *ret_page = page;
    return 0;
}

static void extend(json_t *all, json_t *page, const char *list)
{
    json_t *to = json_object_get(all, list), *from = json_object_get(page, list);
    if (json_is_array(to) && json_is_array(from))
        json_array_extend(to, from);
}

/* "next" grows from page to page, or it would never end. */
static int ask_all(const struct asking *a, json_t **ret_answer)
{
    json_t *all, *page;
    int rc = ask_page(a, 0, &all);
    if (rc != 0)
        return rc;
    json_int_t at = 0, next = json_integer_value(json_object_get(all, "next"));
    for (unsigned n = 0; next > at && n < PAGES_MAX; n++) {
        at = next;
        rc = ask_page(a, at, &page);
        if (rc != 0) {
            json_decref(all);
            return rc;
        }
        extend(all, page, "intents");
        extend(all, page, "rules");
        next = json_integer_value(json_object_get(page, "next"));
        json_decref(page);
    }
    json_object_del(all, "next");
    *ret_answer = all;
    return 0;
}

int ask_offload(const char *socket_path, json_t **ret_answer, char err[SHOW_ERROR_MAX])
{
    static char greeting[PACKET_MAX];
    struct asking a = {.path = socket_path, .end_ms = now_ms() + ALL_MS, .err = err};
    a.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (a.fd < 0)
        return fail(&a, -errno, strerror(errno));
    int rc = connect_to(&a);
    if (rc == 0)
        rc = receive(&a, greeting);
    if (rc == 0)
        rc = ask_all(&a, ret_answer);
    close(a.fd);
    return rc;
}
