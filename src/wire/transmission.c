/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "wire/transmission.h"

#include "crypto/authz.h"

enum err batch_split(struct bytes content, struct bytes ret[SMP_BATCH_MAX], unsigned *ret_n) {
    struct rd r = rd_init(content);
    const unsigned n = rd_list(&r);
    for (unsigned i = 0; i < n && r.err == OK; i++) ret[i] = rd_large(&r);
    if (rd_end(&r) != OK) return E_BLOCK;
    *ret_n = n;
    return OK;
}

/* An empty authorization also says that there is no service signature. */
void transmission_begin(struct wr *w, const struct wire_params *p, struct bytes corr_id,
                        struct bytes entity) {
    wr_u8(w, 0);
    if (!version_has(p->version, V_AUTH_CMDS)) wr_bytes_raw(w, wire_session(p));
    wr_short(w, corr_id);
    wr_short(w, entity);
}

enum err transmission_parse(struct bytes t, const struct wire_params *p, struct transmission *ret) {
    *ret = (struct transmission){0};
    struct transmission parts = {0};
    struct rd r = rd_init(t);
    parts.auth = rd_short(&r);
    if (version_has(p->version, V_SERVICE_CERTS) && parts.auth.n != 0) {
        parts.has_service_sig = rd_maybe(&r);
        if (parts.has_service_sig) parts.service_sig = rd_short(&r);
    }
    bool session_ok = true;
    if (!version_has(p->version, V_AUTH_CMDS)) {
        session_ok = bytes_equal(rd_short(&r), bytes_of(p->session + 1, p->session[0]));
    }
    const size_t signed_from = r.at;
    parts.corr_id = rd_short(&r);
    parts.entity = rd_short(&r);
    parts.command = rd_tail(&r);
    const bool service_ok = !parts.has_service_sig || parts.service_sig.n == ED25519_SIG_LEN;
    if (rd_end(&r) != OK || !service_ok) return E_BLOCK;
    ret->corr_id = parts.corr_id;
    if (!session_ok) return E_SESSION;
    if (!authz_length_ok(parts.auth.n)) return E_BLOCK;
    parts.signed_text = bytes_of(t.p + signed_from, t.n - signed_from);
    *ret = parts;
    return OK;
}
