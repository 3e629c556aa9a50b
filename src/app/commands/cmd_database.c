/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_database.c -- `smp-server database ...`: what the reference does with PostgreSQL. There is no
 * such storage in this version; whoever asks is told so, and what to do. */
#include <stdbool.h>
#include <stddef.h>

#include "app/commands/cli.h"

struct database_args {
    const char *table, *database, *schema, *pool_size;
    bool yes;
};

// clang-format off
static const struct cli_option OPTIONS[] = {
    {"table", 0, "TABLE", offsetof(struct database_args, table), "all, queues or messages"},
    {"database", 'd', "DATABASE", offsetof(struct database_args, database), "Connection string"},
    {"schema", 0, "SCHEMA", offsetof(struct database_args, schema), "Schema of the database"},
    {"pool-size", 0, "N", offsetof(struct database_args, pool_size), "Connections"},
    {"yes", 'y', NULL, offsetof(struct database_args, yes), "Ask nothing"},
};
// clang-format on

static enum err run_database(const void *args, const struct paths *paths,
                             struct problem *ret_problem) {
    (void)args;
    (void)paths;
    return problem_set(ret_problem, E_CONFIG,
                       "there is no database storage in this version: queues are in the store log "
                       "and messages in the journal (store_messages: journal). To come from a "
                       "database, run `smp-server database export` of the reference first");
}

#define COMMAND(word, text)                                                                        \
    {                                                                                              \
        .name = "database " word, .summary = (text), .options = OPTIONS,                           \
        .n_options = ARRAY_LEN(OPTIONS), .args_len = sizeof(struct database_args),                 \
        .run = run_database                                                                        \
    }

static const struct command COMMANDS[] = {
    COMMAND("import", "Not in this version"),
    COMMAND("export", "Not in this version"),
    COMMAND("delete", "Not in this version"),
};

const struct command CMD_DATABASE = {
    .name = "database",
    .summary = "Not in this version: there is no storage in a database",
    .commands = COMMANDS,
    .n_commands = ARRAY_LEN(COMMANDS),
};
