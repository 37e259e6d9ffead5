/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of pando, each with a command line of its own (argp): argv[0] is "pando NAME". */
#ifndef PANDO_RUN_COMMANDS_H
#define PANDO_RUN_COMMANDS_H

int run_main(int argc, char **argv);

#endif
