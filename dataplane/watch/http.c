/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small HTTP/1.1 server for one thing, GET /metrics. One thread; CONNECTIONS at a time, each with
 * a request of REQUEST_MAX bytes at most and CONNECTION_MS for all of it, and closed after its
 * answer; more wait in the kernel's queue. Dataplanes are asked when a request is there: one that
 * is silent makes others wait for as long as ASK_PATIENT says.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/watch/watch.h"

enum {
    CONNECTIONS = 16,
    REQUEST_MAX = 4096,
    CONNECTION_MS = 5000,
    BACKLOG = 16,
    POLL_MS = 1000,
    REST_MS = 100
};

struct connection {
    int fd; /* -1: free */
    uint64_t end_ms;
    char request[REQUEST_MAX + 1];
    size_t got;
    char *answer; /* NULL: the request is not complete */
    size_t size, sent;
};

struct server {
    int fd;
    uint64_t rest_ms; /* until then no connection is taken */
    struct nodes *all;
    struct connection c[CONNECTIONS];
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    ended = number;
}

/* ---- listening
 * ------------------------------------------------------------------------------------ */

/* "[ADDRESS:]PORT" in parts; an IPv6 address stands in brackets. */
static bool split(const char *where, char address[64], char port[8])
{
    const char *colon = strrchr(where, ':'), *from = where, *to = colon;
    if (colon == NULL) {
        strcpy(address, "127.0.0.1");
        colon = where - 1;
    } else {
        if (where[0] == '[') {
            from++;
            to--;
            if (to < from || *to != ']')
                return false;
        } else if (memchr(where, ':', (size_t)(colon - where)) != NULL) {
            return false;
        }
        if (to - from < 1 || to - from > 63)
            return false;
        memcpy(address, from, (size_t)(to - from));
        address[to - from] = '\0';
    }
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || atoi(colon + 1) > 65535)
        return false;
    strcpy(port, colon + 1);
    return true;
}

static int refused(const char *title, const char *where, const char *why)
{
    fprintf(stderr, "%s: --listen '", title);
    out_word(stderr, where);
    fprintf(stderr, "': %s\n", why);
    return -1;
}

static int open_socket(const char *title, const char *where)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM},
                    *found;
    char address[64], port[8];
    int one = 1;
    if (!split(where, address, port) || getaddrinfo(address, port, &hints, &found) != 0)
        return refused(title, where,
                       "allowed: PORT, ADDRESS:PORT or [IPV6]:PORT, with numbers only, port "
                       "0..65535 (0: a free one)");
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
                bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    int error = errno;
    freeaddrinfo(found);
    if (good)
        return fd;
    if (fd >= 0)
        close(fd);
    return refused(title, where, strerror(error));
}

/* The port may have been left to the kernel. */
static void say_where(const char *title, int fd)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    char address[64], port[8];
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0 ||
        getnameinfo((struct sockaddr *)&at, len, address, sizeof(address), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    bool v6 = at.ss_family == AF_INET6;
    fprintf(stderr, "%s: http://%s%s%s:%s/metrics\n", title, v6 ? "[" : "", address, v6 ? "]" : "",
            port);
}

/* ---- answers
 * -------------------------------------------------------------------------------------- */

static void reply(struct connection *c, const char *status, const char *more, const char *body,
                  size_t size, bool with_body)
{
    FILE *to = open_memstream(&c->answer, &c->size);
    if (to == NULL)
        return;
    fprintf(to,
            "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n"
            "X-Content-Type-Options: nosniff\r\n\r\n",
            status, more, size);
    if (with_body)
        fwrite(body, 1, size, to);
    if (fclose(to) != 0) {
        free(c->answer);
        c->answer = NULL;
    }
}

static void reply_text(struct connection *c, const char *status, const char *more)
{
    char head[96], body[64];
    int n = snprintf(body, sizeof(body), "%s\n", status);
    snprintf(head, sizeof(head), "Content-Type: text/plain; charset=utf-8\r\n%s", more);
    reply(c, status, head, body, (size_t)n, true);
}

static void reply_metrics(struct connection *c, struct nodes *all, bool with_body)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (to == NULL)
        return;
    nodes_look(all);
    metrics_print(to, all, (double)time(NULL));
    if (fclose(to) == 0)
        reply(c, "200 OK", "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n", text, size,
              with_body);
    free(text);
}

/* The request line is all that is looked at: METHOD TARGET HTTP/1.x */
static void answer(struct connection *c, struct nodes *all)
{
    char *line = c->request, *save = NULL;
    size_t len = strcspn(line, "\r\n");
    if (memchr(c->request, '\0', c->got) != NULL) {
        reply_text(c, "400 Bad Request", "");
        return;
    }
    line[len] = '\0';
    const char *method = strtok_r(line, " ", &save), *target = strtok_r(NULL, " ", &save),
               *version = strtok_r(NULL, " ", &save);
    if (method == NULL || target == NULL || version == NULL || strtok_r(NULL, " ", &save) != NULL ||
        strncmp(version, "HTTP/", 5) != 0)
        reply_text(c, "400 Bad Request", "");
    else if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        reply_text(c, "505 HTTP Version Not Supported", "");
    else if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        reply_text(c, "405 Method Not Allowed", "Allow: GET, HEAD\r\n");
    else if (strcmp(target, "/metrics") != 0 && strncmp(target, "/metrics?", 9) != 0)
        reply_text(c, "404 Not Found", "");
    else
        reply_metrics(c, all, method[0] == 'G');
}

/* ---- connections
 * ------------------------------------------------------------------------------------ */

static void drop(struct connection *c)
{
    close(c->fd);
    free(c->answer);
    *c = (struct connection){.fd = -1};
}

static void take(struct server *s)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &s->c[i];
        if (c->fd >= 0)
            continue;
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                s->rest_ms = now_ms() + REST_MS; /* it stays ready: poll would not wait */
            return;
        }
        c->fd = fd;
        c->end_ms = now_ms() + CONNECTION_MS;
    }
}

/* The end of a request's head: an empty line. Bodies are not read: nothing that has one is served.
 */
static bool is_complete(const struct connection *c)
{
    return memmem(c->request, c->got, "\r\n\r\n", 4) != NULL ||
           memmem(c->request, c->got, "\n\n", 2) != NULL;
}

static void read_more(struct server *s, struct connection *c)
{
    ssize_t n = recv(c->fd, c->request + c->got, REQUEST_MAX - c->got, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            drop(c);
        return;
    }
    c->got += (size_t)n;
    c->request[c->got] = '\0';
    if (is_complete(c))
        answer(c, s->all);
    else if (c->got == REQUEST_MAX)
        reply_text(c, "431 Request Header Fields Too Large", "");
    else
        return;
    c->end_ms = now_ms() + CONNECTION_MS; /* for the answer */
    if (c->answer == NULL)                /* no memory */
        drop(c);
}

/* What the client still sends is read and thrown away, or closing would take the answer back. */
static void finish(struct connection *c)
{
    char rest[1024];
    shutdown(c->fd, SHUT_WR);
    for (int i = 0; i < 16 && recv(c->fd, rest, sizeof(rest), 0) > 0; i++)
        ;
    drop(c);
}

static void write_more(struct connection *c)
{
    ssize_t n = send(c->fd, c->answer + c->sent, c->size - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        drop(c);
    else if (n > 0 && (c->sent += (size_t)n) == c->size)
        finish(c);
}

static void serve(struct server *s, struct connection *c, short ready)
{
    if (c->fd < 0)
        return;
    if (now_ms() >= c->end_ms) {
        if (c->answer == NULL && c->got > 0) {
            reply_text(c, "408 Request Timeout", "");
            if (c->answer != NULL)
                write_more(c);
        }
        if (c->fd >= 0)
            drop(c);
        return;
    }
    if (c->answer == NULL && (ready & (POLLIN | POLLHUP | POLLERR)) != 0)
        read_more(s, c);
    if (c->fd >= 0 && c->answer != NULL)
        write_more(c);
}

static void wait_and_serve(struct server *s)
{
    struct pollfd fds[CONNECTIONS + 1];
    bool full = true;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        fds[i] =
            (struct pollfd){.fd = s->c[i].fd, .events = s->c[i].answer != NULL ? POLLOUT : POLLIN};
        full &= s->c[i].fd >= 0;
    }
    fds[CONNECTIONS] =
        (struct pollfd){.fd = full || now_ms() < s->rest_ms ? -1 : s->fd, .events = POLLIN};
    if (poll(fds, CONNECTIONS + 1, POLL_MS) < 0)
        return; /* a signal */
    for (size_t i = 0; i < CONNECTIONS; i++)
        serve(s, &s->c[i], fds[i].revents);
    if (fds[CONNECTIONS].revents != 0)
        take(s);
}

int http_serve(const char *title, const char *where, struct nodes *all)
{
    static struct server s;
    struct sigaction end = {.sa_handler = on_signal};
    s.fd = open_socket(title, where);
    s.all = all;
    if (s.fd < 0)
        return EXIT_USAGE;
    all->title = NULL; /* pando_up says it, again and again */
    for (size_t i = 0; i < CONNECTIONS; i++)
        s.c[i].fd = -1;
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    say_where(title, s.fd);
    while (ended == 0)
        wait_and_serve(&s);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (s.c[i].fd >= 0)
            drop(&s.c[i]);
    close(s.fd);
    nodes_release(all);
    return 0;
}
