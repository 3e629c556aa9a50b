/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_priv.h -- what handlers of several families share. */
#pragma once

#include "relay/session/request.h"
#include "store/records.h"

/* Tells whoever was subscribed to a notifier that it is gone. cmd_ntf.c */
void send_notifier_gone(const struct request *rq, const struct sub_ended *ended);
/* Makes a key pair and agrees with theirs. E_CRYPTO: theirs is of low order. cmd_queue.c */
MUST_USE enum err agree_secret(const struct env *env, const struct pubkey *theirs,
                               uint8_t ret_secret[X25519_LEN], uint8_t ret_pub[X25519_LEN]);
