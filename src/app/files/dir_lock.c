/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/files/dir_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/files/proc_line.h"

/* "1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF" */
static bool parse_lock(char *line, uint64_t inode, uint64_t *ret_owner) {
    enum { KIND = 1, OWNER = 4, FILE_ID = 5 };
    struct proc_line l;
    uint64_t major = 0, minor = 0, locked = 0;
    proc_split(line, &l);
    if (l.n <= FILE_ID || strcmp(l.words[KIND], "FLOCK") != 0) return false;
    const char *id = l.words[FILE_ID];
    return proc_number(&l.words[OWNER], 10, 0, ret_owner) && proc_number(&id, 16, 0, &major) &&
           proc_number_after(&id, ':', 16, &minor) && proc_number_after(&id, ':', 10, &locked) &&
           locked == inode;
}

long dir_lock_owner(int fd) {
    struct stat st;
    char line[256];
    uint64_t owner = 0;
    FILE *locks = fstat(fd, &st) == 0 ? fopen("/proc/locks", "re") : NULL;
    if (locks == NULL) return 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, locks) != NULL)
        found = parse_lock(line, st.st_ino, &owner);
    (void)fclose(locks);
    return found ? (long)owner : 0;
}

enum err dir_lock(const char *dir, const char *remedy, int *ret_fd, struct problem *ret_problem) {
    *ret_fd = -1;
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return OK;
    const bool is_taken = flock(fd, LOCK_EX | LOCK_NB) != 0;
    if (!is_taken) {
        *ret_fd = fd;
        return OK;
    }
    const bool has_owner = errno == EWOULDBLOCK;
    if (has_owner) {
        (void)problem_set(ret_problem, E_EXISTS,
                          "another smp-server (process %ld) uses the directory %s: stop it first%s",
                          dir_lock_owner(fd), dir, remedy);
    }
    (void)close(fd);
    return has_owner ? E_EXISTS : OK;
}
