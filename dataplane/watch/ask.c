/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/watch/ask.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PACKET_MAX = 64 * 1024, PAGES_MAX = 256, OFFLOAD_FORMAT = 1, ALL_FORMAT = 1 };

struct asking {
    int fd;
    const char *path;
    struct ask_limits limits;
    uint64_t end_ms; /* of all that is asked: pages that trickle in must end as well */
    char *err;
};

static int fail(const struct asking *a, int rc, const char *what)
{
    snprintf(a->err, ASK_ERROR_MAX, "%s", what);
    return rc;
}

uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int slow(const struct asking *a)
{
    if (now_ms() >= a->end_ms)
        snprintf(a->err, ASK_ERROR_MAX, "not all of the answer within %g seconds",
                 a->limits.all_ms / 1e3);
    else
        snprintf(a->err, ASK_ERROR_MAX,
                 "no answer within %g seconds: the dataplane is stopped, or has too many clients "
                 "(10)",
                 a->limits.silence_ms / 1e3);
    return now_ms() >= a->end_ms ? -ETIMEDOUT : -EAGAIN;
}

/* Comes before each call that may wait. */
static int set_wait(const struct asking *a)
{
    uint64_t now = now_ms();
    if (now >= a->end_ms)
        return slow(a);
    uint64_t left = a->end_ms - now, most = a->limits.silence_ms, ms = left < most ? left : most;
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

static int start(struct asking *a, const char *path, struct ask_limits limits, char *err)
{
    static char greeting[PACKET_MAX];
    *a = (struct asking){.path = path, .limits = limits, .err = err};
    a->end_ms = now_ms() + limits.all_ms;
    a->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (a->fd < 0)
        return fail(a, -errno, strerror(errno));
    int rc = connect_to(a);
    if (rc == 0)
        rc = receive(a, greeting);
    if (rc != 0)
        close(a->fd);
    return rc;
}

static int unknown(const struct asking *a, const char *command)
{
    snprintf(a->err, ASK_ERROR_MAX,
             "it does not know %s: the program there is no dataplane of this version", command);
    return -ENOTSUP;
}

static int other_format(const struct asking *a)
{
    return fail(a, -EPROTO, "it answers in another format: versions differ");
}

/* A command whose answer is a string. params: "", or with a comma in front. ret_holder keeps the
 * string alive. */
static int ask_string(const struct asking *a, const char *command, const char *params,
                      json_t **ret_holder, const char **ret_text)
{
    static char packet[PACKET_MAX];
    char text[96];
    int len = snprintf(text, sizeof(text), "%s%s", command, params), rc = set_wait(a);
    if (rc != 0)
        return rc;
    if (send(a->fd, text, (size_t)len, MSG_NOSIGNAL) != len)
        return errno == EAGAIN ? slow(a) : fail(a, -errno, strerror(errno));
    rc = receive(a, packet);
    if (rc != 0)
        return rc;
    json_t *outer = json_loads(packet, 0, NULL);
    const char *s = json_string_value(json_object_get(outer, command));
    if (s == NULL) {
        json_decref(outer);
        return unknown(a, command);
    }
    *ret_holder = outer;
    *ret_text = s;
    return 0;
}

/* ---- /pando/all: a text in pages ------------------------------------------------------------- */

struct page {
    uint64_t id, size, from;
    const char *text;
    size_t len;
};

/* "1 ID SIZE FROM TEXT", or "ended" (engine/telemetry.c). */
static int parse_page(const struct asking *a, const char *s, struct page *ret)
{
    struct page p;
    unsigned format;
    int head = 0;
    if (strcmp(s, "ended") == 0)
        return fail(a, -ECONNRESET, "the dataplane has ended");
    if (sscanf(s, "%u %" SCNu64 " %" SCNu64 " %" SCNu64 "%n", &format, &p.id, &p.size, &p.from,
               &head) < 4 ||
        s[head] != ' ' || format != ALL_FORMAT)
        return other_format(a);
    p.text = s + head + 1;
    p.len = strlen(p.text);
    if (p.size == 0 || p.size > ASK_TEXT_MAX || p.from > p.size || p.len > p.size - p.from ||
        p.len == 0)
        return fail(a, -EPROTO, "its answer is not as long as it says");
    *ret = p;
    return 0;
}

/* The page that begins at `at`, into text, which has room for *size bytes; the first one makes it.
 */
static int take_page(const struct asking *a, uint64_t *id, size_t at, char **text, size_t *size)
{
    char params[64] = "";
    json_t *holder;
    const char *s;
    struct page p;
    if (at > 0)
        snprintf(params, sizeof(params), ",%" PRIu64 ",%zu", *id, at);
    int rc = ask_string(a, "/pando/all", params, &holder, &s);
    if (rc != 0)
        return rc;
    rc = parse_page(a, s, &p);
    if (rc == 0 && at == 0) {
        *id = p.id;
        *size = p.size;
        *text = malloc(p.size + 1);
    }
    if (rc == 0 && *text == NULL)
        rc = fail(a, -ENOMEM, "no memory");
    if (rc == 0 && (p.id != *id || p.size != *size || p.from != at))
        rc = fail(a, -EPROTO, "it answers something else than was asked");
    if (rc == 0) {
        memcpy(*text + at, p.text, p.len);
        (*text)[at + p.len] = '\0';
    }
    json_decref(holder);
    return rc;
}

int ask_all(const char *socket_path, struct ask_limits limits, json_t **ret_answer,
            char err[ASK_ERROR_MAX])
{
    struct asking a;
    char *text = NULL;
    uint64_t id = 0;
    size_t at = 0, size = 1;
    int rc = start(&a, socket_path, limits, err);
    if (rc != 0)
        return rc;
    while (rc == 0 && at < size) { /* each page has a byte or more */
        rc = take_page(&a, &id, at, &text, &size);
        if (rc == 0)
            at += strlen(text + at);
    }
    close(a.fd);
    json_t *all = rc == 0 ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    free(text);
    if (rc == 0 && !json_is_object(all)) {
        json_decref(all);
        return fail(&a, -EPROTO, "its answer is no JSON object");
    }
    if (rc == 0)
        *ret_answer = all;
    return rc;
}

/* ---- /pando/offload: an object whose lists come in pages ---------------------------------------
 */

/* One page: from element `from` on. */
static int offload_page(const struct asking *a, json_int_t from, json_t **ret_page)
{
    char params[32];
    json_t *holder;
    const char *text;
    snprintf(params, sizeof(params), ",%lld", (long long)from);
    int rc = ask_string(a, "/pando/offload", params, &holder, &text);
    if (rc != 0)
        return rc;
    json_t *page = json_loads(text, 0, NULL);
    json_decref(holder);
    if (!json_is_object(page)) {
        json_decref(page);
        return unknown(a, "/pando/offload");
    }
    if (json_integer_value(json_object_get(page, "v")) != OFFLOAD_FORMAT) {
        json_decref(page);
        return other_format(a);
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
static int offload_pages(const struct asking *a, json_t **ret_answer)
{
    json_t *all, *page;
    int rc = offload_page(a, 0, &all);
    if (rc != 0)
        return rc;
    json_int_t at = 0, next = json_integer_value(json_object_get(all, "next"));
    for (unsigned n = 0; next > at && n < PAGES_MAX; n++) {
        at = next;
        rc = offload_page(a, at, &page);
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

int ask_offload(const char *socket_path, struct ask_limits limits, json_t **ret_answer,
                char err[ASK_ERROR_MAX])
{
    struct asking a;
    int rc = start(&a, socket_path, limits, err);
    if (rc != 0)
        return rc;
    rc = offload_pages(&a, ret_answer);
    close(a.fd);
    return rc;
}
