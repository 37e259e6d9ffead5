/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Assertions about our own state. PURE.
 *
 * PANDO_CHECK is for what only a bug of ours can make false: it stays on in every build, because a
 * guest that is shown a wrong value is worse than one that stops. It is never used on bytes that a
 * peer, a user or the VMM supplied: those are validated at the border and answered with an error.
 */
#ifndef PANDO_BASE_CHECK_H
#define PANDO_BASE_CHECK_H

typedef void (*pando_check_handler)(const char *expr, const char *file, int line);

/* Called when a check fails; prints through the handler that the program installed (the simulator
 * installs one that reports the seed) and then traps. Never returns. */
void pando_check_failed(const char *expr, const char *file, int line)
    __attribute__((noreturn, cold));

/* Installs the reporter. Any thread, before the first step; NULL removes it. */
void pando_check_set_handler(pando_check_handler handler);

#define PANDO_CHECK(expr) ((expr) ? (void)0 : pando_check_failed(#expr, __FILE__, __LINE__))

#endif
