/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP server, a thread a CPU. A message is its length (32 bits, big endian) and as many bytes; the
 * answer is the same and the bytes' CRC-32 (big endian). The message "quit N" ends the server: N is
 * how many answers the client found wrong. The client is net_client.py. */
#include "lib.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_PAYLOAD = 1 << 20, CONNECTIONS = 64, POLL_MS = 200 };

static int listener = -1;
static uint32_t table[256];
static uint32_t quit;
static int64_t client_errors = -1;
static struct {
    OWN_PAGE uint64_t messages, bytes;
    char data[4 + MAX_PAYLOAD + 4];
} * servers;

static void crc_prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (unsigned bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
}

static uint32_t crc(const char *data, size_t n)
{
    uint32_t c = ~0u;

    for (size_t i = 0; i < n; i++)
        c = c >> 8 ^ table[(uint8_t)(c ^ (uint8_t)data[i])];
    return ~c;
}

static bool read_all(int fd, char *to, size_t n)
{
    while (n > 0) {
        ssize_t got = read(fd, to, n);

        if (got <= 0)
            return false;
        to += got;
        n -= (size_t)got;
    }
    return true;
}

static bool write_all(int fd, const char *from, size_t n)
{
    while (n > 0) {
        ssize_t put = send(fd, from, n, MSG_NOSIGNAL);

        if (put <= 0)
            return false;
        from += put;
        n -= (size_t)put;
    }
    return true;
}

/* One message; false ends the connection. */
static bool serve(unsigned i, int fd)
{
    char *data = servers[i].data;
    uint32_t n, sum;

    if (!read_all(fd, data, 4))
        return false;
    memcpy(&n, data, 4);
    n = ntohl(n);
    if (n > MAX_PAYLOAD || !read_all(fd, data + 4, n))
        return false;
    if (n >= 6 && n < 16 && memcmp(data + 4, "quit ", 5) == 0) {
        data[4 + n] = 0;
        client_errors = atoi(data + 9);
        STORE(quit, 1);
    }
    sum = htonl(crc(data + 4, n) ^ (broken("checksum") ? 1 : 0));
    if (n > 0 && broken("payload") && !LOAD(quit))
        data[4 + n / 2] ^= 1;
    memcpy(data + 4 + n, &sum, 4);
    servers[i].messages++;
    servers[i].bytes += n;
    return write_all(fd, data, 4 + n + 4);
}

static void thread(unsigned i)
{
    struct pollfd fds[1 + CONNECTIONS] = {{.fd = listener, .events = POLLIN}};
    unsigned n = 1;

    while (!LOAD(quit)) {
        if (poll(fds, n, POLL_MS) < 0 && errno != EINTR)
            die("poll: %s", strerror(errno));
        for (unsigned k = n; k-- > 1;)
            if (fds[k].revents && !serve(i, fds[k].fd)) {
                close(fds[k].fd);
                fds[k] = fds[--n];
            }
        if (fds[0].revents && n <= CONNECTIONS) {
            int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

            if (fd >= 0) /* else another CPU was faster */
                fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
    for (unsigned k = 1; k < n; k++)
        close(fds[k].fd);
}

static void open_listener(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    int on = 1;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        die("no socket: %s", strerror(errno));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&any, sizeof(any)) != 0 || listen(listener, 128) != 0)
        die("port %u: %s", opt.port, strerror(errno));
}

int test_echo(void)
{
    uint64_t messages = 0, bytes = 0;

    crc_prepare();
    servers = aligned_alloc(PAGE, ncpus * sizeof(*servers));
    if (!servers)
        die("no memory");
    for (unsigned i = 0; i < ncpus; i++)
        servers[i].messages = servers[i].bytes = 0;
    open_listener();
    printf("echo: listening on port %u\n", opt.port);
    fflush(stdout);
    on_every_cpu(thread);
    printf("echo: messages by CPU:");
    for (unsigned i = 0; i < ncpus; i++) {
        printf(" %lu", servers[i].messages);
        messages += servers[i].messages;
        bytes += servers[i].bytes;
    }
    printf("\n");
    if (client_errors != 0)
        die("the client found %ld wrong answers", (long)client_errors);
    summary("%lu messages, %lu bytes; the client found no error", messages, bytes);
    return 0;
}
