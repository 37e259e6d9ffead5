/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/watch/screen.h"

#ifdef PANDO_HAVE_CURSES
#include <curses.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/watch/watch.h"

enum { SAY_MS = 1500, ESCAPE_MS = 50, ESCAPE = 27, DELETE = 127 };

static SCREEN *terminal;

const char *screen_open(void)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return "standard input and output are no terminal";
    terminal = newterm(NULL, stdout, stdin);
    if (terminal == NULL)
        return "$TERM names no terminal that ncurses knows";
    cbreak();
    noecho();
    nonl();
    set_escdelay(ESCAPE_MS);
    keypad(stdscr, TRUE);
    curs_set(0);
    return NULL;
}

void screen_close(void)
{
    endwin();
    delscreen(terminal);
}

/* The terminal is gone, as it may be without a signal: reading it would return at once for ever. */
static bool is_gone(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&in, 1, 0) > 0 && (in.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

int screen_key(int wait_ms)
{
    timeout(wait_ms);
    int key = getch();
    switch (key) {
    case ERR:
        return is_gone() ? 'q' : SCREEN_NONE;
    case KEY_UP:
        return SCREEN_UP;
    case KEY_DOWN:
        return SCREEN_DOWN;
    case KEY_RESIZE: /* ncurses has the new size */
        return SCREEN_RESIZED;
    case ESCAPE:
        return SCREEN_ESCAPE;
    case '\r':
    case KEY_ENTER:
        return '\n';
    default:
        return key;
    }
}

static int attribute(char letter)
{
    switch (letter) {
    case 'H':
        return A_REVERSE;
    case 'C':
        return A_BOLD | A_UNDERLINE;
    case 'E':
        return A_DIM;
    default:
        return A_NORMAL;
    }
}

static void paint_line(int y, const char *line, int len)
{
    int look = A_NORMAL;
    if (len >= 2 && line[0] == VIEW_MARK) {
        look = attribute(line[1]);
        line += 2;
        len -= 2;
    }
    move(y, 0);
    attrset(look);
    addnstr(line, len < COLS ? len : COLS);
    for (int x = len; (look & A_REVERSE) != 0 && x < COLS; x++)
        addch(' ');
    attrset(A_NORMAL);
}

void screen_anew(void)
{
    clearok(curscr, TRUE);
}

void screen_paint(const char *text)
{
    erase();
    for (int y = 0; y < LINES && *text != '\0'; y++) {
        size_t len = strcspn(text, "\n");
        paint_line(y, text, len < 100000 ? (int)len : 100000);
        text += len;
        text += *text == '\n';
    }
    refresh();
}

void screen_help(void (*print)(FILE *to))
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (to == NULL)
        return;
    print(to);
    if (fclose(to) == 0)
        screen_paint(text);
    free(text);
    (void)screen_key(-1); /* a signal ends it, too */
}

bool screen_line(const char *question, char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = '\0';
    for (;;) {
        move(LINES - 1, 0);
        clrtoeol();
        addstr(question);
        addstr(buf);
        refresh();
        int key = screen_key(-1);
        if (key == SCREEN_NONE || key == SCREEN_ESCAPE || is_gone())
            return false;
        if (key == '\n')
            return n > 0;
        if ((key == KEY_BACKSPACE || key == DELETE || key == '\b') && n > 0)
            buf[--n] = '\0';
        else if (key >= ' ' && key <= '~' && n + 1 < size) {
            buf[n++] = (char)key;
            buf[n] = '\0';
        }
    }
}

void screen_say(const char *text)
{
    move(LINES - 1, 0);
    clrtoeol();
    addnstr(text, COLS);
    refresh();
    (void)screen_key(SAY_MS);
}

#else

const char *screen_open(void)
{
    return "this build has no ncurses (libncurses-dev)";
}

void screen_close(void) {}

int screen_key(int wait_ms)
{
    (void)wait_ms;
    return SCREEN_NONE;
}

void screen_anew(void) {}

void screen_paint(const char *text)
{
    (void)text;
}

void screen_help(void (*print)(FILE *to))
{
    (void)print;
}

bool screen_line(const char *question, char *buf, size_t size)
{
    (void)question;
    (void)buf;
    (void)size;
    return false;
}

void screen_say(const char *text)
{
    (void)text;
}

#endif
