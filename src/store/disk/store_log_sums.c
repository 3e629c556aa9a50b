/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_log_sums.c -- the file of checksums: a head, and frames of rows.
 *
 * A frame is added by one write and never synced. What a crash makes of the last ones is no frame,
 * and the file ends there; the next start goes on from it. */
#include "store/disk/store_log_sums.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/rd.h"
#include "base/wr.h"
#include "store/disk/store_log_priv.h"

enum {
    MAGIC_LEN = 8,
    CRC_LEN = 4,
    HEAD_LEN = MAGIC_LEN + SUMS_NAME_LEN + CRC_LEN,
    FRAME_HEAD = 16, /* word64 offset, word32 rows, word32 CRC */
    ROW_LEN = 8,     /* word32 CRC, word32 length */
    FRAME_ROWS = 4096,
    CHUNK = 1 << 20,
};
static const char MAGIC[MAGIC_LEN + 1] = "SMPSUM1\n";

/* ---- reading ---- */

/* Of the frame at m->end; false: there is no whole one that goes on where the last one ended. */
static bool take_frame(struct sums_map *m, struct bytes all) {
    struct rd r = rd_init(bytes_of(all.p + m->end, all.n - m->end));
    const struct bytes front = rd_take(&r, FRAME_HEAD - CRC_LEN);
    const uint32_t crc = rd_u32(&r);
    if (rd_err(&r) != OK) return false;
    struct rd head = rd_init(front);
    const uint64_t offset = (uint64_t)rd_i64(&head);
    const uint32_t n = rd_u32(&head);
    if (offset != m->covered || n > rd_left(&r) / ROW_LEN) return false;
    const struct bytes rows = rd_take(&r, (size_t)n * ROW_LEN);
    if (crc32c(crc32c(0, front.p, front.n), rows.p, rows.n) != crc) return false;
    for (struct rd x = rd_init(rows); rd_left(&x) != 0;) {
        (void)rd_u32(&x);
        m->covered += rd_u32(&x);
    }
    m->n_rows += n;
    m->end += FRAME_HEAD + rows.n;
    return true;
}

static void take_all(struct sums_map *m, struct bytes all) {
    struct rd r = rd_init(all);
    const struct bytes magic = rd_take(&r, MAGIC_LEN), name = rd_take(&r, SUMS_NAME_LEN);
    const uint32_t crc = rd_u32(&r);
    if (rd_err(&r) != OK || !bytes_equal(magic, bytes_of(MAGIC, MAGIC_LEN))) return;
    if (crc32c(0, all.p, HEAD_LEN - CRC_LEN) != crc) return;
    struct wr w = wr_init(m->backup, SUMS_NAME_LEN);
    wr_bytes_raw(&w, name);
    if (m->backup[SUMS_NAME_LEN - 1] != 0) {
        m->backup[0] = 0;
        return;
    }
    m->end = HEAD_LEN;
    while (take_frame(m, all)) continue;
}

static enum err load_fd(const struct vfs *v, int fd, struct sums_map *m) {
    uint64_t size = 0;
    size_t got = 0;
    enum err e = v->size(v->ctx, fd, &size);
    if (e != OK || size == 0) return e;
    m->buf = malloc(size);
    if (m->buf == NULL) return E_NO_MEMORY;
    e = v->read_at(v->ctx, fd, m->buf, size, 0, &got);
    if (e == OK) take_all(m, bytes_of(m->buf, got));
    return e;
}

enum err sums_load(const struct store_log_opts *o, struct sums_map *ret) {
    *ret = (struct sums_map){0};
    struct log_path path;
    int fd;
    enum err e = store_log__path(o, ".sums", &path);
    if (e == OK) e = o->vfs->open(o->vfs->ctx, path.s, O_RDONLY, 0, &fd);
    if (e != OK) return e == E_NOT_FOUND ? OK : e;
    e = load_fd(o->vfs, fd, ret);
    const int error = errno;
    o->vfs->close(o->vfs->ctx, fd);
    if (e != OK) {
        sums_map_done(ret);
        *ret = (struct sums_map){0};
    }
    errno = error;
    return e;
}

void sums_map_done(struct sums_map *m) {
    free(m->buf);
    m->buf = NULL;
}

bool sums_next(const struct sums_map *m, struct sums_cursor *io_c, struct log_row *ret) {
    if (io_c->at == 0) io_c->at = HEAD_LEN;
    while (io_c->rows_left == 0) {
        if (io_c->at >= m->end) return false;
        struct rd r = rd_init(bytes_of(m->buf + io_c->at, FRAME_HEAD));
        (void)rd_i64(&r);
        io_c->rows_left = rd_u32(&r);
        io_c->at += FRAME_HEAD;
    }
    struct rd r = rd_init(bytes_of(m->buf + io_c->at, ROW_LEN));
    ret->crc = rd_u32(&r);
    ret->n = rd_u32(&r);
    io_c->at += ROW_LEN;
    io_c->rows_left--;
    return true;
}

/* ---- writing ---- */

static void turn_off(struct log_sums *s, const struct store_log_opts *o, enum err e) {
    log_line(LOG_WARN, "store-log-sums", "path=%s.sums error=\"%s\": later lines have no checksum",
             o->path, e == E_SYS ? strerror(errno) : err_meaning(e));
    sums_close(s, o);
    s->is_off = true;
}

void sums_close(struct log_sums *s, const struct store_log_opts *o) {
    if (s->fd >= 0) o->vfs->close(o->vfs->ctx, s->fd);
    free(s->rows);
    *s = (struct log_sums){.fd = -1};
}

static enum err add_row(struct log_sums *s, struct log_row row) {
    if (s->n_rows == s->cap_rows) {
        const size_t cap = s->cap_rows != 0 ? 2 * s->cap_rows : 256;
        struct log_row *p = realloc(s->rows, cap * sizeof *p);
        if (p == NULL) return E_NO_MEMORY;
        s->rows = p;
        s->cap_rows = cap;
    }
    s->rows[s->n_rows++] = row;
    s->covered += row.n;
    return OK;
}

void sums_add(struct log_sums *s, const void *line, size_t n) {
    if (s->is_off) return;
    if (add_row(s, (struct log_row){crc32c(0, line, n), (uint32_t)n}) == OK) return;
    s->is_off = true; /* a gap must not follow; what waits is right, and may be written */
}

static enum err write_frame(struct log_sums *s, const struct vfs *v, const struct log_row *rows,
                            size_t n, uint64_t offset) {
    uint8_t buf[FRAME_HEAD + FRAME_ROWS * ROW_LEN];
    struct wr head = wr_init(buf, FRAME_HEAD);
    struct wr body = wr_init(buf + FRAME_HEAD, n * ROW_LEN);
    for (size_t i = 0; i < n; i++) {
        wr_u32(&body, rows[i].crc);
        wr_u32(&body, rows[i].n);
    }
    wr_i64(&head, (int64_t)offset);
    wr_u32(&head, (uint32_t)n);
    const uint32_t crc = crc32c(crc32c(0, buf, head.at), buf + FRAME_HEAD, body.at);
    wr_u32(&head, crc);
    if (wr_err(&head) != OK || wr_err(&body) != OK) return E_INTERNAL;
    const enum err e = vfs_write(v, s->fd, bytes_of(buf, FRAME_HEAD + body.at), s->at);
    if (e == OK) s->at += FRAME_HEAD + body.at;
    return e;
}

static enum err write_rows(struct log_sums *s, const struct vfs *v) {
    uint64_t offset = s->covered;
    for (size_t i = 0; i < s->n_rows; i++) offset -= s->rows[i].n;
    enum err e = OK;
    for (size_t i = 0; i < s->n_rows && e == OK;) {
        const size_t n = s->n_rows - i < FRAME_ROWS ? s->n_rows - i : FRAME_ROWS;
        e = write_frame(s, v, s->rows + i, n, offset);
        for (const size_t to = i + n; i < to; i++) offset += s->rows[i].n;
    }
    s->n_rows = 0;
    return e;
}

void sums_write(struct log_sums *s, const struct store_log_opts *o) {
    if (s->fd < 0 || s->n_rows == 0) return;
    const enum err e = write_rows(s, o->vfs);
    if (e != OK) turn_off(s, o, e);
}

enum err sums_remove(const struct store_log_opts *o) {
    if (!o->has_sums) return OK;
    struct log_path path;
    enum err e = store_log__path(o, ".sums", &path);
    if (e == OK) e = o->vfs->unlink(o->vfs->ctx, path.s);
    if (e != OK) return e == E_NOT_FOUND ? OK : e;
    const struct log_path dir = store_log__dir(o);
    return o->vfs->sync_dir(o->vfs->ctx, dir.s);
}

/* ---- erasing ---- */

/* Rows of lines from *io_i on; true: some have changed. Moves *io_offset behind the frame. */
static bool erase_rows(uint8_t *rows, uint32_t n, const struct erased_lines *l, size_t *io_i,
                       uint64_t *io_offset) {
    bool changed = false;
    for (; n-- > 0; rows += ROW_LEN) {
        struct rd r = rd_init(bytes_of(rows + 4, 4));
        const uint32_t len = rd_u32(&r);
        while (*io_i < l->n && l->v[*io_i].offset < *io_offset) (*io_i)++;
        if (*io_i < l->n && l->v[*io_i].offset == *io_offset && l->v[*io_i].n == len) {
            struct wr w = wr_init(rows, 4);
            wr_u32(&w, store_log__filler_crc(len));
            changed = true;
        }
        *io_offset += len;
    }
    return changed;
}

static enum err erase_frames(const struct sums_map *m, const struct vfs *v, int fd,
                             const struct erased_lines *l) {
    enum err e = OK;
    uint64_t offset = 0;
    size_t i = 0;
    for (size_t at = HEAD_LEN; at < m->end && e == OK;) {
        uint8_t *frame = m->buf + at, *rows = frame + FRAME_HEAD;
        struct rd r = rd_init(bytes_of(frame, FRAME_HEAD));
        (void)rd_i64(&r);
        const uint32_t n = rd_u32(&r);
        const size_t rows_len = (size_t)n * ROW_LEN;
        if (erase_rows(rows, n, l, &i, &offset)) {
            struct wr w = wr_init(frame + FRAME_HEAD - CRC_LEN, CRC_LEN);
            wr_u32(&w, crc32c(crc32c(0, frame, FRAME_HEAD - CRC_LEN), rows, rows_len));
            e = vfs_write(v, fd, bytes_of(frame, FRAME_HEAD + rows_len), at);
        }
        at += FRAME_HEAD + rows_len;
    }
    return e == OK ? v->sync(v->ctx, fd) : e;
}

enum err sums_erase(const struct store_log_opts *o, const struct erased_lines *l) {
    struct sums_map m = {0};
    struct log_path path;
    int fd;
    if (!o->has_sums) return OK;
    enum err e = sums_load(o, &m);
    if (e == OK && m.end != 0) {
        e = store_log__path(o, ".sums", &path);
        if (e == OK) e = o->vfs->open(o->vfs->ctx, path.s, O_RDWR, 0, &fd);
        if (e == OK) {
            e = erase_frames(&m, o->vfs, fd, l);
            o->vfs->close(o->vfs->ctx, fd);
        }
    }
    sums_map_done(&m);
    return e == E_NOT_FOUND ? OK : e;
}

/* ---- bringing it up to the log ---- */

static enum err add_lines(struct log_sums *s, struct bytes b) {
    enum err e = OK;
    while (e == OK && b.n != 0) {
        const uint8_t *nl = memchr(b.p, '\n', b.n);
        if (nl == NULL) break;
        const size_t n = (size_t)(nl - b.p) + 1;
        e = add_row(s, (struct log_row){crc32c(0, b.p, n), (uint32_t)n});
        b = bytes_of(nl + 1, b.n - n);
    }
    return e;
}

static enum err follow_fd(struct log_sums *s, const struct vfs *v, int log_fd, uint64_t log_end,
                          uint8_t *buf) {
    enum err e = OK;
    while (e == OK && s->covered < log_end) {
        const uint64_t left = log_end - s->covered, before = s->covered;
        size_t got = 0;
        e = v->read_at(v->ctx, log_fd, buf, left < CHUNK ? (size_t)left : CHUNK, before, &got);
        if (e == OK) e = add_lines(s, bytes_of(buf, got));
        if (e == OK && s->covered == before) e = E_LIMIT; /* no whole line */
        if (e == OK) e = write_rows(s, v);
    }
    return e;
}

static enum err follow(struct log_sums *s, const struct store_log_opts *o, uint64_t log_end) {
    if (s->covered == log_end) return OK;
    const struct vfs *v = o->vfs;
    int fd;
    enum err e = v->open(v->ctx, o->path, O_RDONLY, 0, &fd);
    if (e != OK) return e;
    uint8_t *buf = malloc(CHUNK);
    e = buf != NULL ? follow_fd(s, v, fd, log_end, buf) : E_NO_MEMORY;
    const int error = errno;
    free(buf);
    v->close(v->ctx, fd);
    errno = error;
    return e;
}

static enum err write_head(struct log_sums *s, const struct store_log_opts *o) {
    uint8_t buf[HEAD_LEN] = {0};
    memcpy(buf, MAGIC, MAGIC_LEN);
    const enum err e = store_log__newest_backup(o, (char *)buf + MAGIC_LEN);
    if (e != OK) return e;
    struct wr w = wr_init(buf + HEAD_LEN - CRC_LEN, CRC_LEN);
    wr_u32(&w, crc32c(0, buf, HEAD_LEN - CRC_LEN));
    s->at = HEAD_LEN;
    s->covered = 0;
    return vfs_write(o->vfs, s->fd, bytes_of(buf, HEAD_LEN), 0);
}

/* Is the file that was read still there, and the log as long as then? */
static bool is_usable(const struct log_sums *s, const struct store_log_opts *o, uint64_t log_end) {
    uint64_t size = 0;
    return o->sums.end != 0 && o->sums.covered <= log_end &&
           o->vfs->size(o->vfs->ctx, s->fd, &size) == OK && size >= o->sums.end;
}

static enum err open_file(struct log_sums *s, const struct store_log_opts *o, uint64_t log_end) {
    const struct vfs *v = o->vfs;
    struct log_path path;
    enum err e = store_log__path(o, ".sums", &path);
    if (e == OK) e = v->open(v->ctx, path.s, O_RDWR | O_CREAT, 0600, &s->fd);
    if (e != OK) return e;
    if (is_usable(s, o, log_end)) {
        s->at = o->sums.end;
        s->covered = o->sums.covered;
        return v->truncate(v->ctx, s->fd, s->at);
    }
    v->close(v->ctx, s->fd);
    s->fd = -1;
    e = sums_remove(o); /* not emptied: a power loss could undo that for a part */
    if (e == OK) e = v->open(v->ctx, path.s, O_RDWR | O_CREAT, 0600, &s->fd);
    return e == OK ? write_head(s, o) : e;
}

void sums_open(struct log_sums *s, const struct store_log_opts *o, uint64_t log_end) {
    *s = (struct log_sums){.fd = -1};
    enum err e = open_file(s, o, log_end);
    if (e == OK) e = follow(s, o, log_end);
    if (e != OK) turn_off(s, o, e);
}
