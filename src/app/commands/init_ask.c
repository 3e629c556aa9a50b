/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/commands/init_ask.h"

#include <stdio.h>
#include <string.h>

#include "app/terminal/prompt.h"
#include "crypto/crypto.h"
#include "net/addr.h"

enum { QUESTION_MAX = CONF_TEXT_MAX + PATH_MAX }; /* bytes; a default is a part of it */

void init_answers_done(struct init_answers *a) {
    crypto_wipe(a->password, sizeof a->password);
}

/* Asks until the answer is empty or check() accepts it. */
static enum err ask(const char *question, enum err (*check)(const char *, struct problem *),
                    char *ret, size_t cap, struct problem *p) {
    while (true) {
        enum err e = prompt_line(question, ret, cap, p);
        if (e != OK || *ret == '\0') return e;
        struct problem why = {0};
        if (check(ret, &why) == OK) return OK;
        printf("The answer %s\n", why.text);
    }
}

static enum err ask_storage(struct init_args *a, struct problem *p) {
    bool on_disk = false;
    enum err e = prompt_yes_no("Enable store log to restore queues and messages on server restart",
                               !a->disable_store_log, &on_disk, p);
    if (e != OK) return e;
    a->store_log = on_disk;
    a->disable_store_log = !on_disk;
    return prompt_yes_no("Enable logging daily statistics", a->daily_stats, &a->daily_stats, p);
}

/* Enter is what the options say, and without them a random password. */
static enum err ask_password(struct init_args *a, struct init_answers *to, struct problem *p) {
    const char *question =
        a->no_password ? "'r' for random, 'n' - no password (default, recommended for public "
                         "servers), or enter password: "
        : a->password != NULL
            ? "'r' for random, 'n' - no password (recommended for public servers), or enter "
              "password (default is that of the option): "
            : "'r' for random (default), 'n' - no password (recommended for public servers), or "
              "enter password: ";
    printf("Require a password to create new messaging queues?\n");
    const enum err e = ask(question, init_check_password, to->password, sizeof to->password, p);
    if (e != OK || *to->password == '\0') return e;
    a->no_password = strcmp(to->password, "n") == 0;
    const bool is_random = strcmp(to->password, "r") == 0;
    a->password = a->no_password || is_random ? NULL : to->password;
    return OK;
}

static enum err ask_host(struct init_args *a, struct init_answers *to, struct problem *p) {
    char question[QUESTION_MAX];
    const char *ip = a->ip != NULL ? a->ip : INIT_DEFAULT_IP;
    (void)snprintf(question, sizeof question,
                   "Enter server FQDN or IP address for certificate (%s): ",
                   a->fqdn != NULL ? a->fqdn : ip);
    const enum err e = ask(question, init_check_host, to->host, sizeof to->host, p);
    if (e != OK || *to->host == '\0') return e;
    const bool is_ip = addr_is_ip(to->host);
    a->ip = is_ip ? to->host : a->ip;
    a->fqdn = is_ip ? NULL : to->host;
    return OK;
}

static enum err ask_source_code(struct init_args *a, struct init_answers *to, struct problem *p) {
    char question[QUESTION_MAX];
    const bool is_given = a->source_code != NULL && *a->source_code != '\0';
    const char *otherwise = is_given ? a->source_code : NULL;
    (void)snprintf(question, sizeof question,
                   "Enter server source code URI (%s): ", is_given ? otherwise : "none");
    const enum err e =
        ask(question, init_check_source_code, to->source_code, sizeof to->source_code, p);
    if (e == OK) a->source_code = *to->source_code != '\0' ? to->source_code : otherwise;
    return e;
}

/* Enter leaves it to the default of the setting, which the question shows. */
static enum err ask_web_path(const struct paths *paths, struct init_args *a,
                             struct init_answers *to, struct problem *p) {
    char question[QUESTION_MAX];
    (void)snprintf(question, sizeof question,
                   "Enter path to store generated server pages to show connection links (%s%s): ",
                   a->web_path != NULL ? a->web_path : paths->state,
                   a->web_path != NULL ? "" : "/www");
    const enum err e = ask(question, init_check_web_path, to->web_path, sizeof to->web_path, p);
    if (e == OK && *to->web_path != '\0') a->web_path = to->web_path;
    return e;
}

enum err init_ask(const struct paths *paths, struct init_args *a, struct init_answers *ret,
                  struct problem *ret_problem) {
    char ignored[CONF_TEXT_MAX];
    enum err e = prompt_line("SMP server will be initialized (press Enter)", ignored,
                             sizeof ignored, ret_problem);
    if (e == OK) e = ask_storage(a, ret_problem);
    if (e == OK) e = ask_password(a, ret, ret_problem);
    if (e == OK) e = ask_host(a, ret, ret_problem);
    if (e == OK) e = ask_source_code(a, ret, ret_problem);
    if (e == OK && !a->disable_web) e = ask_web_path(paths, a, ret, ret_problem);
    return e;
}
