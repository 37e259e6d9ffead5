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
#include <unistd.h>

#include "offload/show/show.h"

enum { PACKET_MAX = 64 * 1024, WAIT_SECONDS = 2, PAGES_MAX = 256, FORMAT = 1 };

static int fail(char err[SHOW_ERROR_MAX], int rc, const char *path, const char *what)
{
    snprintf(err, SHOW_ERROR_MAX, "%s: %s", path, what);
    return rc;
}

static int open_socket(const char *path, char err[SHOW_ERROR_MAX])
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = WAIT_SECONDS};
    if (strlen(path) >= sizeof(a.sun_path))
        return fail(err, -ENAMETOOLONG, path, "longer than a socket's name can be");
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(err, -errno, path, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    if (rc == -ECONNREFUSED)
        return fail(err, rc, path,
                    "nobody answers there: its dataplane was killed. The next one removes it");
    if (rc == -ENOENT)
        return fail(err, rc, path, "there is none: the dataplane of this node does not run");
    if (rc == -EACCES)
        return fail(err, rc, path, "it is another user's: run this as that user, or as root");
    return fail(err, rc, path, strerror(-rc));
}

static int receive(int fd, const char *path, char packet[PACKET_MAX], char err[SHOW_ERROR_MAX])
{
    ssize_t n = recv(fd, packet, PACKET_MAX - 1, 0);
    if (n > 0) {
        packet[n] = '\0';
        return 0;
    }
    if (n == 0)
        return fail(err, -ECONNRESET, path, "the dataplane has ended");
    int rc = -errno;
    return fail(err, rc, path,
                rc == -EAGAIN ? "no answer within 2 seconds: the dataplane is stopped, or has too "
                                "many clients (10)"
                              : strerror(-rc));
}

/* One page: from element `from` on. */
static int ask_page(int fd, const char *path, json_int_t from, json_t **ret_page,
                    char err[SHOW_ERROR_MAX])
{
    static char packet[PACKET_MAX];
    char command[64];
    int len = snprintf(command, sizeof(command), "/pando/offload,%lld", (long long)from);
    if (send(fd, command, (size_t)len, MSG_NOSIGNAL) != len)
        return fail(err, -errno, path, strerror(errno));
    int rc = receive(fd, path, packet, err);
    if (rc != 0)
        return rc;
    json_t *outer = json_loads(packet, 0, NULL);
    const char *text = json_string_value(json_object_get(outer, "/pando/offload"));
    json_t *page = text != NULL ? json_loads(text, 0, NULL) : NULL;
    json_decref(outer);
    if (!json_is_object(page)) {
        json_decref(page);
        return fail(err, -ENOTSUP, path,
                    "it does not know /pando/offload: the program there is no dataplane of this "
                    "version");
    }
    if (json_integer_value(json_object_get(page, "v")) != FORMAT) {
        json_decref(page);
        return fail(err, -EPROTO, path, "it answers in another format: versions differ");
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
static int ask_all(int fd, const char *path, json_t **ret_answer, char err[SHOW_ERROR_MAX])
{
    json_t *all, *page;
    int rc = ask_page(fd, path, 0, &all, err);
    if (rc != 0)
        return rc;
    json_int_t at = 0, next = json_integer_value(json_object_get(all, "next"));
    for (unsigned n = 0; next > at && n < PAGES_MAX; n++) {
        at = next;
        rc = ask_page(fd, path, at, &page, err);
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
    int fd = open_socket(socket_path, err);
    if (fd < 0)
        return fd;
    int rc = receive(fd, socket_path, greeting, err);
    if (rc == 0)
        rc = ask_all(fd, socket_path, ret_answer, err);
    close(fd);
    return rc;
}
