/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/terminal/prompt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t was_interrupted;

static void on_interrupt(int number) {
    (void)number;
    was_interrupted = 1;
}

/* One byte of the input; false at its end and after Ctrl-C. SIGINT is blocked but while ppoll()
 * waits, so none gets lost between a check and the wait. */
static bool read_byte(const sigset_t *while_waiting, char *ret) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    while (was_interrupted == 0) {
        if (ppoll(&in, 1, NULL, while_waiting) < 0) {
            if (errno == EINTR) continue;
            return false;
        }
        const ssize_t n = read(STDIN_FILENO, ret, 1);
        if (n >= 0 || errno != EINTR) return n == 1;
    }
    return false;
}

enum line { LINE_WHOLE, LINE_TOO_LONG, LINE_NONE };

/* A last line that lacks its end counts: that is how scripts and Ctrl-D leave it. */
static enum line read_line(const sigset_t *while_waiting, char *ret, size_t cap) {
    size_t n = 0;
    char c = 0;
    bool some = false;
    while (read_byte(while_waiting, &c)) {
        some = true;
        if (c == '\n') break;
        if (n < cap) ret[n++] = c;
    }
    if (!some || was_interrupted != 0) return LINE_NONE;
    if (n == cap) return LINE_TOO_LONG;
    ret[n] = '\0';
    return LINE_WHOLE;
}

/* Who has seen the question can press Ctrl-C: it is caught from before that on. */
static enum line ask(const char *text, char *ret, size_t cap) {
    sigset_t interrupt, before, waiting;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    waiting = before;
    sigdelset(&waiting, SIGINT);
    struct sigaction act = {.sa_handler = on_interrupt}, old;
    sigaction(SIGINT, &act, &old);
    was_interrupted = 0;
    printf("%s", text);
    (void)fflush(stdout);
    const enum line line = read_line(&waiting, ret, cap);
    sigaction(SIGINT, &old, NULL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return line;
}

static void strip(char *s) {
    static const char BLANKS[] = " \t\r";
    const size_t lead = strspn(s, BLANKS);
    size_t n = strlen(s + lead);
    memmove(s, s + lead, n + 1);
    while (n > 0 && strchr(BLANKS, s[n - 1]) != NULL) s[--n] = '\0';
}

static enum err explain_end(struct problem *p) {
    if (isatty(STDOUT_FILENO) != 0) printf("\n"); /* the message gets a line of its own */
    return problem_set(p, E_CLOSED, "nothing was done: %s",
                       was_interrupted != 0 ? "interrupted" : "the input ended before the answer");
}

enum err prompt_line(const char *text, char *ret, size_t cap, struct problem *ret_problem) {
    while (true) {
        const enum line line = ask(text, ret, cap);
        if (line == LINE_WHOLE) {
            strip(ret);
            return OK;
        }
        if (line == LINE_NONE) break;
        printf("The answer is too long: it must be at most %zu characters\n", cap - 1);
    }
    return explain_end(ret_problem);
}

enum err prompt_yes_no(const char *text, bool otherwise, bool *ret, struct problem *ret_problem) {
    char question[128], answer[16];
    (void)snprintf(question, sizeof question, "%s (%s): ", text, otherwise ? "Yn" : "yN");
    while (true) {
        const enum line line = ask(question, answer, sizeof answer);
        if (line == LINE_NONE) return explain_end(ret_problem);
        if (line == LINE_TOO_LONG) (void)snprintf(answer, sizeof answer, "no answer");
        strip(answer);
        const bool yes = strcmp(answer, "y") == 0 || strcmp(answer, "Y") == 0;
        const bool no = strcmp(answer, "n") == 0 || strcmp(answer, "N") == 0;
        if (yes || no || *answer == '\0') {
            *ret = yes || (!no && otherwise);
            return OK;
        }
        printf("Please answer `y` or `n`, or press Enter for `%s`\n", otherwise ? "y" : "n");
    }
}

enum err prompt_confirm(const char *text, const char *word, struct problem *ret_problem) {
    char answer[32];
    const enum err e = prompt_line(text, answer, sizeof answer, ret_problem);
    if (e == OK && strcmp(answer, word) == 0) return OK;
    return problem_set(ret_problem, E_CLOSED, "nothing was done: the answer was not `%s`", word);
}
