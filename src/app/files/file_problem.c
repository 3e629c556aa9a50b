/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/files/file_problem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PASSWD_LEN = 4096 };

/* What is in the way. */
struct culprit {
    char path[PATH_MAX], dir[PATH_MAX]; /* dir: above path */
    uid_t owner, dir_owner;
    mode_t mode;
    bool is_dir, is_far; /* is_far: above the directory of what was wanted */
    bool is_closed;      /* that directory, which cannot be entered */
};

void user_name(uid_t uid, char ret[USER_NAME_MAX]) {
    struct passwd entry, *found = NULL;
    char buf[PASSWD_LEN];
    if (getpwuid_r(uid, &entry, buf, sizeof buf, &found) == 0 && found != NULL) {
        (void)snprintf(ret, USER_NAME_MAX, "%s", found->pw_name);
    } else {
        (void)snprintf(ret, USER_NAME_MAX, "%lu", (unsigned long)uid);
    }
}

static void cut_last(char *path) {
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        (void)snprintf(path, PATH_MAX, ".");
    } else {
        slash[slash == path ? 1 : 0] = '\0';
    }
}

/* The path; the directory that it is in, if the path itself may be used; or the nearest above that
 * can be looked at: what is below one that cannot be entered is not its fault. False when there is
 * none.
 */
static bool find_culprit(const char *path, struct culprit *ret) {
    struct stat st;
    (void)snprintf(ret->path, sizeof ret->path, "%s", path);
    unsigned n_up = 0;
    for (; stat(ret->path, &st) != 0; n_up++) {
        if (strcmp(ret->path, ".") == 0 || strcmp(ret->path, "/") == 0) return false;
        cut_last(ret->path);
    }
    ret->is_far = n_up > 1;
    ret->is_closed = n_up == 1 && faccessat(AT_FDCWD, ret->path, X_OK, AT_EACCESS) != 0;
    const bool may_use = faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == 0;
    if (n_up == 0 && !S_ISDIR(st.st_mode) && may_use) {
        cut_last(ret->path);
        if (stat(ret->path, &st) != 0) return false;
    }
    ret->owner = st.st_uid;
    ret->mode = st.st_mode;
    ret->is_dir = S_ISDIR(st.st_mode);
    memcpy(ret->dir, ret->path, sizeof ret->dir);
    cut_last(ret->dir);
    ret->dir_owner = stat(ret->dir, &st) == 0 ? st.st_uid : 0;
    return true;
}

/* The command. Files of root in a directory of somebody else's server were left by a start as root,
 * and never come alone. */
static void write_remedy(const struct culprit *c, char *ret, size_t cap) {
    char owner[USER_NAME_MAX], dir_owner[USER_NAME_MAX], me[USER_NAME_MAX];
    const uid_t uid = geteuid();
    user_name(c->owner, owner);
    user_name(c->dir_owner, dir_owner);
    user_name(uid, me);
    if (c->owner == uid) {
        (void)snprintf(ret, cap, "`chmod u+rw%s %s`", c->is_dir ? "x" : "", c->path);
    } else if (c->is_far) {
        (void)snprintf(ret, cap, "`chmod a+x %s`, or keep these files elsewhere", c->path);
    } else if (c->is_closed && c->owner != 0) {
        (void)snprintf(ret, cap,
                       "run smp-server as %s if this directory is the server's own; else `chmod "
                       "a+x %s`, or keep these files elsewhere",
                       owner, c->path);
    } else if (c->is_closed && c->dir_owner == 0) {
        (void)snprintf(ret, cap,
                       "`chown %s %s` if this directory is the server's own; else `chmod a+x %s`, "
                       "or keep these files elsewhere",
                       me, c->path, c->path);
    } else if (c->owner != 0) {
        (void)snprintf(ret, cap, "run smp-server as %s, or `chown %s %s`", owner, me, c->path);
    } else if (c->dir_owner != 0) {
        (void)snprintf(ret, cap, "`chown -R %s %s`", dir_owner, c->dir);
    } else {
        (void)snprintf(ret, cap, "`chown %s %s`", me, c->path);
    }
}

static enum err explain_rights(struct problem *ret, const char *what, const char *path, int number,
                               const struct culprit *c) {
    char owner[USER_NAME_MAX], me[USER_NAME_MAX], remedy[3 * PATH_MAX];
    const char *it = strcmp(path, c->path) == 0 ? "it" : c->path;
    user_name(c->owner, owner);
    user_name(geteuid(), me);
    write_remedy(c, remedy, sizeof remedy);
    if (c->owner == geteuid()) {
        return problem_set(ret, E_SYS, "%s %s: %s: %s has the mode %04o: %s", what, path,
                           strerror(number), it, (unsigned)c->mode & 07777, remedy);
    }
    const char *closed = c->is_closed || c->is_far ? " cannot be entered: it" : "";
    return problem_set(ret, E_SYS, "%s %s: %s: %s%s belongs to %s (mode %04o), this is %s: %s",
                       what, path, strerror(number), it, closed, owner, (unsigned)c->mode & 07777,
                       me, remedy);
}

/* Are rights missing, and whose they are is known? */
static bool lacks_rights(const char *path, int number, struct culprit *ret) {
    return (number == EACCES || number == EPERM) && geteuid() != 0 && find_culprit(path, ret);
}

/* A file stands where a directory has to be: the path itself, or one on the way; or a link. */
static enum err explain_no_directory(struct problem *ret, const char *what, const char *path) {
    char file[PATH_MAX];
    struct stat st;
    (void)snprintf(file, sizeof file, "%s", path);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return problem_set(ret, E_SYS,
                           "%s %s: it is a link, and not followed: look at what it "
                           "leads to yourself",
                           what, path);
    while (stat(file, &st) != 0 && strchr(file, '/') != NULL && strcmp(file, "/") != 0)
        cut_last(file);
    return problem_set(ret, E_SYS, "%s %s: %s is not a directory: move it away", what, path, file);
}

enum err file_problem(struct problem *ret, const char *what, const char *path, int number) {
    struct culprit c;
    if (lacks_rights(path, number, &c)) return explain_rights(ret, what, path, number, &c);
    switch (number) {
    case ENOENT:
        return problem_set(ret, E_SYS, "%s %s: %s: restore it from your backup", what, path,
                           strerror(number));
    case EISDIR:
        return problem_set(ret, E_SYS, "%s %s: it is a directory: move it away", what, path);
    case ENOTDIR:
        return explain_no_directory(ret, what, path);
    case ELOOP:
        return problem_set(ret, E_SYS, "%s %s: it is a link: put a file in its place", what, path);
    case EROFS:
        return problem_set(ret, E_SYS,
                           "%s %s: %s: mount it for writing, or name it in ReadWritePaths= of the "
                           "systemd unit",
                           what, path, strerror(number));
    case ENOSPC:
    case EDQUOT:
        return problem_set(ret, E_SYS, "%s %s: %s: make room there", what, path, strerror(number));
    default:
        return problem_set(ret, E_SYS, "%s %s: %s", what, path, strerror(number));
    }
}

enum err new_dir_problem(struct problem *ret, const char *dir, const struct new_dir *wanted,
                         int number) {
    static const char WHAT[] = "cannot make the directory";
    struct culprit c;
    if (number == ENOENT || number == ENOTDIR) {
        return problem_set(ret, E_SYS, "%s %s: %s: choose another place with %s", WHAT, dir,
                           strerror(number), wanted->setting);
    }
    if (!lacks_rights(dir, number, &c) || c.owner == geteuid())
        return file_problem(ret, WHAT, dir, number);
    char owner[USER_NAME_MAX], me[USER_NAME_MAX];
    user_name(c.owner, owner);
    user_name(geteuid(), me);
    return problem_set(ret, E_SYS,
                       "%s %s: %s: %s belongs to %s (mode %04o), this is %s: as root, `install -d "
                       "-o %s -m %03o %s`",
                       WHAT, dir, strerror(number), c.path, owner, (unsigned)c.mode & 07777, me, me,
                       (unsigned)wanted->mode, wanted->path);
}
