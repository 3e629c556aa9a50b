/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The store log, whole: the first byte says whether damage is set aside. */
#include "fuzz_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    struct faultfs *fs = faultfs_new(1);
    faultfs_put(fs, FUZZ_LOG, bytes_of(data + 1, size - 1));
    fuzz_store(fs, false, (data[0] & 1) != 0);
    return 0;
}
