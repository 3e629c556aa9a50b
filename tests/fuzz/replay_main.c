/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * replay_main.c -- runs a fuzz target on files, without libFuzzer, and reports in TAP.
 *
 * Linked with one target; the arguments are folders whose files (not those of subfolders) are fed
 * to it one by one, in the order of their names. The empty input is always tried, so that a target
 * without seeds is run too. A target that fails aborts: then the plan, which comes last, is
 * missing, and the last "#" line names the input. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_plain_name(const struct dirent *d) {
    return d->d_name[0] != '.';
}

/* Returns the content of the file in memory that the caller frees, exactly as long as the content
 * so that a sanitizer sees a read beyond it; NULL if it cannot be read. */
static uint8_t *read_file(const char *path, size_t *ret_size) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) return NULL;
    uint8_t *data = NULL;
    long size = -1;
    if (fseek(f, 0, SEEK_END) == 0) size = ftell(f);
    if (size >= 0 && fseek(f, 0, SEEK_SET) == 0) {
        *ret_size = (size_t)size;
        data = malloc(*ret_size != 0 ? *ret_size : 1);
        if (data != NULL && fread(data, 1, *ret_size, f) != *ret_size) {
            free(data);
            data = NULL;
        }
    }
    (void)fclose(f);
    return data;
}

/* Feeds one file; prints its result as test number n. */
static void replay_file(const char *dir, const char *name, int n) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    printf("# %s\n", path);
    size_t size = 0;
    uint8_t *data = read_file(path, &size);
    if (data == NULL) {
        printf("not ok %d - %s (cannot be read)\n", n, name);
        return;
    }
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    printf("ok %d - %s\n", n, name);
}

int main(int argc, char **argv) {
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* the "#" line must be out before a crash */
    int n = 1;
    printf("# empty input\n");
    uint8_t *nothing = malloc(1);
    if (nothing == NULL) return EXIT_FAILURE;
    (void)LLVMFuzzerTestOneInput(nothing, 0);
    free(nothing);
    printf("ok %d - empty input\n", n);
    for (int i = 1; i < argc; i++) {
        struct dirent **entries = NULL;
        int n_entries = scandir(argv[i], &entries, is_plain_name, alphasort);
        for (int j = 0; j < n_entries; j++) {
            replay_file(argv[i], entries[j]->d_name, ++n);
            free(entries[j]);
        }
        free(entries);
    }
    printf("1..%d\n", n); /* TAP allows the plan at the end */
    return EXIT_SUCCESS;
}
