/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/watch/find.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/watch/out.h"

/* Where dataplanes are by default: configs/, and clusters of ./dev demo. */
static const char *const places[] = {"/run/pando", "/run/pando-*", "/run/pando-test/*/run",
                                     "/dev/shm/pando-test/*/run"};

static bool is_owner(const struct stat *s)
{
    return s->st_uid == 0 || s->st_uid == geteuid();
}

/* What is there was put there by root or this user: the directories on the way and the socket are
 * theirs. Of a link, it and what it leads to. */
static bool is_ours(const char *path)
{
    char at[PATH_MAX];
    for (size_t n = 1;; n++) {
        struct stat s;
        if (path[n] != '/' && path[n] != '\0')
            continue;
        memcpy(at, path, n);
        at[n] = '\0';
        if (lstat(at, &s) != 0 || !is_owner(&s) ||
            (S_ISLNK(s.st_mode) && (stat(at, &s) != 0 || !is_owner(&s))))
            return false;
        if (path[n] == '\0')
            return true;
    }
}

/* named: by the user, who may mean anybody's. */
static void find_in(struct find *f, const char *run_dir, bool named)
{
    for (unsigned n = f->first; n <= f->last; n++) {
        char path[PATH_MAX];
        struct stat s;
        int len = snprintf(path, sizeof(path), "%s/dpdk/node%u/dpdk_telemetry.v2", run_dir, n);
        int rc = (size_t)len >= sizeof(path) ? ENAMETOOLONG : lstat(path, &s) != 0 ? errno : 0;
        if (rc == ENOENT || rc == ENOTDIR)
            continue;
        if (!named && (rc == EACCES || (rc == 0 && !is_ours(path)))) {
            f->others++;
            return;
        }
        f->found++;
        if (rc == 0) {
            f->take(f->arg, path, n);
            continue;
        }
        if (f->title != NULL)
            out_complain(f->title, run_dir,
                         rc == EACCES ? "it is another user's: run this as that user, or as root"
                                      : strerror(rc));
        return;
    }
}

static void find_everywhere(struct find *f)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        glob_t g;
        if (glob(places[i], 0, NULL, &g) != 0)
            continue;
        for (size_t d = 0; d < g.gl_pathc; d++)
            find_in(f, g.gl_pathv[d], false);
        globfree(&g);
    }
    if (f->others > 0 && f->title != NULL)
        fprintf(stderr,
                "%s: directories of other users, or closed to this one, are left out: %zu; "
                "--run-dir asks in one\n",
                f->title, f->others);
}

void find_dataplanes(struct find *f)
{
    f->found = f->others = 0;
    if (f->run_dir != NULL)
        find_in(f, f->run_dir, true);
    else
        find_everywhere(f);
}

void find_say_nobody(const struct find *f)
{
    fprintf(stderr, "%s: no dataplane runs here", f->title);
    if (f->run_dir != NULL) {
        fprintf(stderr, ": ");
        out_word(stderr, f->run_dir);
    }
    fprintf(stderr, "; start one (pando run, ./dev demo), or name its run_dir: --config or "
                    "--run-dir\n");
}
