/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/begin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

void begin_process(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        /* The lowest that is free: all below are open by now. */
        if (open("/dev/null", O_RDWR) != fd) _exit(1);
    }
    (void)signal(SIGPIPE, SIG_IGN);
}
