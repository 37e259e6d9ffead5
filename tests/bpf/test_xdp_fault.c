/* SPDX-License-Identifier: BSD-3-Clause */
/* The faulty wire: pando-xdp-fault in a namespace between A and B. What it counts is what happened,
 * and the same seed does the same again. As root; exit status 77: skipped.
 *
 * usage: test_xdp_fault PATH-OF-PANDO-XDP-FAULT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/steer.h"
#include "dataplane/base/bits.h"
#include "tests/bpf/frames.h"
#include "tests/bpf/wires.h"

enum { SKIP = 77, FRAMES = 2000, DRAIN_MS = 100, LARGE = 8900 };

static const char *tool;
static char reason[200];
static uint8_t frame[FRAMES_MAX], got[FRAMES_MAX];

struct tool_run {
    pid_t pid;
    FILE *out;
};

static struct tool_run start(enum wires_place place, const char *const *args)
{
    struct tool_run t;
    int fd[2];
    char line[16] = "";
    assert_int_equal(pipe(fd), 0);
    t.pid = fork();
    if (t.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        wires_enter(place);
        dup2(fd[1], 1);
        close(fd[0]);
        close(fd[1]);
        execv(tool, (char *const *)(uintptr_t)args);
        _exit(127);
    }
    close(fd[1]);
    t.out = fdopen(fd[0], "r");
    assert_non_null(fgets(line, sizeof(line), t.out));
    assert_string_equal(line, "ready\n");
    return t;
}

/* Ends it; its line of counters is in text. */
static void stop(struct tool_run t, char *text, int size)
{
    int status;
    kill(t.pid, SIGTERM);
    text[0] = 0;
    if (fgets(text, size, t.out) == NULL)
        text[0] = 0;
    fclose(t.out);
    assert_int_equal(waitpid(t.pid, &status, 0), t.pid);
    assert_int_equal(status, 0);
}

/* The count of what came in on the left. */
static unsigned long count_in(const char *text, const char *name)
{
    char key[40];
    const char *at = strstr(text, "\"left\": {");
    snprintf(key, sizeof(key), "\"%s\": ", name);
    assert_non_null(at);
    at = strstr(at, key);
    assert_non_null(at);
    return strtoul(at + strlen(key), NULL, 10);
}

struct outcome {
    uint8_t copies[FRAMES]; /* of each frame, as it was sent */
    unsigned good, bad;
    unsigned long forwarded, lost, repeated, corrupted, large, unconfigured;
};

static void take(int receiver, uint16_t data_len, struct outcome *o, int ms)
{
    size_t len;
    while ((len = wires_receive(receiver, got, sizeof(got), ms)) > 0) {
        const uint8_t *data;
        struct wire_rrdp h;
        bool good =
            len >= 14u + WIRE_RRDP_HEADER + data_len &&
            wire_rrdp_unpack(got + 14, len - 14, (uint8_t)FRAMES_CLUSTER, &h, &data) == WIRE_OK &&
            h.seq < FRAMES;
        o->good += good;
        o->bad += !good;
        if (good)
            o->copies[h.seq]++;
    }
}

static struct outcome run(const char *drop, const char *duplicate, const char *corrupt,
                          const char *seed, uint16_t data_len)
{
    const char *wire[] = {tool,    "-l", drop, "-d",   duplicate, "-c",
                          corrupt, "-s", seed, "left", "right",   NULL};
    const char *pass[] = {tool, "--pass", "veth0", NULL};
    struct outcome o = {.good = 0};
    char text[600];
    if (!wires_make(9000, true, reason))
        fail_msg("%s", reason);
    struct tool_run b = start(WIRES_B, pass), m = start(WIRES_MIDDLE, wire);
    wires_enter(WIRES_A);
    int sender = wires_packet_socket("veth0");
    wires_enter(WIRES_B);
    int receiver = wires_packet_socket("veth0");
    for (uint32_t i = 0; i < FRAMES; i++) {
        struct wire_rrdp h = {.ack_valid = true,
                              .first = true,
                              .last = true,
                              .src = FRAMES_PEER,
                              .dst = FRAMES_SELF,
                              .cls = 2,
                              .cluster_tag = (uint8_t)FRAMES_CLUSTER,
                              .data_len = data_len,
                              .seq = i};
        wires_send(sender, frame, frames_rrdp(STEER_ETHERNET, &h, frame));
        take(receiver, data_len, &o, 0);
    }
    take(receiver, data_len, &o, DRAIN_MS);
    stop(m, text, sizeof(text));
    o.forwarded = count_in(text, "forwarded");
    o.lost = count_in(text, "lost");
    o.repeated = count_in(text, "repeated");
    o.corrupted = count_in(text, "corrupted");
    o.large = count_in(text, "large");
    o.unconfigured = count_in(text, "unconfigured");
    stop(b, text, sizeof(text));
    close(sender);
    close(receiver);
    wires_remove();
    return o;
}

static void a_good_wire_changes_nothing(void **state)
{
    (void)state;
    static const uint16_t lengths[] = {22, LARGE};
    for (unsigned i = 0; i < 2; i++) {
        struct outcome o = run("0", "0", "0", "1", lengths[i]);
        assert_int_equal(o.good, FRAMES);
        assert_int_equal(o.bad, 0);
        assert_int_equal(o.forwarded, FRAMES);
        assert_int_equal(o.lost + o.repeated + o.corrupted + o.large + o.unconfigured, 0);
        for (unsigned k = 0; k < FRAMES; k++)
            assert_int_equal(o.copies[k], 1);
    }
}

static void what_is_counted_happened(void **state)
{
    (void)state;
    struct outcome o = run("100000", "50000", "20000", "7", 200);
    assert_in_range(o.lost, FRAMES / 20, FRAMES / 5);
    assert_in_range(o.repeated, FRAMES / 40, FRAMES / 10);
    assert_in_range(o.corrupted, FRAMES / 100, FRAMES / 25);
    assert_int_equal(o.lost + o.forwarded, FRAMES);
    assert_int_equal(o.good + o.bad, o.forwarded + o.repeated);
    /* A spoiled one is found by its CRC, unless the bit was in the Ethernet padding: none here. One
     * that is spoiled and repeated is found twice. */
    assert_in_range(o.bad, o.corrupted, o.corrupted * 2);
    /* Frames of several buffers are lost and spoiled, but not repeated. */
    o = run("100000", "50000", "20000", "7", LARGE);
    assert_int_equal(o.lost + o.forwarded, FRAMES);
    assert_int_equal(o.good + o.bad, o.forwarded);
    assert_int_equal(o.bad, o.corrupted);
    assert_int_equal(o.repeated, 0);
    assert_in_range(o.large, FRAMES / 40, FRAMES / 10);
}

static void the_seed_decides(void **state)
{
    (void)state;
    struct outcome a = run("200000", "100000", "0", "42", 22);
    struct outcome b = run("200000", "100000", "0", "42", 22);
    struct outcome c = run("200000", "100000", "0", "43", 22);
    assert_int_equal(a.bad + b.bad + c.bad, 0);
    assert_memory_equal(a.copies, b.copies, sizeof(a.copies));
    assert_memory_not_equal(a.copies, c.copies, sizeof(a.copies));
}

static void bad_command_lines_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "left",
        "left right third",
        "--pass",
        "--pass a b",
        "-l 1000001 a b",
        "-l -1 a b",
        "-s x a b",
        "-l '' a b",
        "no-such-device-1 no-such-device-2",
    };
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(lines); i++) {
        char line[600];
        snprintf(line, sizeof(line), "timeout 10 %s %s </dev/null >/dev/null 2>&1", tool, lines[i]);
        int status = system(line);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) < 124);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_wire_changes_nothing),
        cmocka_unit_test(what_is_counted_happened),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(bad_command_lines_are_refused),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s PATH-OF-PANDO-XDP-FAULT\n", argv[0]);
        return 2;
    }
    tool = argv[1];
    if (geteuid() != 0 || !wires_make(1500, true, reason)) {
        printf("skipped: %s\n", geteuid() != 0 ? "network namespaces and XDP need root" : reason);
        return SKIP;
    }
    wires_remove();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
