/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* options.c -- the only list of settings: it gives parsing, defaults, ranges and errors, the file
 * that init writes, `start --print-config`, and who takes over a new value while the server runs.
 * Columns: struct opt in options.h.
 *
 * A setting whose feature this version does not have is a NOT_YET row: it is read, checked and
 * explained as any other, and a value other than its default is remarked on at the start. */
#include "app/settings/options.h"

#include <stddef.h>
#include <stdint.h>

#include "base/day.h"
#include "model/limits.h"

enum { A_YEAR_S = 365 * DAY_S, OFF = 0, ON = 1 };

// clang-format off
/* Offset and size of a field of struct conf; one of a type that is not listed does not compile. */
#define AT(field, ...) \
    offsetof(struct conf, field) + _Generic(((struct conf *)NULL)->field, __VA_ARGS__), \
    sizeof(((struct conf *)NULL)->field)

/* The kinds of rows. part: CONF_ of conf.h, who takes over a new value on SIGHUP. */
#define SWITCH(section, key, flags, part, field, def, help) \
    {section, key, OPT_BOOL, flags, CONF_##part, AT(field, bool: 0), \
        def, NULL, 0, 0, NULL, NULL, help}
#define NUMBER(...) NUMBER_ROW(__VA_ARGS__)
#define NUMBER_ROW(section, key, flags, part, field, def, min, max, unit, help) \
    {section, key, OPT_INT, flags, CONF_##part, \
        AT(field, uint16_t: 0, unsigned: 0, int64_t: 0), \
        def, NULL, min, max, unit, NULL, help}
/* Default and bounds of what is in limits.def. */
#define BOUNDED(limit) limit, limit##_LEAST, limit##_MOST
/* Without a default: 0 in the field. The template shows the sample. */
#define NUMBER_OR_NONE(section, key, flags, part, field, min, max, unit, sample, help) \
    {section, key, OPT_INT, (flags) | OPT_UNSET_0, CONF_##part, AT(field, int64_t: 0), \
        0, NULL, min, max, unit, sample, help}
/* One of words, which are separated by commas. */
#define WORD(section, key, flags, part, field, def, words, help) \
    {section, key, OPT_WORD, flags, CONF_##part, AT(field, char *: 0), \
        0, def, 0, 0, NULL, words, help}
/* Of all other types. The template shows the sample where there is no default (NULL). */
#define VALUE(type, section, key, flags, part, field, def, sample, help) \
    {section, key, type, flags, CONF_##part, AT(field, default: 0), \
        0, def, 0, 0, NULL, sample, help}
#define INFO(key, type, sample, help) \
    VALUE(type, "INFORMATION", #key, 0, PAGES, information.key, NULL, sample, help)

const struct opt_section OPT_SECTIONS[] = {
    {"INFORMATION",
        "What the page about this server tells its users. Everything here is public and may be left\n"
        "out; but whoever tells anything has to tell where the source code is too, as the licence\n"
        "(AGPL-3.0) demands, in particular of modified versions."},
    {"STORE_LOG", NULL},
    {"CLUSTER", "More than one server on one database, of which one serves."},
    {"AUTH", NULL},
    {"TRANSPORT", NULL},
    {"PROXY", "Forwarding messages to other servers (private message routing)."},
    {"NAMES", "Resolving names for the apps, through an HTTP resolver."},
    {"INACTIVE_CLIENTS", "Clients that neither send nor receive anything."},
    {"WEB", "Pages: about this server, and for opening connection links in a browser."},
    {"LIMITS", "What one client or one address may take of the server."},
    {"PROCESS", "What the server itself may do on its machine."},
};
const size_t N_OPT_SECTIONS = ARRAY_LEN(OPT_SECTIONS);

const struct opt OPTS[] = {
    VALUE(OPT_TEXT, "INFORMATION", "source_code", 0, PAGES, information.source_code,
        NULL, "https://example.org/source",
        "Where users find the source code of this server, as it runs; printed at the start. Required\n"
        "with any of the others."),
    INFO(usage_conditions, OPT_TEXT, "https://github.com/simplex-chat/simplex-chat/blob/stable/PRIVACY.md",
        "Link to the conditions of use."),
    INFO(condition_amendments, OPT_TEXT, "https://example.org/amendments",
        "Link to what this server adds to or takes from these conditions."),
    INFO(server_country, OPT_COUNTRY, "DE",
        "Country in which the server is."),
    INFO(operator, OPT_TEXT, "Example Ltd",
        "Who operates the server: organization or person."),
    INFO(operator_country, OPT_COUNTRY, "FR",
        "Country of the operator."),
    INFO(website, OPT_TEXT, "https://example.org",
        "Web site of the operator."),
    INFO(admin_simplex, OPT_LINK, "https://smp.example.org/a#key",
        "SimpleX address of those who administer the server."),
    INFO(admin_email, OPT_TEXT, "admin@example.org",
        "Their e-mail address."),
    INFO(admin_pgp, OPT_TEXT, "https://example.org/admin.asc",
        "Link to their PGP key; shown together with its fingerprint only."),
    INFO(admin_pgp_fingerprint, OPT_TEXT, "0123 4567 89AB CDEF 0123 4567 89AB CDEF 0123 4567",
        "Fingerprint of that key."),
    INFO(complaints_simplex, OPT_LINK, "https://smp.example.org/a#key",
        "SimpleX address for complaints and feedback."),
    INFO(complaints_email, OPT_TEXT, "abuse@example.org",
        "E-mail address for complaints and feedback."),
    INFO(complaints_pgp, OPT_TEXT, "https://example.org/abuse.asc",
        "Link to the PGP key for complaints; shown together with its fingerprint only."),
    INFO(complaints_pgp_fingerprint, OPT_TEXT, "0123 4567 89AB CDEF 0123 4567 89AB CDEF 0123 4567",
        "Fingerprint of that key."),
    INFO(hosting, OPT_TEXT, "Example Hosting Ltd",
        "Who hosts the server."),
    INFO(hosting_country, OPT_COUNTRY, "FI",
        "Country of the hosting provider."),
    INFO(hosting_type, OPT_WORD, "virtual,dedicated,colocation,owned",
        "What kind of machine the server is on."),

    SWITCH("STORE_LOG", "enable", OPT_WRITTEN, RESTART, store_log,
        OFF,
        "`on`: queues are kept on disk, in the store log (smp-server-store.log), and outlive\n"
        "restarts, crashes and power loss. `off`: the server never writes anything to disk;\n"
        "when it stops, for whatever reason, all queues and messages are gone, and its users\n"
        "have to connect to all their contacts anew."),
    WORD("STORE_LOG", "store_queues", OPT_WRITTEN, RESTART, store_queues,
        "memory", "memory,database",
        "Where queue records are looked up: `memory`, filled from the store log, or a `database`\n"
        "(PostgreSQL, see `db_connection`), which then has the messages too."),
    WORD("STORE_LOG", "store_messages", OPT_WRITTEN, RESTART, store_messages,
        "memory", "memory,journal,database",
        "Where messages are until they are received.\n"
        "`journal`: on disk. They outlive restarts, crashes and power loss (see `sync`), and\n"
        "take next to no memory.\n"
        "`memory`: in memory. They outlive an orderly stop (see `restore_messages`); a crash or\n"
        "a power loss loses all of them.\n"
        "Before you change this, stop the server and run `smp-server journal import` (from\n"
        "memory to journal) or `smp-server journal export` (back).\n"
        "`database`: in PostgreSQL, with the queues. `smp-server database import` leads there from\n"
        "memory, `smp-server database export` back."),
    SWITCH("STORE_LOG", "restore_messages", OPT_WRITTEN, RESTART, restore_messages,
        ON,
        "With `store_messages = memory`: save messages to smp-server-messages.log at an orderly\n"
        "stop and read them at the next start, which keeps that file as\n"
        "smp-server-messages.log.bak. With `off` every stop loses all messages."),
    WORD("STORE_LOG", "sync", OPT_OURS, RESTART, sync,
        "always", "always,interval",
        "`always`: what a client was told is on disk, whatever happens to the machine.\n"
        "`interval`: the disk is brought up to date once a second and answers do not wait for\n"
        "it, which helps slow disks; a power loss or a crash of the system loses up to 1 second\n"
        "of messages that were accepted and of changes of queues, and can bring back messages\n"
        "that were received in it."),
    NUMBER("STORE_LOG", "hold_ms", OPT_OURS, RESTART, hold_ms,
        0, 0, HOLD_MAX_MS, "milliseconds",
        "With `store_messages = journal`: a message whose recipient is connected is written to disk\n"
        "only if it is not acknowledged within so many milliseconds; its sender is told that it was\n"
        "accepted when it has been acknowledged or is on disk. Spares the disk, but senders wait for\n"
        "as long as recipients take. 0: every message is written at once."),
    VALUE(OPT_PATH, "STORE_LOG", "journal_path", OPT_OURS, RESTART, journal_path,
        NULL, "/var/opt/simplex/journal",
        "Directory of the journal. By default `journal` beside the store log."),
    NUMBER("STORE_LOG", "expire_messages_days", OPT_WRITTEN, RESTART, expire_messages_days,
        BOUNDED(DEFAULT_MESSAGE_TTL_DAYS), "days",
        "Messages that nobody received for so many days are deleted."),
    SWITCH("STORE_LOG", "expire_messages_on_start", OPT_WRITTEN, RESTART, expire_on_start,
        ON,
        "Delete expired messages when the server starts."),
    SWITCH("STORE_LOG", "expire_messages_on_send", OPT_WRITTEN, RESTART, relay.expire_on_send,
        OFF,
        "Delete the expired messages of a queue also when a message is sent to it. The reference does\n"
        "so where its file does not say `off`."),
    NUMBER("STORE_LOG", "expire_ntfs_hours", OPT_WRITTEN, RESTART, expire_ntfs_hours,
        BOUNDED(DEFAULT_NTF_TTL_HOURS), "hours",
        "Notifications that nobody asked for in so many hours are dropped; the messages stay."),
    NUMBER("STORE_LOG", "keep_copies_hours", OPT_OURS, RESTART, keep_copies_hours,
        BOUNDED(DEFAULT_KEEP_COPIES_HOURS), "hours",
        "Hours after which copies of logs that a start has left (smp-server-store.log with a time behind it, .bak)\n"
        "are overwritten and removed. They hold ids and keys of queues that were deleted since."),
    SWITCH("STORE_LOG", "log_stats", OPT_WRITTEN, RESTART, log_stats,
        OFF,
        "Write a line of statistics a day, at midnight UTC, to smp-server-stats.daily.log, and keep\n"
        "the counters over restarts in smp-server-stats.log."),
    NUMBER("STORE_LOG", "prometheus_interval", OPT_OFF_0, RESTART, prometheus_interval_s,
        0, 1, DAY_S, "seconds",
        "Seconds after which smp-server-metrics.txt, for Prometheus, is written anew; 60, for example."),
    VALUE(OPT_TEXT, "STORE_LOG", "db_connection", OPT_SECRET, RESTART, db_connection,
        "postgresql://smp@/smp_server_store", NULL,
        "The database, as libpq takes it: a URI or key\n"
        "words. What is special in a password within a URI is written as %XX."),
    VALUE(OPT_TEXT, "STORE_LOG", "db_schema", 0, RESTART, db_schema,
        "smp_server", NULL,
        "Schema in it: small letters, digits and _."),
    NUMBER("STORE_LOG", "db_pool_size", OPT_NOT_YET, RESTART, db_pool_size,
        10, 1, 1000, "connections",
        "Connections to it."),
    SWITCH("STORE_LOG", "db_store_log", 0, RESTART, db_store_log,
        OFF,
        "Append each change of a queue to smp-server-store.log too, after it is in the database:\n"
        "a copy that nothing reads. The file must be there (`smp-server database export --table queues`)."),
    NUMBER("STORE_LOG", "db_deleted_ttl", 0, RESTART, db_deleted_ttl,
        21, 0, 100LL * A_YEAR_S, "days",
        "How long rows of deleted queues stay in the database. A number above 3650 is taken for\n"
        "seconds, as the reference takes any."),
    NUMBER("STORE_LOG", "db_cache_mb", OPT_OURS, RESTART, db_cache_mb,
        256, 0, 1 << 20, "MiB",
        "Records of queues that nobody uses stay in memory up to this, with store_queues = database."),
    NUMBER("STORE_LOG", "db_patience", OPT_OURS, RESTART, db_patience_s,
        15, 1, 3600, "seconds",
        "While there is no database, clients wait; those that have waited longer are disconnected,\n"
        "and try again by themselves."),
    NUMBER("STORE_LOG", "db_replay_s", OPT_OURS, RESTART, db_replay_s,
        10, 0, 600, "seconds",
        "What was committed is kept in memory so long, 64 MiB at most, and written again when a\n"
        "standby of PostgreSQL takes over that had not got it."),

    SWITCH("CLUSTER", "standby", OPT_OURS, RESTART, standby,
        OFF,
        "With `store_queues = database`: while another server of the same identity is active on the\n"
        "database, this one waits, holds no port, and takes over when that one has stopped, or has\n"
        "shown no sign of life for 10 seconds. For both servers."),

    SWITCH("AUTH", "new_queues", OPT_WRITTEN, RELAY, rules.allow_new_queues,
        ON,
        "With `off` nobody can create queues; those that exist go on. For a server that will be\n"
        "given up."),
    VALUE(OPT_PASSWORD, "AUTH", "create_password", OPT_SECRET, RELAY, rules.create_password,
        NULL, "password",
        "Only those who know this password can create queues. It is a part of the server address\n"
        "(smp://fingerprint:password@host): share that only with users of the server. Their\n"
        "contacts do not need it. Printable ASCII characters without space, @, : and /"),
    VALUE(OPT_PASSWORD, "AUTH", "control_port_admin_password", OPT_SECRET, CONTROL, control.admin_password,
        NULL, "password",
        "Password for all commands of the control port (see [TRANSPORT] control_port). Without it\n"
        "nobody can use them."),
    VALUE(OPT_PASSWORD, "AUTH", "control_port_user_password", OPT_SECRET, CONTROL, control.user_password,
        NULL, "password",
        "Password for statistics and for blocking queues through the control port."),
    NUMBER("AUTH", "daily_block_queue_quota", 0, CONTROL, control.daily_block_quota,
        20, -1, 1000000, "queues",
        "Queues that may be blocked through the control port in a day, until midnight UTC; 0: any\n"
        "number, -1: none."),

    VALUE(OPT_HOST, "TRANSPORT", "host", OPT_WRITTEN, RESTART, host,
        "<hostnames>", NULL,
        "Names or addresses under which clients reach the server, separated by commas, onion\n"
        "hosts too. They are only printed, as a part of the server address."),
    VALUE(OPT_PORTS, "TRANSPORT", "port", OPT_WRITTEN, RESTART, ports,
        "5223,443", NULL,
        "Ports to listen on, separated by commas. A port below 1024 needs the capability\n"
        "CAP_NET_BIND_SERVICE; without it such a port is left out, with a warning, if another one is\n"
        "served."),
    VALUE(OPT_ADDRESSES, "TRANSPORT", "bind", OPT_OURS, RESTART, bind,
        NULL, "192.0.2.1,2001:db8::1",
        "Addresses of this machine to listen on, separated by commas. By default all, IPv4 and\n"
        "IPv6."),
    NUMBER("TRANSPORT", "threads", OPT_OURS, RESTART, threads,
        0, 0, 256, "threads",
        "Threads that serve clients; 0: one for each processor."),
    SWITCH("TRANSPORT", "log_tls_errors", OPT_WRITTEN, RELAY, rules.log_tls_errors,
        OFF,
        "Log why connections fail in their TLS handshake; never whose."),
    WORD("TRANSPORT", "log_level", OPT_OURS, LOG, log_level,
        "info", "error,warn,info,debug,trace",
        "How much is logged. `start --log-level` comes before it."),
    VALUE(OPT_WEBSOCKETS, "TRANSPORT", "websockets", OPT_WRITTEN, RESTART, websockets,
        "off", NULL,
        "Ports for clients that come through WebSocket, inside of TLS. Those of them that are in port\n"
        "are left out; https has WebSocket anyway. With `on` it is 80."),
    NUMBER("TRANSPORT", "control_port", OPT_OFF_0, RESTART, control_port,
        0, 1, UINT16_MAX, NULL,
        "Port on this machine itself (127.0.0.1 and ::1) for commands of the operator. With 5224, which\n"
        "is usual, begin with `nc 127.0.0.1 5224` and `help`."),
    SWITCH("TRANSPORT", "accept_service_credentials", 0, RESTART, relay.accept_services,
        ON,
        "Serve clients that present a certificate as services (notification servers, for example),\n"
        "which subscribe to all their queues at once. With `off` they are refused."),
    VALUE(OPT_ENDPOINT, "TRANSPORT", "metrics", OPT_OURS, RESTART, metrics,
        "off", NULL,
        "Address and port where Prometheus can ask for the figures of this server (GET /metrics), as\n"
        "in 127.0.0.1:9090. Only addresses of this machine itself: the figures are not for others."),

    SWITCH("PROXY", "enable", OPT_OURS, RESTART, proxy_enable,
        ON,
        "Forward messages of this server's users to the servers of their contacts, which then do not\n"
        "see the users' addresses. Where there is a create_password, only for those who know it."),
    WORD("PROXY", "host_mode", 0, RESTART, host_mode,
        "public", "public,onion",
        "Which host of a server that has several is connected to."),
    SWITCH("PROXY", "required_host_mode", 0, RESTART, proxy.required_host_mode,
        OFF,
        "`on`: servers without a host of that kind are not connected to. `off`: any host will do."),
    VALUE(OPT_DOMAINS, "PROXY", "own_server_domains", 0, RESTART, own_server_domains,
        NULL, "example.com example.org",
        "Domains of servers of the same operator, separated by spaces or commas; for statistics."),
    VALUE(OPT_SOCKS, "PROXY", "socks_proxy", OPT_SECRET, RESTART, socks_proxy,
        NULL, "localhost:9050",
        "SOCKS5 proxy for outgoing connections, as [user:password@]host:port. Without a user each\n"
        "connection gets a random one, by which Tor keeps them on different circuits; with an empty\n"
        "one (@host:port) there is no authentication. Without it .onion hosts cannot be reached."),
    WORD("PROXY", "socks_mode", 0, RESTART, socks_mode,
        "onion", "onion,always",
        "`onion`: only .onion hosts are reached through the SOCKS proxy. `always`: all are."),
    NUMBER("PROXY", "client_concurrency", 0, RESTART, relay.proxy_concurrency,
        BOUNDED(DEFAULT_PROXY_CONCURRENCY), "commands",
        "Messages of one client that may be under way to other servers at once; more of them wait."),
    SWITCH("PROXY", "allow_private_relays", OPT_OURS, RESTART, proxy.allow_private,
        OFF,
        "`on`: servers at private, loopback and link-local addresses may be forwarded to. Users choose\n"
        "where to; so this lets them reach your internal network as far as this machine can. For tests\n"
        "and for networks of one's own."),
    NUMBER("PROXY", "retry_after_error", OPT_OURS, RESTART, proxy.retry_after_s,
        BOUNDED(DEFAULT_RETRY_AFTER_S), "seconds",
        "Seconds for which a server that could not be connected to is not tried again."),
    NUMBER("PROXY", "connect_timeout", OPT_OURS, RESTART, proxy.connect_timeout_s,
        BOUNDED(DEFAULT_CONNECT_TIMEOUT_S), "seconds",
        "Seconds to connect to a server, from looking up its name to the end of the handshake."),
    NUMBER("PROXY", "request_timeout", OPT_OURS, RESTART, proxy.request_timeout_s,
        BOUNDED(DEFAULT_REQUEST_TIMEOUT_S), "seconds",
        "Seconds for its answer to a forwarded message."),
    NUMBER("PROXY", "ping_after", OPT_OURS, RESTART, proxy.ping_after_s,
        BOUNDED(DEFAULT_PROXY_PING_AFTER_S), "seconds",
        "Seconds of silence after which a connected server is asked whether it lives."),
    NUMBER("PROXY", "idle_close", OPT_OURS, RESTART, proxy.idle_s,
        BOUNDED(DEFAULT_PROXY_IDLE_S), "seconds",
        "Seconds after the last forwarded message, then the server is disconnected."),

    SWITCH("NAMES", "enable", 0, RESTART, names_enable,
        OFF,
        "Resolve names for clients (from version 7.0 of the apps on), with a resolver that you run."),
    VALUE(OPT_TEXT, "NAMES", "resolver_endpoint", 0, RESTART, resolver_endpoint,
        NULL, "http://localhost:8000",
        "Where the resolver is: an http or https URL, to which /resolve/NAME is added."),
    VALUE(OPT_TEXT, "NAMES", "resolver_auth", OPT_SECRET, RESTART, resolver_auth,
        NULL, "bearer TOKEN",
        "What the resolver wants to be shown: `bearer TOKEN` or `basic USER:PASSWORD`. Over http only to\n"
        "localhost, 127.0.0.1 or [::1]: elsewhere it could be read on the way."),
    NUMBER("NAMES", "resolver_timeout_ms", 0, RESTART, resolver.timeout_ms,
        BOUNDED(DEFAULT_RESOLVER_TIMEOUT_MS), "milliseconds",
        "Milliseconds for the resolver's answer."),
    NUMBER("NAMES", "resolver_max_response_bytes", 0, RESTART, resolver.response_max,
        BOUNDED(DEFAULT_RESOLVER_RESPONSE_BYTES), "bytes",
        "A longer answer of the resolver is not read."),
    NUMBER("NAMES", "resolver_concurrency", 0, RESTART, relay.resolver_concurrency,
        BOUNDED(DEFAULT_RESOLVER_CONCURRENCY), "names",
        "Names that may be asked for at once for one connection; more of them wait."),

    SWITCH("INACTIVE_CLIENTS", "disconnect", OPT_WRITTEN, RESTART, relay.disconnect_inactive,
        OFF,
        "Close the connections of clients without subscriptions that have been silent for `ttl`."),
    NUMBER("INACTIVE_CLIENTS", "ttl", OPT_WRITTEN, RESTART, relay.inactive_ttl_s,
        BOUNDED(DEFAULT_INACTIVE_TTL_S), "seconds",
        "Seconds of silence."),
    NUMBER("INACTIVE_CLIENTS", "check_interval", OPT_WRITTEN, RESTART, relay.inactive_check_s,
        BOUNDED(DEFAULT_INACTIVE_CHECK_S), "seconds",
        "Seconds between two checks."),

    VALUE(OPT_FILE, "WEB", "static_path", 0, RESTART, web_static_path,
        NULL, "/var/opt/simplex/www",
        "Directory into which the pages are written."),
    NUMBER("WEB", "http", OPT_OFF_0, RESTART, web_http,
        0, 1, UINT16_MAX, NULL,
        "Port on which they are served without TLS, for onion hosts and behind another web server:\n"
        "8000, for example."),
    NUMBER("WEB", "https", OPT_OFF_0, RESTART, web_https,
        0, 1, UINT16_MAX, NULL,
        "Port on which they are served with TLS: 443, for example. It may be one of [TRANSPORT] port.\n"
        "Needs `cert` and `key`."),
    VALUE(OPT_FILE, "WEB", "cert", 0, PAGES, web_cert,
        NULL, "/etc/opt/simplex/web.crt",
        "Certificate for `https`, with its chain, from an authority that browsers know."),
    VALUE(OPT_FILE, "WEB", "key", 0, PAGES, web_key,
        NULL, "/etc/opt/simplex/web.key",
        "Its private key."),
    VALUE(OPT_ENDPOINT, "WEB", "dashboard", OPT_OURS, RESTART, dashboard,
        "off", NULL,
        "Address and port of a page with the course of this server's figures, for its operator, as in\n"
        "127.0.0.1:8001. Only addresses of this machine itself; from elsewhere, through ssh. It asks for\n"
        "[AUTH] control_port_user_password."),

    NUMBER("LIMITS", "message_queue_quota", OPT_OURS, RESTART, message_quota,
        BOUNDED(DEFAULT_MESSAGE_QUOTA), "messages",
        "Messages that a queue holds; then senders have to wait."),
    NUMBER("LIMITS", "connections_per_address", OPT_OURS, RESTART, admission.connections_per_address,
        BOUNDED(DEFAULT_CONNECTIONS_PER_ADDRESS), "connections",
        "Connections from one IPv4 address or IPv6 /64 network, never more than half of all that the\n"
        "limit of open files allows; 0: no limit."),
    NUMBER("LIMITS", "handshakes_per_second", OPT_OURS, RESTART, admission.handshakes_per_second,
        BOUNDED(DEFAULT_HANDSHAKES_PER_SECOND), "handshakes",
        "New connections per second from all addresses; 0: no limit."),
    NUMBER("LIMITS", "handshakes_per_address", OPT_OURS, RESTART, admission.handshakes_per_address,
        BOUNDED(DEFAULT_HANDSHAKES_PER_ADDRESS), "handshakes",
        "New connections per second from one address; 0: no limit."),
    NUMBER("LIMITS", "handshakes_underway", OPT_OURS, RESTART, admission.handshakes_underway,
        BOUNDED(DEFAULT_HANDSHAKES_UNDERWAY), "handshakes",
        "Connections from one address whose TLS handshake is not done yet; 0: no limit."),
    NUMBER("LIMITS", "new_queues_per_minute", OPT_OURS, RESTART, admission.new_queues_per_minute,
        BOUNDED(DEFAULT_NEW_QUEUES_PER_MINUTE), "queues",
        "Queues that one address may create in a minute; 0: no limit."),
    NUMBER("LIMITS", "new_queues_in_all", OPT_OURS, RESTART, admission.new_queues_in_all,
        BOUNDED(DEFAULT_NEW_QUEUES_IN_ALL), "queues",
        "Queues that all addresses may create in a minute; 0: no limit."),
    NUMBER("LIMITS", "new_queues_per_day", OPT_OURS, RESTART, admission.new_queues_per_day,
        BOUNDED(DEFAULT_NEW_QUEUES_PER_DAY), "queues",
        "Queues that one address may create in a day; 0: no limit."),
    NUMBER("LIMITS", "new_services_per_day", OPT_OURS, RESTART, admission.new_services_per_day,
        BOUNDED(DEFAULT_NEW_SERVICES_PER_DAY), "services",
        "Services (bots, notification servers) that one address may make known in a day; 0: no limit."),
    NUMBER("LIMITS", "relays_underway", OPT_OURS, RESTART, admission.relays_underway,
        BOUNDED(DEFAULT_RELAYS_UNDERWAY), "relays",
        "Other relays that are being connected to at a time for one address; more have to wait for\n"
        "their turn. 0: no limit."),
    NUMBER("LIMITS", "lookups_underway", OPT_OURS, RESTART, admission.lookups_underway,
        BOUNDED(DEFAULT_LOOKUPS_UNDERWAY), "names",
        "Names of other relays that are looked up at a time for one address (of 32 in all); 0: no\n"
        "limit."),
    NUMBER("LIMITS", "forwards_underway", OPT_OURS, RESTART, admission.forwards_underway,
        BOUNDED(DEFAULT_FORWARDS_UNDERWAY), "commands",
        "Commands of one address that wait for the answers of other relays; 0: no limit."),
    NUMBER("LIMITS", "memory_percent", OPT_OURS, RESTART, memory_percent,
        BOUNDED(DEFAULT_MEMORY_PERCENT), "percent",
        "Share of the machine's memory, or of what its control group may use, above which new\n"
        "connections are refused while those that are open go on; 0: no limit."),
    SWITCH("LIMITS", "limit_localhost", OPT_OURS, RESTART, admission.limit_localhost, 0,
        "Limits of an address hold for this machine's own (127.0.0.0/8 and ::1) too. `off`, since all\n"
        "clients that come through Tor or a proxy on this machine have that one."),
    NUMBER("LIMITS", "pending_bytes_per_client", OPT_OURS, RESTART, relay.pending_bytes_max,
        BOUNDED(DEFAULT_PENDING_BYTES), "bytes",
        "Bytes of answers that may wait for a client; until it takes some, nothing more is read\n"
        "from it."),
    NUMBER_OR_NONE("LIMITS", "handshake_timeout", OPT_OURS, RESTART, relay.handshake_timeout_s,
        1, 3600, "seconds", "60",
        "Seconds for the TLS handshake, and again for the SMP handshake. By default 60 and 120."),
    NUMBER_OR_NONE("LIMITS", "message_ttl", OPT_OURS, RESTART, message_ttl_s,
        1, 100LL * A_YEAR_S, "seconds", "1814400",
        "Seconds after which messages expire. In place of expire_messages_days."),
    NUMBER("LIMITS", "expiry_interval", OPT_OURS, RESTART, expiry_interval_s,
        BOUNDED(DEFAULT_EXPIRY_INTERVAL_S), "seconds",
        "Seconds between two searches for expired messages."),
    NUMBER("LIMITS", "expire_services_days", OPT_OURS, RESTART, expire_services_days,
        BOUNDED(DEFAULT_SERVICE_TTL_DAYS), "days",
        "Days after which a service that has no queues and does not connect is forgotten."),
    NUMBER("LIMITS", "end_interval_ms", OPT_OURS, RESTART, relay.end_interval_ms,
        0, 0, END_INTERVAL_MAX_MS, "milliseconds",
        "Milliseconds for which a client is not told that its subscriptions have ended, unless there is\n"
        "something else to tell; what ends in this time is told together. The reference waits 15000."),
    NUMBER("LIMITS", "notification_interval_ms", OPT_OURS, RESTART, relay.ntf_interval_ms,
        BOUNDED(DEFAULT_NTF_INTERVAL_MS), "milliseconds",
        "Milliseconds for which notifications are collected before they are sent together."),
    NUMBER_OR_NONE("LIMITS", "notification_ttl", OPT_OURS, RESTART, ntf_ttl_s,
        1, A_YEAR_S, "seconds", "86400",
        "Seconds after which notifications expire. In place of expire_ntfs_hours."),
    NUMBER("LIMITS", "smp_version_min", OPT_OURS, RESTART, relay.version_min,
        RELAY_VERSION_MIN, RELAY_VERSION_MIN, RELAY_VERSION_MAX, NULL,
        "Oldest version of the protocol that clients may use."),
    NUMBER("LIMITS", "smp_version_max", OPT_OURS, RESTART, relay.version_max,
        RELAY_VERSION_MAX, RELAY_VERSION_MIN, RELAY_VERSION_MAX, NULL,
        "Newest version of the protocol that is offered."),

    VALUE(OPT_TEXT, "PROCESS", "user", OPT_OURS, RESTART, user,
        NULL, "smp",
        "Started as root the server becomes this user, before it makes any file; ports below 1024 are\n"
        "opened all the same. Started as another user it stays that one."),
    SWITCH("PROCESS", "sandbox", OPT_OURS, RESTART, sandbox, 1,
        "`on`: where the kernel can, the server gives up what it does not need: files other than its\n"
        "own (Landlock), parts of the kernel (seccomp), core files and debuggers. `off`: for finding\n"
        "faults in it."),
};
const size_t N_OPTS = ARRAY_LEN(OPTS);
_Static_assert(ARRAY_LEN(OPTS) <= CONF_OPTS_MAX, "struct conf has no room for so many settings");
// clang-format on
