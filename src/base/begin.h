/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* begin.h -- what a program does before anything else, whoever started it and how.
 *
 * A descriptor of 0 to 2 that is closed would go to the first file that is opened, and what is
 * printed would go into that file. A pipe whose reader has gone is an error of the write, not the
 * end of the process. */
#pragma once

/* Opens descriptors 0 to 2 that are closed on /dev/null, and ignores SIGPIPE. Ends the process with
 * status 1 when /dev/null cannot be had. The first line of main(). */
void begin_process(void);
