/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/commands/cli.h"

#include <assert.h>
#include <getopt.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "app/files/version.h"
#include "crypto/crypto.h"

enum {
    CLI_OPTIONS_MAX = 40, /* of one command */
    CLI_ARGS_MAX = 512,   /* bytes of a command's struct */
    CLI_FIRST_LONG = 256, /* getopt's value of the first option: above all letters */
    CLI_HELP_COLUMN = 32,
};

static const struct command *const COMMANDS[] = {&CMD_INIT,    &CMD_START,   &CMD_CHECK,
                                                 &CMD_ADDRESS, &CMD_CERT,    &CMD_DELETE,
                                                 &CMD_JOURNAL, &CMD_DATABASE};

static const struct cli_option HELP = {"help", 'h', NULL, 0, "Show this help text"};

/* ---- help ---- */

static void print_version(void) {
    printf("SMP server v%s / %s\n", SMP_SERVER_VERSION, SMP_SERVER_COMMIT);
}

static bool may_lack_value(const struct cli_option *o) {
    return o->metavar != NULL && o->metavar[0] == '[';
}

/* "--name", "--name VALUE" or "--name[=VALUE]" */
static void print_option(const struct cli_option *o) {
    char left[128];
    const char *metavar = o->metavar != NULL ? o->metavar : "";
    const char *joint = may_lack_value(o) ? "[=" : *metavar != '\0' ? " " : "";
    const char letter[] = {'-', o->letter, ',', '\0'};
    (void)snprintf(left, sizeof left, "  %s--%s%s%s", o->letter != 0 ? letter : "", o->name, joint,
                   metavar + (may_lack_value(o) ? 1 : 0));
    if (strlen(left) > CLI_HELP_COLUMN - 2) {
        printf("%s\n%*s", left, CLI_HELP_COLUMN, "");
    } else {
        printf("%-*s", CLI_HELP_COLUMN, left);
    }
    for (const char *line = o->help; *line != '\0';) {
        const size_t len = strcspn(line, "\n");
        if (line != o->help) printf("%*s", CLI_HELP_COLUMN, "");
        printf("%.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
}

static void print_help(void) {
    print_version();
    printf("\nUsage: smp-server COMMAND [OPTIONS]\n\nCommands:\n");
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++) {
        printf("  %-10s %s\n", COMMANDS[i]->name, COMMANDS[i]->summary);
    }
    printf("\nOptions:\n");
    print_option(&HELP);
    print_option(&(struct cli_option){"version", 'v', NULL, 0, "Show version"});
    printf("\n`smp-server COMMAND -h` shows the options of a command.\n"
           "Directories: SMP_SERVER_CFG_PATH (default /etc/opt/simplex) and SMP_SERVER_LOG_PATH\n"
           "(default /var/opt/simplex).\n");
}

static void print_command_help(const struct command *c) {
    printf("Usage: smp-server %s [OPTIONS]%s%s\n\n  %s\n\nOptions:\n", c->name,
           c->operand != NULL ? " " : "", c->operand != NULL ? c->operand : "", c->summary);
    for (size_t i = 0; i < c->n_options; i++) print_option(&c->options[i]);
    print_option(&HELP);
}

static void print_group_help(const struct command *c) {
    printf("Usage: smp-server %s COMMAND [OPTIONS]\n\n  %s\n\nCommands:\n", c->name, c->summary);
    for (size_t i = 0; i < c->n_commands; i++) {
        printf("  %-16s %s\n", c->commands[i].name, c->commands[i].summary);
    }
    printf("\nOptions:\n");
    print_option(&HELP);
}

/* ---- arguments ---- */

/* The tables of getopt_long(3), made from ours. Option i has the value CLI_FIRST_LONG + i, whether
 * it is given by name or by letter. */
struct getopt_tables {
    struct option names[CLI_OPTIONS_MAX + 2];
    char letters[2 * CLI_OPTIONS_MAX + 4];
};

static void make_tables(const struct command *c, struct getopt_tables *ret) {
    assert(c->n_options <= CLI_OPTIONS_MAX);
    /* ':' makes getopt tell a missing value from a wrong option */
    *ret = (struct getopt_tables){.letters = ":h"};
    size_t at = strlen(ret->letters);
    for (size_t i = 0; i < c->n_options; i++) {
        const struct cli_option *o = &c->options[i];
        const int kind = o->metavar == NULL  ? no_argument
                         : may_lack_value(o) ? optional_argument
                                             : required_argument;
        ret->names[i] = (struct option){o->name, kind, NULL, CLI_FIRST_LONG + (int)i};
        if (o->letter == 0) continue;
        ret->letters[at++] = o->letter;
        if (kind != no_argument) ret->letters[at++] = ':';
    }
    ret->names[c->n_options] = (struct option){HELP.name, no_argument, NULL, HELP.letter};
}

static size_t index_of(const struct command *c, int found) {
    if (found >= CLI_FIRST_LONG) return (size_t)(found - CLI_FIRST_LONG);
    size_t i = 0;
    while (c->options[i].letter != (char)found) i++;
    return i;
}

/* The argument that getopt has just refused, as it was written. */
static enum err refuse(const struct command *c, int found, char **argv, struct problem *p) {
    const char *written = argv[optind - 1];
    char letter[] = {'-', (char)optopt, '\0'};
    const bool is_letter = optopt > 0 && optopt < CLI_FIRST_LONG;
    const char *name = is_letter && strncmp(written, "--", 2) != 0 ? letter : written;
    if (found == ':') {
        return problem_set(p, E_CONFIG, "option %s needs a value: see `smp-server %s -h`", name,
                           c->name);
    }
    return problem_set(p, E_CONFIG,
                       "option %s of `smp-server %s` is unknown or wrongly used: see `smp-server "
                       "%s -h`",
                       name, c->name, c->name);
}

static void store(const struct cli_option *o, void *args) {
    void *field = (char *)args + o->offset;
    if (o->metavar != NULL) {
        const char **text = field;
        *text = optarg != NULL ? optarg : "";
    } else {
        bool *is_on = field;
        *is_on = true;
    }
}

/* An argument that belongs to no option. It may be meant as the value of one that needs none. */
static enum err refuse_argument(const struct command *c, const char *word, struct problem *p) {
    bool some_may = false;
    for (size_t i = 0; i < c->n_options; i++) some_may |= may_lack_value(&c->options[i]);
    return problem_set(p, E_CONFIG,
                       "`smp-server %s` takes no %sargument \"%s\"%s: see `smp-server %s -h`",
                       c->name, c->operand != NULL ? "further " : "", word,
                       some_may ? " (is a = missing before it?)" : "", c->name);
}

/* Fills in args from argv[1] on. *ret_help: help was asked for, nothing else matters. */
static enum err parse_args(const struct command *c, int argc, char **argv, void *args,
                           bool *ret_help, struct problem *p) {
    struct getopt_tables t;
    make_tables(c, &t);
    opterr = 0;
    optind = 0; /* glibc: start anew */
    int found = 0;
    while ((found = getopt_long(argc, argv, t.letters, t.names, NULL)) != -1) {
        if (found == '?' || found == ':') return refuse(c, found, argv, p);
        if (found == HELP.letter) {
            *ret_help = true;
            return OK;
        }
        store(&c->options[index_of(c, found)], args);
    }
    if (optind < argc && c->operand != NULL) {
        *(const char **)(void *)((char *)args + c->operand_offset) = argv[optind++];
    }
    return optind < argc ? refuse_argument(c, argv[optind], p) : OK;
}

/* The run-time system of the reference takes arguments between +RTS and -RTS, which service files
 * have: they mean nothing here. Returns the number of arguments left. */
static int drop_rts(int argc, char **argv) {
    int kept = 1;
    bool is_inside = false, was_inside = false;
    for (int i = 1; i < argc; i++) {
        const bool is_end = is_inside && strcmp(argv[i], "-RTS") == 0;
        if (!is_inside && strcmp(argv[i], "+RTS") == 0) is_inside = was_inside = true;
        if (!is_inside) argv[kept++] = argv[i];
        if (is_end) is_inside = false;
    }
    argv[kept] = NULL;
    if (was_inside) fprintf(stderr, "Note: arguments between +RTS and -RTS are ignored.\n");
    return kept;
}

/* Says what is wrong; returns the exit status. */
static int fail(enum err e, const struct problem *p) {
    fprintf(stderr, "Error: %s\n", p->text[0] != '\0' ? p->text : err_meaning(e));
    return 1;
}

static int run_command(const struct command *c, int argc, char **argv) {
    alignas(max_align_t) char args[CLI_ARGS_MAX] = {0};
    assert(c->args_len <= sizeof args);
    struct problem problem = {0};
    bool help = false;
    enum err e = parse_args(c, argc, argv, args, &help, &problem);
    if (e == OK && help) {
        print_command_help(c);
        return 0;
    }
    struct paths paths;
    if (e == OK) e = paths_init(&paths, &problem);
    if (e == OK && crypto_init() != OK) {
        e = problem_set(&problem, E_CRYPTO,
                        "OpenSSL 3 or libsodium does not work here: install them anew");
    }
    if (e == OK) e = c->run(args, &paths, &problem);
    return e == OK ? 0 : fail(e, &problem);
}

static bool is_help(const char *word) {
    return strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0;
}

/* group: NULL, or the command that the word should be one of. */
static int fail_unknown(const char *word, const char *group) {
    struct problem p;
    const enum err e = problem_set(&p, E_CONFIG, "unknown %s %s: see `smp-server %s%s-h`",
                                   word[0] == '-' ? "option" : "command", word,
                                   group != NULL ? group : "", group != NULL ? " " : "");
    return fail(e, &p);
}

/* argv[0] is the name of the group. */
static int run_group(const struct command *c, int argc, char **argv) {
    if (argc < 2 || is_help(argv[1])) {
        print_group_help(c);
        return argc < 2 ? 1 : 0;
    }
    const char *word = argv[1];
    for (size_t i = 0; i < c->n_commands; i++) {
        const char *name = c->commands[i].name + strlen(c->name) + 1;
        if (strcmp(word, name) == 0) return run_command(&c->commands[i], argc - 1, argv + 1);
    }
    return fail_unknown(word, c->name);
}

int cli_main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0); /* lines are waited for by those who read our output */
    argc = drop_rts(argc, argv);
    if (argc < 2) {
        print_help();
        return 1;
    }
    const char *word = argv[1];
    if (is_help(word)) {
        print_help();
        return 0;
    }
    if (strcmp(word, "-v") == 0 || strcmp(word, "--version") == 0) {
        print_version();
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++) {
        const struct command *c = COMMANDS[i];
        if (strcmp(word, c->name) != 0) continue;
        const bool is_group = c->commands != NULL;
        return is_group ? run_group(c, argc - 1, argv + 1) : run_command(c, argc - 1, argv + 1);
    }
    return fail_unknown(word, NULL);
}
