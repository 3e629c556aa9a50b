/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* notify.h -- tells the service manager how the server stands: systemd's sd_notify(3) protocol, a
 * datagram to the socket named by $NOTIFY_SOCKET, without its library. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* "READY=1", "STOPPING=1", ... Nothing when there is no such socket; failures are logged, not
 * fatal. A manager that does not read is waited for one second. */
void notify_send(const char *state);
/* "RELOADING=1", for Type=notify-reload; "READY=1" ends it. mono_ms: the monotonic clock. */
void notify_reloading(int64_t mono_ms);
/* "EXTEND_TIMEOUT_USEC=...": what has begun takes so long yet, whatever the unit's time limit. */
void notify_takes(unsigned ms);
bool notify_is_heard(void); /* there is such a socket */
/* After how many milliseconds to send "WATCHDOG=1" again: a quarter of the time after which the
 * manager takes the server for dead ($WATCHDOG_USEC); 0: never. */
int64_t notify_watchdog_ms(void);
