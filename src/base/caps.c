/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/caps.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(CAP_NET_BIND_SERVICE == 10, "CAPS_PORTS");

/* The kernel's form of a set: two words of 32 bits. */
struct caps {
    struct __user_cap_header_struct head;
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static bool read_caps(struct caps *ret) {
    *ret = (struct caps){.head = {_LINUX_CAPABILITY_VERSION_3, 0}};
    return syscall(SYS_capget, &ret->head, ret->data) == 0;
}

static uint64_t permitted(const struct caps *c) {
    return c->data[0].permitted | (uint64_t)c->data[1].permitted << 32;
}

uint64_t caps_have(void) {
    struct caps c;
    return read_caps(&c) ? permitted(&c) : 0;
}

enum err caps_keep(uint64_t set) {
    struct caps c;
    if (!read_caps(&c)) return E_SYS;
    const uint64_t kept = permitted(&c) & set;
    if (kept == permitted(&c)) return OK;
    /* While the right to do so is there; an unknown number ends the list. */
    for (unsigned i = 0; i < 64; i++) {
        if ((set & CAPS_BIT(i)) == 0 && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0) break;
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        const uint32_t word = (uint32_t)(kept >> (32 * i));
        c.data[i] = (struct __user_cap_data_struct){word, word, 0};
    }
    return syscall(SYS_capset, &c.head, c.data) == 0 ? OK : E_SYS;
}
