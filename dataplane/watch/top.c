/* SPDX-License-Identifier: BSD-3-Clause */
/* pando top: the page of view.c again and again, as text or on a terminal. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/watch/screen.h"
#include "dataplane/watch/watch.h"

static const char title[] = "pando top";

enum { DELAY_MAX = 3600, LINES_MAX = 999, CTRL_L = 'L' & 31 };
static const char sort_keys[] = "NFMPLT"; /* in the order of enum view_sort */
/* A silent node must not make the terminal feel dead. */
#define TOP_LIMITS ((struct ask_limits){.silence_ms = 300, .all_ms = 1000})

struct options {
    struct place place;
    bool batch;
    uint64_t times; /* 0: for ever */
    double delay;
    enum view_sort sort;
    bool since_start;
};

static double delay_option(struct argp_state *state, const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (*text < '0' || *text > '9' || *end != '\0' || !(v >= 0.1 && v <= DELAY_MAX))
        argp_error(state, "--delay: '%s': 0.1..%d seconds are allowed", text, DELAY_MAX);
    return v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->place;
        break;
    case 'b':
        o->batch = true;
        break;
    case '1':
        o->batch = true;
        o->times = 1;
        break;
    case 'n':
        o->times = out_option(state, "--iterations", arg, 1, 1000000000);
        break;
    case 'd':
        o->delay = delay_option(state, arg);
        break;
    case 'o':
        if (strlen(arg) != 1 || strchr(sort_keys, arg[0]) == NULL)
            argp_error(state, "--sort: '%s': one of these keys is allowed: %s", arg, sort_keys);
        o->sort = (enum view_sort)(strchr(sort_keys, arg[0]) - sort_keys);
        break;
    case 'S':
        o->since_start = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option option_list[] = {
    {"batch", 'b', NULL, 0, "As text, page after page, without a terminal", 0},
    {"once", '1', NULL, 0, "One page as text: -b -n 1", 0},
    {"iterations", 'n', "N", 0, "Ends after N pages", 0},
    {"delay", 'd', "SECONDS", 0, "Between two pages (default 2)", 0},
    {"sort", 'o', "KEY", 0, "In the order of that key: N F M P L T (help: h)", 0},
    {"since-start", 'S', NULL, 0, "Rates since the start, as the key S", 0},
    {0},
};
static const struct argp_child children[] = {{.argp = &place_argp}, {0}};
static const struct argp argp = {
    .options = option_list,
    .parser = parse,
    .children = children,
    .doc = "What the running dataplanes of this machine do at the moment; keys: h.",
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    ended = number;
}

static void set_signals(void)
{
    struct sigaction end = {.sa_handler = on_signal}; /* no SA_RESTART: waits end at once */
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGHUP, &end, NULL);
}

/* The page as text of malloc; NULL: no memory. */
static char *page(const struct view *v, const struct nodes *all, const struct node *rows[NODES_MAX])
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (to == NULL)
        return NULL;
    view_print(to, v, all, rows);
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

/* ---- as text ------------------------------------------------------------------------------------
 */

static void print_plain(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == VIEW_MARK && text[1] != '\0')
            text++;
        else
            putchar(*text);
    }
}

static void wait_delay(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    nanosleep(&t, NULL);
}

static int batch(const struct options *o, struct nodes *all, struct view *v)
{
    const struct node *rows[NODES_MAX];
    size_t up = 0;
    for (uint64_t n = 0; ended == 0 && (o->times == 0 || n < o->times); n++) {
        if (n > 0) {
            wait_delay(v->delay);
            putchar('\n');
        }
        up = nodes_look(all);
        char *text = page(v, all, rows);
        if (text == NULL) {
            fprintf(stderr, "%s: no memory\n", title);
            return 1;
        }
        print_plain(text);
        free(text);
        if (!out_written(title))
            return 1;
    }
    return up > 0 && up == all->found ? 0 : 1;
}

/* ---- on a terminal ------------------------------------------------------------------------------
 */

static void choose(struct view *v, const struct nodes *all, const struct node *rows[NODES_MAX],
                   int step)
{
    size_t at = 0;
    while (at < all->n && rows[at] != v->chosen)
        at++;
    if (at == all->n)
        v->chosen = all->n == 0 ? NULL : rows[step > 0 ? 0 : all->n - 1];
    else if (step < 0 && at == 0)
        v->chosen = NULL;
    else if (step < 0 || at + 1 < all->n)
        v->chosen = rows[at + (size_t)step];
}

static void sort_by(struct view *v, int key)
{
    const char *k = strchr(sort_keys, key);
    if (k != NULL)
        v->sort = (enum view_sort)(k - sort_keys);
    else if (key == '<' && v->sort > VIEW_BY_NODE)
        v->sort--;
    else if (key == '>' && v->sort < VIEW_BY_TIME)
        v->sort++;
}

static void ask_delay(struct view *v)
{
    char text[16], *end;
    if (!screen_line("seconds between two looks: ", text, sizeof(text)))
        return;
    double d = strtod(text, &end);
    if (*end == '\0' && end != text && d >= 0.1 && d <= DELAY_MAX)
        v->delay = d;
    else
        screen_say("0.1 to 3600 seconds are allowed");
}

static void ask_lines(struct view *v)
{
    char text[16], *end;
    if (!screen_line("lines of each list (0: as by default): ", text, sizeof(text)))
        return;
    unsigned long n = strtoul(text, &end, 10);
    if (*end == '\0' && text[0] >= '0' && text[0] <= '9' && n <= LINES_MAX)
        v->lines = n;
    else
        screen_say("0 to 999 are allowed");
}

enum after { AFTER_NOTHING, AFTER_PAINT, AFTER_LOOK, AFTER_QUIT };

static enum after on_key(struct view *v, struct nodes *all, const struct node *rows[NODES_MAX],
                         int key)
{
    switch (key) {
    case SCREEN_NONE:
        return AFTER_NOTHING;
    case 'q':
    case 'Q':
        return AFTER_QUIT;
    case 'h':
    case '?':
        screen_help(view_help);
        break;
    case ' ':
    case '\n':
        return AFTER_LOOK;
    case 'd':
    case 's':
        ask_delay(v);
        break;
    case 'p':
        v->paused = !v->paused;
        break;
    case 'n':
    case '#':
        ask_lines(v);
        break;
    case CTRL_L:
        screen_anew();
        break;
    case 'S':
        nodes_since_start(all, !all->since_start);
        break;
    case 'R':
        v->reverse = !v->reverse;
        break;
    case SCREEN_UP:
    case 'k':
        choose(v, all, rows, -1);
        break;
    case SCREEN_DOWN:
    case 'j':
        choose(v, all, rows, 1);
        break;
    case '0':
    case SCREEN_ESCAPE:
        v->chosen = NULL;
        break;
    default:
        if (key >= '1' && key <= '9' && (size_t)(key - '0') <= all->n)
            v->chosen = rows[key - '1'];
        else if (key > 0 && key < 128)
            sort_by(v, key);
    }
    return AFTER_PAINT;
}

static bool paint(const struct view *v, const struct nodes *all, const struct node *rows[NODES_MAX])
{
    char *text = page(v, all, rows);
    if (text == NULL)
        return false;
    screen_paint(text);
    free(text);
    return true;
}

static int interactive(const struct options *o, struct nodes *all, struct view *v)
{
    const struct node *rows[NODES_MAX];
    uint64_t looks = 0, next = 0;
    bool good = true;
    while (ended == 0 && good) {
        if ((!v->paused || looks == 0) && now_ms() >= next) {
            nodes_look(all);
            looks++;
            good = paint(v, all, rows);
            next = now_ms() + (uint64_t)(v->delay * 1e3);
        }
        if (o->times != 0 && looks >= o->times)
            break;
        uint64_t now = now_ms();
        int wait = v->paused ? 1000 : next > now ? (int)(next - now) : 0;
        enum after after = on_key(v, all, rows, screen_key(wait));
        if (after == AFTER_QUIT)
            break;
        if (after == AFTER_LOOK) {
            nodes_look(all);
            next = now_ms() + (uint64_t)(v->delay * 1e3);
        }
        if (after != AFTER_NOTHING)
            good = paint(v, all, rows);
    }
    screen_close();
    if (!good)
        fprintf(stderr, "%s: no memory\n", title);
    return good ? 0 : 1;
}

int top_main(int argc, char **argv)
{
    struct options o = {.delay = 2};
    static struct nodes all;
    struct view v = {.sort = VIEW_BY_NODE};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    v.delay = o.delay;
    v.sort = o.sort;
    all = (struct nodes){.limits = TOP_LIMITS, .since_start = o.since_start};
    if (!place_of(title, &o.place, &all.run_dir))
        return EXIT_USAGE;
    set_signals();
    const char *why = o.batch ? NULL : screen_open();
    if (why != NULL) {
        fprintf(stderr, "%s: %s; -b prints pages as text\n", title, why);
        return 1;
    }
    int status = o.batch ? batch(&o, &all, &v) : interactive(&o, &all, &v);
    nodes_release(&all);
    return status;
}
