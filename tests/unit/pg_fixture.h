/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* pg_fixture.h -- a PostgreSQL of a test program's own, in a temporary directory: reached by a
 * socket there, by nobody else. The machine's own, if there is one, is not touched. */
#pragma once

#include <sys/types.h>

/* Makes and starts it; aborts, saying why, when that cannot be done. It ends with this process. */
void pg_begin(void);
void pg_end(void);
const char *pg_connection(void); /* as db_connection; static */
/* Statements, as its superuser; aborts when one fails. */
void pg_sql(const char *sql);
/* The one value of the one row, as text; static, until the next. */
const char *pg_value(const char *sql);
pid_t pg_pid(void);
/* As after a crash (SIGQUIT), and once more. */
void pg_crash(void);
void pg_start(void);
