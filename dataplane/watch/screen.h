/* SPDX-License-Identifier: BSD-3-Clause */
/* The terminal of pando top: ncurses, or nothing where it was not built in. APP. */
#ifndef PANDO_WATCH_SCREEN_H
#define PANDO_WATCH_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { SCREEN_NONE = -1, SCREEN_UP = 1000, SCREEN_DOWN, SCREEN_ESCAPE, SCREEN_RESIZED };

/* NULL, or why there is no terminal to paint on: a sentence. */
const char *screen_open(void);
void screen_close(void);
/* A key, SCREEN_NONE after wait_ms or a signal. */
int screen_key(int wait_ms);
/* The next page is painted whole, whatever else wrote to the terminal. */
void screen_anew(void);
/* Paints a page of watch.h; what does not fit is left out. */
void screen_paint(const char *text);
/* Paints what print says until a key comes. */
void screen_help(void (*print)(FILE *to));
/* Asks in the last line; false: left by escape or a signal. At most size - 1 characters. */
bool screen_line(const char *question, char *buf, size_t size);
/* In the last line, until the next page. */
void screen_say(const char *text);

#endif
