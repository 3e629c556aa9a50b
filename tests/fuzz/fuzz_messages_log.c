/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The messages log, or (second bit of the first byte) the notifications log, of a store with two
 * queues; its first bit says whether damage is set aside. */
#include "fuzz_store.h"

/* The second has a notifier. */
static const char LOG[] =
    "CREATE rid=AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
    "rk=MCowBQYDK2VwAyEA2_ahcYg11jPMxXK4ZufrVYMNC3GjMGp6uSqWy7FQNxM= "
    "rdh=R-fa0d0P5fSZ5LcrSJcYEgSb1KG4SmrcgXn51tNhwkc= sid=AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA sk= "
    "queue_mode=M updated_at=1699920000\n"
    "CREATE rid=AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
    "rk=MCowBQYDK2VwAyEA2_ahcYg11jPMxXK4ZufrVYMNC3GjMGp6uSqWy7FQNxM= "
    "rdh=R-fa0d0P5fSZ5LcrSJcYEgSb1KG4SmrcgXn51tNhwkc= sid=BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA sk= "
    "queue_mode=M updated_at=1699920000\n"
    "NOTIFIER AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA BQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
    "MCowBQYDK2VwAyEAgl5UkqyusGzbQXUNIbbw2c3ewZxwbmuTQk5Qpxm_0Kk= "
    "SsfoPN3Uti9g6fWUOW1bK0h_VehWnZNosuKI6PUo2QY=\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    struct faultfs *fs = faultfs_new(1);
    faultfs_put(fs, FUZZ_LOG, bytes_of(LOG, sizeof LOG - 1));
    const char *path = (data[0] & 2) != 0 ? FUZZ_NTFS : FUZZ_MESSAGES;
    faultfs_put(fs, path, bytes_of(data + 1, size - 1));
    fuzz_store(fs, false, (data[0] & 1) != 0);
    return 0;
}
