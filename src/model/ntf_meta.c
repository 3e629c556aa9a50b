/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "model/ntf_meta.h"

#include "base/wr.h"
#include "crypto/crypto.h"

void ntf_seal_meta(const uint8_t dh_secret[X25519_LEN], const uint8_t nonce[BOX_NONCE_LEN],
                   const struct id *msg_id, int64_t ts_s, uint8_t ret[NTF_META_LEN]) {
    struct wr w = wr_init(ret + BOX_TAG_LEN, NTF_META_PADDED_LEN);
    const size_t mark = wr_mark_u16(&w);
    wr_short(&w, id_bytes(msg_id));
    wr_i64(&w, ts_s);
    wr_close_u16(&w, mark);
    memset(w.p + w.at, '#', wr_left(&w));
    struct box_key key = box_key_from_secret(dh_secret);
    struct box_nonce n;
    memcpy(n.b, nonce, sizeof n.b);
    box_seal(&key, &n, ret, NTF_META_PADDED_LEN);
    crypto_wipe(&key, sizeof key);
}
