/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "hypervisor-glue/link/link.h"
#include "hypervisor-glue/run/cluster_internal.h"

enum {
    SETTLE_MS = 150,   /* a killed process is seen to end after those who saw its sockets close */
    VMM_END_MS = 2000, /* the VM's end may reach a dataplane before the VMM has exited */
    STOP_MS = 5000,    /* for the VMM, after a signal */
    ALONE_MS = 1000,   /* for the others to end by themselves */
    TERM_MS = 2000,    /* then by SIGTERM */
    KILL_MS = 2000,
};

static bool all_gone(const struct cluster *c)
{
    for (unsigned i = 0; i < c->children; i++)
        if (!child_gone(&c->child[i]))
            return false;
    return true;
}

static bool vmm_ended(const struct cluster *c)
{
    return c->vmm->ended;
}

static bool vmm_ended_or_again(const struct cluster *c)
{
    return c->vmm->ended || c->again > 0;
}

static bool never(const struct cluster *c)
{
    (void)c;
    return false;
}

/* ---- who died ------------------------------------------------------------------------------ */

static bool killed(const struct child *p)
{
    return p->ended && WIFSIGNALED(p->status);
}

static bool failed(const struct child *p)
{
    return p->ended && WIFEXITED(p->status) && WEXITSTATUS(p->status) != 0;
}

static struct child *first(struct cluster *c, bool (*is)(const struct child *), bool vmm_too)
{
    struct child *found = NULL;
    for (unsigned i = 0; i < c->children; i++) {
        struct child *p = &c->child[i];
        if (is(p) && (p != c->vmm || vmm_too) && (found == NULL || p->ended_at < found->ended_at))
            found = p;
    }
    return found;
}

static bool exited(const struct child *p)
{
    return p->ended && WIFEXITED(p->status);
}

static bool vmm_has_own_status(const struct cluster *c)
{
    return c->vmm != NULL && c->vmm->ended && WIFEXITED(c->vmm->status) &&
           WEXITSTATUS(c->vmm->status) != LINK_EXIT_STOPPED;
}

/* Who ended the VM, or NULL if that was the VMM by itself. Those who end together are a cause and
 * its consequences: whoever was killed is the cause; whoever failed is, unless the VMM ended before
 * with a status that is not the glue's for "the VM was stopped". */
static struct child *culprit(struct cluster *c)
{
    cluster_wait(c, never, cluster_in_ms(SETTLE_MS));
    struct child *k = first(c, killed, true);
    if (k != NULL)
        return k;
    if (c->vmm == NULL)
        return first(c, exited, false);
    if (!c->vmm->ended)
        cluster_wait(c, vmm_ended, cluster_in_ms(VMM_END_MS));
    else if (WEXITSTATUS(c->vmm->status) == LINK_EXIT_STOPPED && first(c, failed, false) == NULL)
        cluster_wait(c, never, cluster_in_ms(SETTLE_MS));
    k = first(c, killed, true);
    if (k != NULL)
        return k;
    k = first(c, failed, false);
    if (vmm_has_own_status(c))
        return k != NULL && k->ended_at < c->vmm->ended_at ? k : NULL;
    return k != NULL ? k : first(c, exited, true);
}

/* ---- end ----------------------------------------------------------------------------------- */

static void signal_all(struct cluster *c, int number)
{
    for (unsigned i = 0; i < c->children; i++)
        child_signal(&c->child[i], number);
}

/* Nobody was told to end yet, and the VMM has ended well: whoever fails now has found something. */
static void end_alone(struct cluster *c, bool vmm_well)
{
    char how[64];
    cluster_wait(c, all_gone, cluster_in_ms(ALONE_MS));
    const struct child *k = first(c, killed, false);
    k = k != NULL ? k : first(c, failed, false);
    if (k == NULL || !vmm_well || c->died[0] != '\0')
        return;
    child_words(k, how, sizeof(how));
    snprintf(c->died, sizeof(c->died), "%s (process %d) %s after the VM's end", k->name,
             (int)k->pid, how);
}

static void end_all(struct cluster *c)
{
    if (all_gone(c))
        return;
    signal_all(c, SIGTERM);
    if (cluster_wait(c, all_gone, cluster_in_ms(TERM_MS)))
        return;
    signal_all(c, SIGKILL);
    cluster_wait(c, all_gone, cluster_in_ms(KILL_MS));
}

/* A signal: the VMM first, which may end in good order. */
static int end_by_signal(struct cluster *c)
{
    if (c->vmm != NULL) {
        if (!c->from_terminal)
            child_signal(c->vmm, c->signal);
        cluster_wait(c, vmm_ended_or_again, cluster_in_ms(STOP_MS));
    }
    bool by_itself = vmm_has_own_status(c);
    if (c->vmm != NULL && c->vmm->ended)
        end_alone(c, false);
    end_all(c);
    if (by_itself)
        return WEXITSTATUS(c->vmm->status);
    fprintf(stderr, "pando run: ended by SIG%s\n", sigabbrev_np(c->signal));
    return 128 + c->signal;
}

int cluster_end(struct cluster *c, int start_rc)
{
    if (c->signal != 0)
        return end_by_signal(c);
    if (start_rc == 0) {
        char how[64];
        const struct child *k = culprit(c);
        if (k != NULL) {
            child_words(k, how, sizeof(how));
            snprintf(c->died, sizeof(c->died), "%s (process %d) %s%s", k->name, (int)k->pid, how,
                     c->vmm == NULL ? " before the VM was started" : "");
        }
    }
    int status = c->vmm != NULL && c->vmm->ended ? WEXITSTATUS(c->vmm->status) : EXIT_REFUSED;
    if (c->vmm != NULL)
        end_alone(c, status == 0);
    end_all(c);
    if (c->died[0] == '\0')
        return status;
    fprintf(stderr, "pando run: %s\n", c->died);
    return EXIT_DIED;
}
