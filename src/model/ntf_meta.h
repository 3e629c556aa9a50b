/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ntf_meta.h -- what a notification tells, encrypted for the client of the notifier (spec: wire,
 * section 6, "NMSG"). Pure; any thread. */
#pragma once

#include "base/id.h"
#include "crypto/box.h"
#include "crypto/key.h"

enum { NTF_META_PADDED_LEN = 128, NTF_META_LEN = BOX_TAG_LEN + NTF_META_PADDED_LEN }; /* bytes */

void ntf_seal_meta(const uint8_t dh_secret[X25519_LEN], const uint8_t nonce[BOX_NONCE_LEN],
                   const struct id *msg_id, int64_t ts_s, uint8_t ret[NTF_META_LEN]);
