/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cli.h -- the command line: a table of commands, each with a table of options.
 *
 * A new command is one row of COMMANDS (cli.c) and a file cmd_<name>.c; a new option is one row of
 * its command's table and one field of its struct. What is not understood is one line that says
 * what to do, and exit status 1. */
#pragma once

#include <stddef.h>

#include "app/files/paths.h"
#include "app/files/problem.h"

struct cli_option {
    const char *name;    /* without its dashes */
    char letter;         /* short form, or 0 */
    const char *metavar; /* of its value, "[VALUE]" if that may be left out; NULL: a switch */
    size_t offset;       /* into the command's struct: const char * (NULL: not given; "": without
                            its value) or bool */
    const char *help;
};

/* Either options and run, or commands of its own (one level deep), whose names begin with this
 * one's: "journal", "journal import". */
struct command {
    const char *name, *summary;
    const char *operand;   /* of the one argument that it may have: "[FILE]"; NULL: it has none */
    size_t operand_offset; /* into the command's struct: const char *, NULL: not given */
    const struct cli_option *options;
    size_t n_options, args_len;
    /* args is the command's struct, zeroed and filled in. An error ends the program with status 1
     * and ret_problem printed. */
    enum err (*run)(const void *args, const struct paths *paths, struct problem *ret_problem);
    const struct command *commands;
    size_t n_commands;
};

extern const struct command CMD_ADDRESS;  /* cmd_address.c */
extern const struct command CMD_CERT;     /* cmd_cert.c */
extern const struct command CMD_CHECK;    /* cmd_check.c */
extern const struct command CMD_DELETE;   /* cmd_delete.c */
extern const struct command CMD_INIT;     /* cmd_init.c */
extern const struct command CMD_JOURNAL;  /* cmd_journal.c */
extern const struct command CMD_DATABASE; /* cmd_database.c */
extern const struct command CMD_START;    /* cmd_start.c */

/* The whole program; returns its exit status. Changes argv. */
int cli_main(int argc, char **argv);
