/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* attr.h -- compiler attributes and the two ownership helpers of the house style.
 *
 * CLEANUP(f) runs f(&variable) when the variable leaves its scope; STEAL(p) hands the pointer on
 * and leaves NULL behind, so that every early return is correct. */
#pragma once

#include <stddef.h>

#define MUST_USE                __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define CLEANUP(f)              __attribute__((cleanup(f)))

/* The struct that embeds `member` at ptr. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline void *attr_steal(void *pp) {
    void **slot = pp;
    void *p = *slot;
    *slot = NULL;
    return p;
}
#define STEAL(p) attr_steal(&(p))
