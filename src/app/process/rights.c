/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/process/rights.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/log.h"

/* What root needs for files that another user owns. */
static const uint64_t FILE_CAPS = CAPS_BIT(CAP_DAC_OVERRIDE) | CAPS_BIT(CAP_DAC_READ_SEARCH) |
                                  CAPS_BIT(CAP_FOWNER) | CAPS_BIT(CAP_CHOWN);

static uint64_t caps_of_user(void) {
    return geteuid() == 0 ? FILE_CAPS : 0;
}

/* Capabilities that are permitted stay so; PR_SET_KEEPCAPS ends with the next program. */
static enum err become(const struct passwd *user, struct problem *p) {
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && initgroups(user->pw_name, user->pw_gid) == 0 &&
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) == 0 &&
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) == 0 &&
        prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0) {
        return OK;
    }
    return problem_sys(p, "cannot become the user %s ([PROCESS] user)", user->pw_name);
}

static enum err become_named(const char *name, struct problem *p) {
    errno = 0;
    const struct passwd *user = getpwnam(name); /* one thread is there */
    if (user != NULL) return become(user, p);
    return problem_set(p, E_CONFIG,
                       "[PROCESS] user: there is no user \"%.64s\": make one with `useradd "
                       "--system %.64s`, or name another",
                       name, name);
}

/* A filter of system calls around the server may refuse this: no reason to serve nobody. */
static void keep(uint64_t set) {
    if (caps_keep(set) == OK) return;
    log_line(LOG_WARN, "rights", "capabilities=kept error=\"%s\"", strerror(errno));
}

enum err rights_begin(const char *user, struct problem *ret_problem) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return problem_sys(ret_problem, "cannot do without new privileges");
    if (user[0] != '\0' && geteuid() == 0) {
        const enum err e = become_named(user, ret_problem);
        if (e != OK) return e;
    }
    keep(CAPS_PORTS | caps_of_user());
    return OK;
}

void rights_end(void) {
    keep(caps_of_user());
}
