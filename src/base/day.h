/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* day.h -- days of UTC have no leap seconds here, as with POSIX: all are of one length. */
#pragma once

enum { DAY_S = 86400 };
