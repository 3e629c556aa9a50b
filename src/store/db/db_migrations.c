/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_migrations.c -- the steps that make the reference's schema of 6.5, each with the way back.
 *
 * Names, tables, columns, indexes and functions are the reference's, so that it opens what we made;
 * texts are ours. A `down` is stored in the row of its step and executed, as it stands there, by
 * whatever older server comes next, with the schema as search path. We call none of the functions:
 * they are there for the way back to the reference. */
#include "store/db/db_priv.h"

/* ---- 6.3 ---- */

// clang-format off
#define INITIAL_QUEUES                                                                             \
    "CREATE TABLE msg_queues ("                                                                    \
    "recipient_id bytea PRIMARY KEY, recipient_key bytea NOT NULL, "                               \
    "rcv_dh_secret bytea NOT NULL, sender_id bytea NOT NULL, sender_key bytea, "                   \
    "snd_secure boolean NOT NULL, notifier_id bytea, notifier_key bytea, "                         \
    "rcv_ntf_dh_secret bytea, status text NOT NULL, updated_at bigint, deleted_at bigint)"

/* ---- 6.4: short links; a list of keys in place of one ---- */

#define LIST_OF_ONE_KEY                                                                            \
    "UPDATE msg_queues SET "                                                                       \
    "recipient_keys = set_byte('\\x0100'::bytea, 1, length(recipient_keys)) || recipient_keys, "   \
    "queue_mode = CASE WHEN snd_secure THEN 'M' END"

#define SHORT_LINKS_DOWN                                                                           \
    "DO $$\n"                                                                                      \
    "BEGIN\n"                                                                                      \
    "    IF EXISTS (SELECT FROM msg_queues WHERE length(recipient_keys) < 2\n"                     \
    "            OR get_byte(recipient_keys, 0) <> 1\n"                                            \
    "            OR get_byte(recipient_keys, 1) <> length(recipient_keys) - 2) THEN\n"             \
    "        RAISE EXCEPTION 'there are queues with several recipient keys, which the schema "     \
    "before 20250320_short_links cannot hold';\n"                                                  \
    "    END IF;\n"                                                                                \
    "END\n"                                                                                        \
    "$$;\n"                                                                                        \
    "ALTER TABLE msg_queues ADD COLUMN snd_secure boolean NOT NULL DEFAULT false;\n"               \
    "UPDATE msg_queues SET recipient_keys = substring(recipient_keys FROM 3),\n"                   \
    "    snd_secure = queue_mode IS NOT DISTINCT FROM 'M';\n"                                      \
    "ALTER TABLE msg_queues RENAME COLUMN recipient_keys TO recipient_key;\n"                      \
    "DROP INDEX idx_msg_queues_link_id;\n"                                                         \
    "ALTER TABLE msg_queues DROP COLUMN queue_mode, DROP COLUMN link_id,\n"                        \
    "    DROP COLUMN fixed_data, DROP COLUMN user_data;\n"

/* ---- 6.4: services ---- */

#define SERVICES                                                                                   \
    "CREATE TABLE services ("                                                                      \
    "service_id bytea PRIMARY KEY, service_role text NOT NULL, service_cert bytea NOT NULL, "      \
    "service_cert_hash bytea NOT NULL UNIQUE, created_at bigint NOT NULL)"
#define SERVICES_OF_QUEUES                                                                         \
    "ALTER TABLE msg_queues "                                                                      \
    "ADD COLUMN rcv_service_id bytea REFERENCES services (service_id) "                            \
    "ON UPDATE RESTRICT ON DELETE SET NULL, "                                                      \
    "ADD COLUMN ntf_service_id bytea REFERENCES services (service_id) "                            \
    "ON UPDATE RESTRICT ON DELETE SET NULL"
#define SERVICES_DOWN                                                                              \
    "DROP INDEX idx_msg_queues_rcv_service_id;\n"                                                  \
    "DROP INDEX idx_msg_queues_ntf_service_id;\n"                                                  \
    "ALTER TABLE msg_queues DROP COLUMN rcv_service_id, DROP COLUMN ntf_service_id;\n"             \
    "DROP INDEX idx_services_service_role;\n"                                                      \
    "DROP TABLE services;\n"

/* ---- 6.5: messages ---- */

#define MESSAGES                                                                                   \
    "CREATE TABLE messages ("                                                                      \
    "message_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "                                 \
    "recipient_id bytea NOT NULL REFERENCES msg_queues (recipient_id) "                            \
    "ON UPDATE RESTRICT ON DELETE CASCADE, "                                                       \
    "msg_id bytea NOT NULL, msg_ts bigint NOT NULL, msg_quota boolean NOT NULL, "                  \
    "msg_ntf_flag boolean NOT NULL, msg_body bytea NOT NULL)"
#define COUNTERS                                                                                   \
    "ALTER TABLE msg_queues "                                                                      \
    "ADD COLUMN msg_can_write boolean NOT NULL DEFAULT true, "                                     \
    "ADD COLUMN msg_queue_expire boolean NOT NULL DEFAULT false, "                                 \
    "ADD COLUMN msg_queue_size bigint NOT NULL DEFAULT 0"

/* The row of the queue is locked until the end of the transaction: so ids of messages rise in the
 * order of commits, within a queue. */
#define WRITE_MESSAGE                                                                              \
    "CREATE FUNCTION write_message(p_recipient_id bytea, p_msg_id bytea, p_msg_ts bigint, "        \
    "p_msg_quota boolean, p_msg_ntf_flag boolean, p_msg_body bytea, p_quota integer) "             \
    "RETURNS TABLE (quota_written boolean, was_empty boolean) LANGUAGE plpgsql AS $$\n"            \
    "DECLARE\n"                                                                                    \
    "    v_queue record;\n"                                                                        \
    "BEGIN\n"                                                                                      \
    "    SELECT msg_can_write AS can_write, msg_queue_size AS n INTO v_queue FROM msg_queues\n"    \
    "        WHERE recipient_id = p_recipient_id AND deleted_at IS NULL FOR UPDATE;\n"             \
    "    IF NOT FOUND OR NOT (v_queue.can_write OR v_queue.n = 0) THEN\n"                          \
    "        RETURN;\n"                                                                            \
    "    END IF;\n"                                                                                \
    "    quota_written := p_msg_quota OR v_queue.n >= p_quota;\n"                                  \
    "    was_empty := v_queue.n = 0;\n"                                                            \
    "    INSERT INTO messages (recipient_id, msg_id, msg_ts, msg_quota, msg_ntf_flag, msg_body)\n" \
    "        VALUES (p_recipient_id, p_msg_id, p_msg_ts, quota_written,\n"                         \
    "            p_msg_ntf_flag AND NOT quota_written,\n"                                          \
    "            CASE WHEN quota_written THEN ''::bytea ELSE p_msg_body END);\n"                   \
    "    UPDATE msg_queues SET msg_can_write = NOT quota_written, msg_queue_expire = true,\n"      \
    "        msg_queue_size = v_queue.n + 1 WHERE recipient_id = p_recipient_id;\n"                \
    "    RETURN NEXT;\n"                                                                           \
    "END\n"                                                                                        \
    "$$"

/* What both functions of ACK begin with: the queue, locked, and its first message. */
#define FIRST_MESSAGE(name)                                                                        \
    "CREATE FUNCTION " name "(p_recipient_id bytea, p_msg_id bytea) "                              \
    "RETURNS TABLE (r_msg_id bytea, r_msg_ts bigint, r_msg_quota boolean, "                        \
    "r_msg_ntf_flag boolean, r_msg_body bytea) LANGUAGE plpgsql AS $$\n"                           \
    "DECLARE\n"                                                                                    \
    "    v_size bigint;\n"                                                                         \
    "    v_message_id bigint;\n"                                                                   \
    "BEGIN\n"                                                                                      \
    "    SELECT q.msg_queue_size INTO v_size FROM msg_queues q\n"                                  \
    "        WHERE q.recipient_id = p_recipient_id AND q.deleted_at IS NULL FOR UPDATE;\n"         \
    "    IF NOT FOUND THEN\n"                                                                      \
    "        RETURN;\n"                                                                            \
    "    END IF;\n"                                                                                \
    "    SELECT m.message_id, m.msg_id, m.msg_ts, m.msg_quota, m.msg_ntf_flag, m.msg_body\n"       \
    "        INTO v_message_id, r_msg_id, r_msg_ts, r_msg_quota, r_msg_ntf_flag, r_msg_body\n"     \
    "        FROM messages m WHERE m.recipient_id = p_recipient_id\n"                              \
    "        ORDER BY m.message_id LIMIT 1;\n"                                                     \
    "    IF NOT FOUND THEN\n"                                                                      \
    "        IF v_size <> 0 THEN\n"                                                                \
    "            UPDATE msg_queues SET msg_can_write = true, msg_queue_expire = false,\n"          \
    "                msg_queue_size = 0 WHERE recipient_id = p_recipient_id;\n"                    \
    "        END IF;\n"                                                                            \
    "        RETURN;\n"                                                                            \
    "    END IF;\n"
#define DELETE_FIRST                                                                               \
    "    DELETE FROM messages m WHERE m.message_id = v_message_id;\n"                              \
    "    UPDATE msg_queues SET msg_can_write = msg_can_write OR v_size <= 1,\n"                    \
    "        msg_queue_expire = v_size > 1, msg_queue_size = greatest(v_size - 1, 0)\n"            \
    "        WHERE recipient_id = p_recipient_id;\n"                                               \
    "    RETURN NEXT;\n"
#define TRY_DEL_MSG                                                                                \
    FIRST_MESSAGE("try_del_msg")                                                                   \
    "    IF r_msg_id <> p_msg_id THEN\n"                                                           \
    "        RETURN;\n"                                                                            \
    "    END IF;\n"                                                                                \
    DELETE_FIRST                                                                                   \
    "END\n"                                                                                        \
    "$$"
#define TRY_DEL_PEEK_MSG                                                                           \
    FIRST_MESSAGE("try_del_peek_msg")                                                              \
    "    IF r_msg_id <> p_msg_id THEN\n"                                                           \
    "        RETURN NEXT;\n"                                                                       \
    "        RETURN;\n"                                                                            \
    "    END IF;\n"                                                                                \
    DELETE_FIRST                                                                                   \
    "    SELECT m.msg_id, m.msg_ts, m.msg_quota, m.msg_ntf_flag, m.msg_body\n"                     \
    "        INTO r_msg_id, r_msg_ts, r_msg_quota, r_msg_ntf_flag, r_msg_body\n"                   \
    "        FROM messages m WHERE m.recipient_id = p_recipient_id\n"                              \
    "        ORDER BY m.message_id LIMIT 1;\n"                                                     \
    "    IF FOUND THEN\n"                                                                          \
    "        RETURN NEXT;\n"                                                                       \
    "    ELSE\n"                                                                                   \
    "        UPDATE msg_queues SET msg_can_write = true, msg_queue_expire = false,\n"              \
    "            msg_queue_size = 0 WHERE recipient_id = p_recipient_id;\n"                        \
    "    END IF;\n"                                                                                \
    "END\n"                                                                                        \
    "$$"

/* Markers stay: they tell the recipient that messages were refused. */
#define DELETE_EXPIRED_MSGS                                                                        \
    "CREATE FUNCTION delete_expired_msgs(p_recipient_id bytea, p_old_ts bigint) RETURNS bigint "   \
    "LANGUAGE plpgsql AS $$\n"                                                                     \
    "DECLARE\n"                                                                                    \
    "    v_size bigint;\n"                                                                         \
    "    v_young bigint;\n"                                                                        \
    "    v_n bigint;\n"                                                                            \
    "BEGIN\n"                                                                                      \
    "    SELECT msg_queue_size INTO v_size FROM msg_queues\n"                                      \
    "        WHERE recipient_id = p_recipient_id AND deleted_at IS NULL\n"                         \
    "        FOR UPDATE SKIP LOCKED;\n"                                                            \
    "    IF NOT FOUND OR v_size = 0 THEN\n"                                                        \
    "        RETURN 0;\n"                                                                          \
    "    END IF;\n"                                                                                \
    "    SELECT min(message_id) INTO v_young FROM messages\n"                                      \
    "        WHERE recipient_id = p_recipient_id AND msg_ts >= p_old_ts AND NOT msg_quota;\n"      \
    "    DELETE FROM messages WHERE recipient_id = p_recipient_id AND NOT msg_quota\n"             \
    "        AND (v_young IS NULL OR message_id < v_young);\n"                                     \
    "    GET DIAGNOSTICS v_n = ROW_COUNT;\n"                                                       \
    "    UPDATE msg_queues SET msg_can_write = msg_can_write OR v_size <= v_n,\n"                  \
    "        msg_queue_expire = v_size > v_n AND v_young IS NOT NULL,\n"                           \
    "        msg_queue_size = greatest(v_size - v_n, 0) WHERE recipient_id = p_recipient_id;\n"    \
    "    RETURN v_n;\n"                                                                            \
    "END\n"                                                                                        \
    "$$"
#define EXPIRE_OLD_MESSAGES                                                                        \
    "CREATE PROCEDURE expire_old_messages(IN p_old_queue bigint, IN p_old_ts bigint, "             \
    "IN batch_size integer, OUT r_expired_msgs_count bigint, OUT r_stored_msgs_count bigint, "     \
    "OUT r_stored_queues bigint) LANGUAGE plpgsql AS $$\n"                                         \
    "DECLARE\n"                                                                                    \
    "    v_ids bytea[];\n"                                                                         \
    "    v_id bytea;\n"                                                                            \
    "    v_last bytea := '';\n"                                                                    \
    "BEGIN\n"                                                                                      \
    "    r_expired_msgs_count := 0;\n"                                                             \
    "    LOOP\n"                                                                                   \
    "        SELECT array_agg(b.recipient_id ORDER BY b.recipient_id) INTO v_ids FROM (\n"         \
    "            SELECT q.recipient_id FROM msg_queues q WHERE q.deleted_at IS NULL\n"             \
    "                AND q.updated_at > p_old_queue AND q.msg_queue_expire\n"                      \
    "                AND q.recipient_id > v_last\n"                                                \
    "            ORDER BY q.recipient_id LIMIT batch_size) b;\n"                                   \
    "        EXIT WHEN v_ids IS NULL;\n"                                                           \
    "        FOREACH v_id IN ARRAY v_ids LOOP\n"                                                   \
    "            BEGIN\n"                                                                          \
    "                r_expired_msgs_count :=\n"                                                    \
    "                    r_expired_msgs_count + delete_expired_msgs(v_id, p_old_ts);\n"            \
    "            EXCEPTION WHEN OTHERS THEN\n"                                                     \
    "                RAISE WARNING 'messages of a queue were not expired: %', SQLERRM;\n"          \
    "            END;\n"                                                                           \
    "            COMMIT;\n"                                                                        \
    "            v_last := v_id;\n"                                                                \
    "        END LOOP;\n"                                                                          \
    "    END LOOP;\n"                                                                              \
    "    SELECT count(*) INTO r_stored_msgs_count FROM messages;\n"                                \
    "    SELECT count(*) INTO r_stored_queues FROM msg_queues WHERE deleted_at IS NULL;\n"         \
    "END\n"                                                                                        \
    "$$"

#define MESSAGES_DOWN                                                                              \
    "DROP PROCEDURE expire_old_messages(bigint, bigint, integer);\n"                               \
    "DROP FUNCTION delete_expired_msgs(bytea, bigint);\n"                                          \
    "DROP FUNCTION try_del_peek_msg(bytea, bytea);\n"                                              \
    "DROP FUNCTION try_del_msg(bytea, bytea);\n"                                                   \
    "DROP FUNCTION write_message(bytea, bytea, bigint, boolean, boolean, bytea, integer);\n"       \
    "DROP TABLE messages;\n"                                                                       \
    "DROP INDEX idx_msg_queues_updated_at_recipient_id;\n"                                         \
    "ALTER TABLE msg_queues DROP COLUMN msg_can_write, DROP COLUMN msg_queue_expire,\n"            \
    "    DROP COLUMN msg_queue_size;\n"                                                            \
    "CREATE INDEX idx_msg_queues_updated_at ON msg_queues (deleted_at, updated_at);\n"

/* ---- all of them ---- */

const struct db_migration DB_MIGRATIONS[] = {
    {"20250207_initial",
     {INITIAL_QUEUES,
      "CREATE UNIQUE INDEX idx_msg_queues_sender_id ON msg_queues (sender_id)",
      "CREATE UNIQUE INDEX idx_msg_queues_notifier_id ON msg_queues (notifier_id)",
      "CREATE INDEX idx_msg_queues_deleted_at ON msg_queues (deleted_at)"},
     NULL},
    {"20250319_updated_index",
     {"DROP INDEX idx_msg_queues_deleted_at",
      "CREATE INDEX idx_msg_queues_updated_at ON msg_queues (deleted_at, updated_at)"},
     "DROP INDEX idx_msg_queues_updated_at;\n"
     "CREATE INDEX idx_msg_queues_deleted_at ON msg_queues (deleted_at);\n"},
    {"20250320_short_links",
     {"ALTER TABLE msg_queues ADD COLUMN queue_mode text, ADD COLUMN link_id bytea, "
      "ADD COLUMN fixed_data bytea, ADD COLUMN user_data bytea",
      "ALTER TABLE msg_queues RENAME COLUMN recipient_key TO recipient_keys",
      LIST_OF_ONE_KEY,
      "ALTER TABLE msg_queues DROP COLUMN snd_secure",
      "CREATE UNIQUE INDEX idx_msg_queues_link_id ON msg_queues (link_id)"},
     SHORT_LINKS_DOWN},
    {"20250514_service_certs",
     {SERVICES,
      "CREATE INDEX idx_services_service_role ON services (service_role)",
      SERVICES_OF_QUEUES,
      "CREATE INDEX idx_msg_queues_rcv_service_id ON msg_queues (rcv_service_id, deleted_at)",
      "CREATE INDEX idx_msg_queues_ntf_service_id ON msg_queues (ntf_service_id, deleted_at)"},
     SERVICES_DOWN},
    {"20250903_store_messages",
     {MESSAGES,
      COUNTERS,
      "CREATE INDEX idx_messages_recipient_id_message_id ON messages (recipient_id, message_id); "
      "CREATE INDEX idx_messages_recipient_id_msg_ts ON messages (recipient_id, msg_ts); "
      "CREATE INDEX idx_messages_recipient_id_msg_quota ON messages (recipient_id, msg_quota)",
      "DROP INDEX idx_msg_queues_updated_at",
      "CREATE INDEX idx_msg_queues_updated_at_recipient_id "
      "ON msg_queues (deleted_at, updated_at, msg_queue_expire, recipient_id)",
      WRITE_MESSAGE, TRY_DEL_MSG, TRY_DEL_PEEK_MSG, DELETE_EXPIRED_MSGS, EXPIRE_OLD_MESSAGES},
     MESSAGES_DOWN},
};
// clang-format on
const unsigned N_DB_MIGRATIONS = ARRAY_LEN(DB_MIGRATIONS);

const char *const DB_MIGRATIONS_AFTER[] = {"20250915_queue_ids_hash"};
const unsigned N_DB_MIGRATIONS_AFTER = ARRAY_LEN(DB_MIGRATIONS_AFTER);
