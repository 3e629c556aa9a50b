/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_place.c -- are the files still where they are looked for? A directory or file that is
 * removed, replaced or unmounted under the server takes with it what is still acknowledged. */
#include <stdio.h>
#include <string.h>

#include "store/files/files_priv.h"

static enum err note(const struct files_store *m, const char *path, struct place *ret) {
    const int n = snprintf(ret->path, sizeof ret->path, "%s", path);
    if (n < 0 || (size_t)n >= sizeof ret->path) return E_LIMIT;
    return m->o.vfs->identity(m->o.vfs->ctx, ret->path, &ret->id);
}

static enum err note_directory_of(const struct files_store *m, const char *file,
                                  struct place *ret) {
    char path[NEW_FILE_PATH_MAX];
    const char *slash = strrchr(file, '/');
    if (slash == NULL) return note(m, ".", ret);
    const size_t n = slash == file ? 1 : (size_t)(slash - file);
    if (n >= sizeof path) return E_LIMIT;
    memcpy(path, file, n);
    path[n] = '\0';
    return note(m, path, ret);
}

enum err files_note_places(struct files_store *m) {
    enum err e = note_directory_of(m, m->o.store_log, &m->state_place);
    if (e == OK && m->journal != NULL) e = note(m, m->o.journal_dir, &m->journal_place);
    return e;
}

static bool is_there(const struct files_store *m, const struct place *p) {
    struct vfs_identity now;
    if (p->path[0] == '\0') return true; /* not noted */
    return m->o.vfs->identity(m->o.vfs->ctx, p->path, &now) == OK && now.device == p->id.device &&
           now.inode == p->id.inode;
}

const char *files_missing(void *ctx) {
    const struct files_store *m = ctx;
    if (!is_there(m, &m->state_place)) return m->state_place.path;
    if (!store_log_is_in_place(m->log)) return m->o.store_log;
    if (!is_there(m, &m->journal_place)) return m->journal_place.path;
    return m->journal != NULL ? journal_missing(m->journal) : NULL;
}
