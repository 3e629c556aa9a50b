/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* crc32c.h -- CRC-32C (Castagnoli, RFC 3720 appendix B.4): finds what a disk got wrong, not what an
 * attacker changed.
 *
 * Start with 0; hand the result on to continue over further bytes. Uses the processor's instruction
 * where there is one. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n);
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n); /* the same by tables; for tests */
/* Do the sums of two texts of n bytes differ by this when they differ in one bit? */
bool crc32c_is_one_bit(uint32_t difference, size_t n);
