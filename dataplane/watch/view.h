/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of pando top's page: view.c and view_lists.c. APP. */
#ifndef PANDO_WATCH_VIEW_H
#define PANDO_WATCH_VIEW_H

#include "dataplane/watch/watch.h"

/* The line is a heading, or ...: VIEW_MARK. */
void cell_mark(FILE *to, char letter);
/* At most width characters of another's word, filled up to that. */
void cell_word(FILE *to, const char *s, int width);
/* 4 digits and a unit: what fits into a column of 7, behind a space. */
void cell_number(FILE *to, double v);
/* Columns of 5 and 7; below 0, not known: "-". */
void cell_percent(FILE *to, double share);
void cell_micros(FILE *to, uint64_t ns, bool known);

/* The i-th row's node is one of which lists tell. */
bool view_shows(const struct view *v, const struct node *rows[NODES_MAX], size_t i);
/* Lines of a list that has so many by default. */
static inline size_t view_lines(const struct view *v, size_t by_default)
{
    return v->lines != 0 ? v->lines : by_default;
}

/* view_lists.c */
void view_threads(FILE *to, const struct view *v, const struct nodes *all,
                  const struct node *rows[NODES_MAX]);
void view_peers(FILE *to, const struct view *v, const struct nodes *all,
                const struct node *rows[NODES_MAX]);

#endif
