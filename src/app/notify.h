/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* notify.h -- tells the service manager how the server stands: systemd's sd_notify(3) protocol, a
 * datagram to the socket named by $NOTIFY_SOCKET, without its library. */
#pragma once

/* "READY=1", "STOPPING=1", ... Nothing when there is no such socket; failures are logged, not
 * fatal. */
void notify_send(const char *state);
