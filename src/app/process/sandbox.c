/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/process/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app/process/syscalls.h"

/* ---- memory ---- */

/* What looks for leaks does it as a debugger does. */
#if defined(__SANITIZE_ADDRESS__)
static const bool WATCHED = true;
#else
static const bool WATCHED = false;
#endif

enum err sandbox_keep_memory(struct sandbox_state *ret, struct problem *ret_problem) {
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0 ||
        (!WATCHED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)) {
        return problem_sys(ret_problem, "cannot do without core files");
    }
    ret->dumps = true;
    return OK;
}

/* ---- files ---- */

/* The kernel's interface, in numbers that are the same everywhere: headers may be older than it. */
enum {
    NR_CREATE_RULESET = 444,
    NR_ADD_RULE = 445,
    NR_RESTRICT_SELF = 446,
    CREATE_RULESET_VERSION = 1,
    RULE_PATH_BENEATH = 1,
};

struct ruleset {
    uint64_t handled;
};

struct __attribute__((packed)) path_rule {
    uint64_t allowed;
    int32_t fd;
};

enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REMOVE_DIR = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_DIR = 1 << 7,
    MAKE_REG = 1 << 8,
    ALL_OF_1 = (1 << 13) - 1,
    REFER = 1 << 13,    /* version 2: rename from one directory to another */
    TRUNCATE = 1 << 14, /* version 3 */
    OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE,
    READS = READ_FILE | READ_DIR,
    WRITES = READS | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER,
};

/* What libraries read: names, certificates of authorities, themselves, time zones, the kernel's
 * figures. */
static const char *const SYSTEM_PATHS[] = {"/etc",   "/usr",       "/lib",       "/lib32",
                                           "/lib64", "/nix/store", "/gnu/store", "/run",
                                           "/proc",  "/sys",       "/dev"};

static const char *const DEVICES[] = {"/dev/null", "/dev/full"};

/* Version 1 cannot let anybody rename between directories, so it never does; nothing here does. */
static uint64_t handled_by(long version) {
    uint64_t all = ALL_OF_1;
    if (version >= 2) all |= REFER;
    if (version >= 3) all |= TRUNCATE;
    return all;
}

static enum err allow(int rules, uint64_t handled, const char *path, uint64_t wanted,
                      struct problem *p) {
    struct stat st;
    const int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES)) return OK;
    if (fd < 0 || fstat(fd, &st) != 0)
        return problem_sys(p, "cannot open %s for the sandbox", path);
    if (!S_ISDIR(st.st_mode)) wanted &= OF_FILES;
    const struct path_rule rule = {wanted & handled, fd};
    const long r = syscall(NR_ADD_RULE, rules, RULE_PATH_BENEATH, &rule, 0);
    const int number = errno;
    (void)close(fd);
    errno = number;
    return r == 0 ? OK : problem_sys(p, "cannot let %s into the sandbox", path);
}

static enum err allow_all(int rules, uint64_t handled, const struct sandbox_paths *paths,
                          struct problem *p) {
    enum err e = OK;
    for (size_t i = 0; i < ARRAY_LEN(DEVICES) && e == OK; i++)
        e = allow(rules, handled, DEVICES[i], READ_FILE | WRITE_FILE, p);
    for (size_t i = 0; i < ARRAY_LEN(SYSTEM_PATHS) && e == OK; i++)
        e = allow(rules, handled, SYSTEM_PATHS[i], READS, p);
    for (size_t i = 0; i < paths->n_read && e == OK; i++)
        e = allow(rules, handled, paths->read[i], READS, p);
    for (size_t i = 0; i < paths->n_write && e == OK; i++)
        e = allow(rules, handled, paths->write[i], WRITES, p);
    return e;
}

static enum err restrict_files(const struct sandbox_paths *paths, bool *ret, struct problem *p) {
    const long version = syscall(NR_CREATE_RULESET, NULL, 0, CREATE_RULESET_VERSION);
    if (version < 1) return OK; /* not in this kernel, switched off, or not for us to use */
    const struct ruleset set = {handled_by(version)};
    const int rules = (int)syscall(NR_CREATE_RULESET, &set, sizeof set, 0);
    if (rules < 0) return problem_sys(p, "cannot make the sandbox");
    enum err e = allow_all(rules, set.handled, paths, p);
    if (e == OK && syscall(NR_RESTRICT_SELF, rules, 0) != 0)
        e = problem_sys(p, "cannot enter the sandbox");
    (void)close(rules);
    *ret = e == OK;
    return e;
}

enum err sandbox_enter(const struct sandbox_paths *paths, struct sandbox_state *ret,
                       struct problem *ret_problem) {
    const enum err e = restrict_files(paths, &ret->files, ret_problem);
    return e == OK ? syscalls_restrict(&ret->syscalls, ret_problem) : e;
}
