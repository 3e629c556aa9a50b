/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* options.c -- the only list of settings: it gives parsing, defaults, ranges and errors, the file
 * that init writes, and `start --print-config`. Columns: struct opt in options.h.
 *
 * A setting whose feature this version does not have is a NOT_YET row: it is read, checked and
 * explained as any other, and a value other than its default is remarked on at the start. */
#include "app/settings/options.h"

#include <stddef.h>
#include <stdint.h>

#include "model/limits.h"
#include "relay/relay.h"

#define AT(field) offsetof(struct conf, field)
#define INFO(key, type, sample, help)                                                              \
    {                                                                                              \
        "INFORMATION", #key, type, OPT_NOT_YET | OPT_RELOAD, AT(information.key), 0, NULL, 0, 0,   \
            NULL, sample, help                                                                     \
    }
enum { A_DAY_S = 86400, A_YEAR_S = 365 * A_DAY_S };

// clang-format off
const struct opt_section OPT_SECTIONS[] = {
    {"INFORMATION",
        "What the page about this server tells its users. Everything here is public and may be left\n"
        "out; but whoever tells anything has to tell where the source code is too, as the licence\n"
        "(AGPL-3.0) demands, in particular of modified versions."},
    {"STORE_LOG", NULL},
    {"AUTH", NULL},
    {"TRANSPORT", NULL},
    {"PROXY", "Forwarding messages to other servers (private message routing)."},
    {"NAMES", "Resolving names for the apps, through an HTTP resolver."},
    {"INACTIVE_CLIENTS", "Clients that neither send nor receive anything."},
    {"WEB", "Pages: about this server, and for opening connection links in a browser."},
    {"LIMITS", "What one client or one address may take of the server."},
};
const size_t N_OPT_SECTIONS = ARRAY_LEN(OPT_SECTIONS);

const struct opt OPTS[] = {
    /* section, key, type, flags, offset,
     *   default, default text, min, max, unit, words or sample,
     *   help */
    {"INFORMATION", "source_code", OPT_TEXT, 0, AT(information.source_code),
        0, NULL, 0, 0, NULL, "https://example.org/source",
        "Where users find the source code of this server, as it runs; printed at the start. Required\n"
        "with any of the others."},
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

    {"STORE_LOG", "enable", OPT_BOOL, OPT_WRITTEN, AT(store_log),
        0, NULL, 0, 0, NULL, NULL,
        "`on`: queues are kept on disk, in the store log (smp-server-store.log), and outlive\n"
        "restarts, crashes and power loss. `off`: the server never writes anything to disk;\n"
        "when it stops, for whatever reason, all queues and messages are gone, and its users\n"
        "have to connect to all their contacts anew."},
    {"STORE_LOG", "store_queues", OPT_WORD, OPT_WRITTEN, AT(store_queues),
        0, "memory", 0, 0, NULL, "memory,database",
        "Where queue records are looked up: `memory`, filled from the store log. There is no\n"
        "`database` in this version."},
    {"STORE_LOG", "store_messages", OPT_WORD, OPT_WRITTEN, AT(store_messages),
        0, "memory", 0, 0, NULL, "memory,journal,database",
        "Where messages are until they are received.\n"
        "`journal`: on disk. They outlive restarts, crashes and power loss (see `sync`), and\n"
        "take next to no memory.\n"
        "`memory`: in memory. They outlive an orderly stop (see `restore_messages`); a crash or\n"
        "a power loss loses all of them.\n"
        "Before you change this, stop the server and run `smp-server journal import` (from\n"
        "memory to journal) or `smp-server journal export` (back). There is no `database` in\n"
        "this version."},
    {"STORE_LOG", "restore_messages", OPT_BOOL, OPT_WRITTEN, AT(restore_messages),
        1, NULL, 0, 0, NULL, NULL,
        "With `store_messages = memory`: save messages to smp-server-messages.log at an orderly\n"
        "stop and read them at the next start, which keeps that file as\n"
        "smp-server-messages.log.bak. With `off` every stop loses all messages."},
    {"STORE_LOG", "sync", OPT_WORD, OPT_OURS, AT(sync),
        0, "always", 0, 0, NULL, "always,interval",
        "`always`: what a client was told is on disk, whatever happens to the machine.\n"
        "`interval`: the disk is brought up to date once a second and answers do not wait for\n"
        "it, which helps slow disks; a power loss or a crash of the system loses up to 1 second\n"
        "of messages that were accepted and of changes of queues, and can bring back messages\n"
        "that were received in it."},
    {"STORE_LOG", "journal_path", OPT_PATH, OPT_OURS, AT(journal_path),
        0, NULL, 0, 0, NULL, "/var/opt/simplex/journal",
        "Directory of the journal. By default `journal` beside the store log."},
    {"STORE_LOG", "expire_messages_days", OPT_INT, OPT_WRITTEN, AT(expire_messages_days),
        DEFAULT_MESSAGE_TTL_DAYS, NULL, 1, 36500, "days", NULL,
        "Messages that nobody received for so many days are deleted."},
    {"STORE_LOG", "expire_messages_on_start", OPT_BOOL, OPT_WRITTEN, AT(expire_on_start),
        1, NULL, 0, 0, NULL, NULL,
        "Delete expired messages when the server starts."},
    {"STORE_LOG", "expire_messages_on_send", OPT_BOOL, OPT_WRITTEN, AT(expire_on_send),
        0, NULL, 0, 0, NULL, NULL,
        "Delete the expired messages of a queue also when a message is sent to it. The reference does\n"
        "so where its file does not say `off`."},
    {"STORE_LOG", "expire_ntfs_hours", OPT_INT, OPT_WRITTEN, AT(expire_ntfs_hours),
        DEFAULT_NTF_TTL_HOURS, NULL, 1, 8784, "hours", NULL,
        "Notifications that nobody asked for in so many hours are dropped; the messages stay."},
    {"STORE_LOG", "log_stats", OPT_BOOL, OPT_WRITTEN, AT(log_stats),
        0, NULL, 0, 0, NULL, NULL,
        "Write a line of statistics a day, at midnight UTC, to smp-server-stats.daily.log, and keep\n"
        "the counters over restarts in smp-server-stats.log."},
    {"STORE_LOG", "prometheus_interval", OPT_INT, OPT_OFF_0, AT(prometheus_interval_s),
        0, NULL, 1, A_DAY_S, "seconds", NULL,
        "Seconds after which smp-server-metrics.txt, for Prometheus, is written anew; 60, for example."},
    {"STORE_LOG", "db_connection", OPT_TEXT, OPT_NOT_YET | OPT_SECRET, AT(db_connection),
        0, "postgresql://smp@/smp_server_store", 0, 0, NULL, NULL,
        "Database for `store_queues = database`."},
    {"STORE_LOG", "db_schema", OPT_TEXT, OPT_NOT_YET, AT(db_schema),
        0, "smp_server", 0, 0, NULL, NULL,
        "Schema in it."},
    {"STORE_LOG", "db_pool_size", OPT_INT, OPT_NOT_YET, AT(db_pool_size),
        10, NULL, 1, 1000, "connections", NULL,
        "Connections to it."},
    {"STORE_LOG", "db_store_log", OPT_BOOL, OPT_NOT_YET, AT(db_store_log),
        0, NULL, 0, 0, NULL, NULL,
        "Keep the store log too."},
    {"STORE_LOG", "db_deleted_ttl", OPT_INT, OPT_NOT_YET, AT(db_deleted_ttl),
        21, NULL, 0, 100LL * A_YEAR_S, NULL, NULL,
        "How long deleted queues stay in it."},

    {"AUTH", "new_queues", OPT_BOOL, OPT_WRITTEN | OPT_RELOAD, AT(new_queues),
        1, NULL, 0, 0, NULL, NULL,
        "With `off` nobody can create queues; those that exist go on. For a server that will be\n"
        "given up."},
    {"AUTH", "create_password", OPT_PASSWORD, OPT_SECRET | OPT_RELOAD, AT(create_password),
        0, NULL, 0, 0, NULL, "password",
        "Only those who know this password can create queues. It is a part of the server address\n"
        "(smp://fingerprint:password@host): share that only with users of the server. Their\n"
        "contacts do not need it. Printable ASCII characters without space, @, : and /"},
    {"AUTH", "control_port_admin_password", OPT_PASSWORD, OPT_SECRET | OPT_RELOAD,
        AT(control_port_admin_password),
        0, NULL, 0, 0, NULL, "password",
        "Password for all commands of the control port (see [TRANSPORT] control_port). Without it\n"
        "nobody can use them."},
    {"AUTH", "control_port_user_password", OPT_PASSWORD, OPT_SECRET | OPT_RELOAD,
        AT(control_port_user_password),
        0, NULL, 0, 0, NULL, "password",
        "Password for statistics and for blocking queues through the control port."},
    {"AUTH", "daily_block_queue_quota", OPT_INT, OPT_RELOAD,
        AT(daily_block_queue_quota),
        20, NULL, -1, 1000000, "queues", NULL,
        "Queues that may be blocked through the control port in a day, until midnight UTC; 0: any\n"
        "number, -1: none."},

    {"TRANSPORT", "host", OPT_HOST, OPT_WRITTEN, AT(host),
        0, "<hostnames>", 0, 0, NULL, NULL,
        "Names or addresses under which clients reach the server, separated by commas, onion\n"
        "hosts too. They are only printed, as a part of the server address."},
    {"TRANSPORT", "port", OPT_PORTS, OPT_WRITTEN, AT(ports),
        0, "5223,443", 0, 0, NULL, NULL,
        "Ports to listen on, separated by commas. A port below 1024 needs the capability\n"
        "CAP_NET_BIND_SERVICE; without it such a port is left out, with a warning, if another one is\n"
        "served."},
    {"TRANSPORT", "bind", OPT_ADDRESSES, OPT_OURS, AT(bind),
        0, NULL, 0, 0, NULL, "192.0.2.1,2001:db8::1",
        "Addresses of this machine to listen on, separated by commas. By default all, IPv4 and\n"
        "IPv6."},
    {"TRANSPORT", "threads", OPT_INT, OPT_OURS, AT(threads),
        0, NULL, 0, 256, "threads", NULL,
        "Threads that serve clients; 0: one for each processor."},
    {"TRANSPORT", "log_tls_errors", OPT_BOOL, OPT_RELOAD | OPT_WRITTEN, AT(log_tls_errors),
        0, NULL, 0, 0, NULL, NULL,
        "Log why connections fail in their TLS handshake; never whose."},
    {"TRANSPORT", "log_level", OPT_WORD, OPT_OURS | OPT_RELOAD, AT(log_level),
        0, "info", 0, 0, NULL, "error,warn,info,debug,trace",
        "How much is logged. `start --log-level` comes before it."},
    {"TRANSPORT", "websockets", OPT_WEBSOCKETS, OPT_NOT_YET | OPT_WRITTEN, AT(websockets),
        0, "off", 0, 0, NULL, NULL,
        "Ports for clients that come through WebSockets."},
    {"TRANSPORT", "control_port", OPT_INT, OPT_OFF_0, AT(control_port),
        0, NULL, 1, UINT16_MAX, NULL, NULL,
        "Port on this machine itself (127.0.0.1 and ::1) for commands of the operator. With 5224, which\n"
        "is usual, begin with `nc 127.0.0.1 5224` and `help`."},
    {"TRANSPORT", "accept_service_credentials", OPT_BOOL, 0, AT(accept_services),
        1, NULL, 0, 0, NULL, NULL,
        "Serve clients that present a certificate as services (notification servers, for example),\n"
        "which subscribe to all their queues at once. With `off` they are refused."},
    {"TRANSPORT", "metrics", OPT_ENDPOINT, OPT_OURS, AT(metrics),
        0, "off", 0, 0, NULL, NULL,
        "Address and port where Prometheus can ask for the figures of this server (GET /metrics), as\n"
        "in 127.0.0.1:9090. Only addresses of this machine itself: the figures are not for others."},

    {"PROXY", "enable", OPT_BOOL, OPT_OURS, AT(proxy_enable),
        1, NULL, 0, 0, NULL, NULL,
        "Forward messages of this server's users to the servers of their contacts, which then do not\n"
        "see the users' addresses. Where there is a create_password, only for those who know it."},
    {"PROXY", "host_mode", OPT_WORD, 0, AT(host_mode),
        0, "public", 0, 0, NULL, "public,onion",
        "Which host of a server that has several is connected to."},
    {"PROXY", "required_host_mode", OPT_BOOL, 0, AT(required_host_mode),
        0, NULL, 0, 0, NULL, NULL,
        "`on`: servers without a host of that kind are not connected to. `off`: any host will do."},
    {"PROXY", "own_server_domains", OPT_DOMAINS, 0, AT(own_server_domains),
        0, NULL, 0, 0, NULL, "example.com example.org",
        "Domains of servers of the same operator, separated by spaces or commas; for statistics."},
    {"PROXY", "socks_proxy", OPT_SOCKS, OPT_SECRET, AT(socks_proxy),
        0, NULL, 0, 0, NULL, "localhost:9050",
        "SOCKS5 proxy for outgoing connections, as [user:password@]host:port. Without a user each\n"
        "connection gets a random one, by which Tor keeps them on different circuits; with an empty\n"
        "one (@host:port) there is no authentication. Without it .onion hosts cannot be reached."},
    {"PROXY", "socks_mode", OPT_WORD, 0, AT(socks_mode),
        0, "onion", 0, 0, NULL, "onion,always",
        "`onion`: only .onion hosts are reached through the SOCKS proxy. `always`: all are."},
    {"PROXY", "client_concurrency", OPT_INT, 0, AT(proxy_concurrency),
        DEFAULT_PROXY_CONCURRENCY, NULL, 1, 1000, "commands", NULL,
        "Messages of one client that may be under way to other servers at once; more of them wait."},
    {"PROXY", "allow_private_relays", OPT_BOOL, OPT_OURS, AT(allow_private_relays),
        0, NULL, 0, 0, NULL, NULL,
        "`on`: servers at private, loopback and link-local addresses may be forwarded to. Users choose\n"
        "where to; so this lets them reach your internal network as far as this machine can. For tests\n"
        "and for networks of one's own."},
    {"PROXY", "retry_after_error", OPT_INT, OPT_OURS, AT(retry_after_error_s),
        DEFAULT_RETRY_AFTER_S, NULL, 0, 3600, "seconds", NULL,
        "Seconds for which a server that could not be connected to is not tried again."},
    {"PROXY", "connect_timeout", OPT_INT, OPT_OURS, AT(connect_timeout_s),
        DEFAULT_CONNECT_TIMEOUT_S, NULL, 1, 300, "seconds", NULL,
        "Seconds to connect to a server, from looking up its name to the end of the handshake."},
    {"PROXY", "request_timeout", OPT_INT, OPT_OURS, AT(request_timeout_s),
        DEFAULT_REQUEST_TIMEOUT_S, NULL, 1, 300, "seconds", NULL,
        "Seconds for its answer to a forwarded message."},
    {"PROXY", "ping_after", OPT_INT, OPT_OURS, AT(proxy_ping_after_s),
        DEFAULT_PROXY_PING_AFTER_S, NULL, 1, A_DAY_S, "seconds", NULL,
        "Seconds of silence after which a connected server is asked whether it lives."},
    {"PROXY", "idle_close", OPT_INT, OPT_OURS, AT(proxy_idle_s),
        DEFAULT_PROXY_IDLE_S, NULL, 1, A_DAY_S, "seconds", NULL,
        "Seconds after the last forwarded message, then the server is disconnected."},

    {"NAMES", "enable", OPT_BOOL, 0, AT(names_enable),
        0, NULL, 0, 0, NULL, NULL,
        "Resolve names for clients (from version 7.0 of the apps on), with a resolver that you run."},
    {"NAMES", "resolver_endpoint", OPT_TEXT, 0, AT(resolver_endpoint),
        0, NULL, 0, 0, NULL, "http://localhost:8000",
        "Where the resolver is: an http or https URL, to which /resolve/NAME is added."},
    {"NAMES", "resolver_auth", OPT_TEXT, OPT_SECRET, AT(resolver_auth),
        0, NULL, 0, 0, NULL, "bearer TOKEN",
        "What the resolver wants to be shown: `bearer TOKEN` or `basic USER:PASSWORD`. Over http only to\n"
        "localhost, 127.0.0.1 or [::1]: elsewhere it could be read on the way."},
    {"NAMES", "resolver_timeout_ms", OPT_INT, 0, AT(resolver_timeout_ms),
        DEFAULT_RESOLVER_TIMEOUT_MS, NULL, RESOLVER_TIMEOUT_MIN_MS, RESOLVER_TIMEOUT_MAX_MS,
        "milliseconds", NULL, "Milliseconds for the resolver's answer."},
    {"NAMES", "resolver_max_response_bytes", OPT_INT, 0, AT(resolver_max_response_bytes),
        DEFAULT_RESOLVER_RESPONSE_BYTES, NULL, RESOLVER_RESPONSE_MIN_BYTES,
        RESOLVER_RESPONSE_MAX_BYTES, "bytes", NULL,
        "A longer answer of the resolver is not read."},
    {"NAMES", "resolver_concurrency", OPT_INT, 0, AT(resolver_concurrency),
        DEFAULT_RESOLVER_CONCURRENCY, NULL, 1, RESOLVER_CONCURRENCY_MAX, "names", NULL,
        "Names that may be asked for at once for one connection; more of them wait."},

    {"INACTIVE_CLIENTS", "disconnect", OPT_BOOL, OPT_WRITTEN, AT(disconnect_inactive),
        0, NULL, 0, 0, NULL, NULL,
        "Close the connections of clients without subscriptions that have been silent for `ttl`."},
    {"INACTIVE_CLIENTS", "ttl", OPT_INT, OPT_WRITTEN, AT(inactive_ttl_s),
        DEFAULT_INACTIVE_TTL_S, NULL, 1, A_YEAR_S, "seconds", NULL,
        "Seconds of silence."},
    {"INACTIVE_CLIENTS", "check_interval", OPT_INT, OPT_WRITTEN, AT(inactive_check_s),
        DEFAULT_INACTIVE_CHECK_S, NULL, 1, A_DAY_S, "seconds", NULL,
        "Seconds between two checks."},

    {"WEB", "static_path", OPT_FILE, OPT_NOT_YET | OPT_TACIT, AT(web_static_path),
        0, NULL, 0, 0, NULL, "/var/opt/simplex/www",
        "Directory into which the pages are written."},
    {"WEB", "http", OPT_INT, OPT_NOT_YET | OPT_OFF_0, AT(web_http),
        0, NULL, 1, UINT16_MAX, NULL, NULL,
        "Port on which they are served without TLS, for onion hosts and behind another web server:\n"
        "8000, for example."},
    {"WEB", "https", OPT_INT, OPT_NOT_YET | OPT_OFF_0 | OPT_TACIT, AT(web_https),
        0, NULL, 1, UINT16_MAX, NULL, NULL,
        "Port on which they are served with TLS: 443, for example. It may be one of [TRANSPORT] port.\n"
        "Needs `cert` and `key`."},
    {"WEB", "cert", OPT_FILE, OPT_NOT_YET | OPT_RELOAD | OPT_TACIT, AT(web_cert),
        0, NULL, 0, 0, NULL, "/etc/opt/simplex/web.crt",
        "Certificate for `https`, with its chain, from an authority that browsers know."},
    {"WEB", "key", OPT_FILE, OPT_NOT_YET | OPT_RELOAD | OPT_TACIT, AT(web_key),
        0, NULL, 0, 0, NULL, "/etc/opt/simplex/web.key",
        "Its private key."},

    {"LIMITS", "message_queue_quota", OPT_INT, OPT_OURS, AT(message_quota),
        DEFAULT_MESSAGE_QUOTA, NULL, 1, 10000, "messages", NULL,
        "Messages that a queue holds; then senders have to wait."},
    {"LIMITS", "connections_per_address", OPT_INT, OPT_OURS, AT(connections_per_address),
        DEFAULT_CONNECTIONS_PER_ADDRESS, NULL, 0, 10000000, "connections", NULL,
        "Connections from one IPv4 address or IPv6 /64 network; 0: no limit."},
    {"LIMITS", "handshakes_per_second", OPT_INT, OPT_OURS, AT(handshakes_per_second),
        DEFAULT_HANDSHAKES_PER_SECOND, NULL, 0, 1000000, "handshakes", NULL,
        "New connections per second from all addresses; 0: no limit."},
    {"LIMITS", "new_queues_per_minute", OPT_INT, OPT_OURS, AT(new_queues_per_minute),
        DEFAULT_NEW_QUEUES_PER_MINUTE, NULL, 0, 1000000, "queues", NULL,
        "Queues that one address may create in a minute; 0: no limit."},
    {"LIMITS", "pending_bytes_per_client", OPT_INT, OPT_OURS, AT(pending_bytes),
        DEFAULT_PENDING_BYTES, NULL, 32768, 1 << 30, "bytes", NULL,
        "Bytes of answers that may wait for a client; until it takes some, nothing more is read\n"
        "from it."},
    {"LIMITS", "handshake_timeout", OPT_INT, OPT_UNSET_0 | OPT_OURS, AT(handshake_timeout_s),
        0, NULL, 1, 3600, "seconds", "60",
        "Seconds for the TLS handshake, and again for the SMP handshake. By default 60 and 120."},
    {"LIMITS", "message_ttl", OPT_INT, OPT_UNSET_0 | OPT_OURS, AT(message_ttl_s),
        0, NULL, 1, 100LL * A_YEAR_S, "seconds", "1814400",
        "Seconds after which messages expire. In place of expire_messages_days."},
    {"LIMITS", "expiry_interval", OPT_INT, OPT_OURS, AT(expiry_interval_s),
        DEFAULT_EXPIRY_INTERVAL_S, NULL, 1, A_YEAR_S, "seconds", NULL,
        "Seconds between two searches for expired messages."},
    {"LIMITS", "end_interval_ms", OPT_INT, OPT_OURS, AT(end_interval_ms),
        0, NULL, 0, END_INTERVAL_MAX_MS, "milliseconds", NULL,
        "Milliseconds for which a client is not told that its subscriptions have ended, unless there is\n"
        "something else to tell; what ends in this time is told together. The reference waits 15000."},
    {"LIMITS", "notification_interval_ms", OPT_INT, OPT_OURS, AT(ntf_interval_ms),
        DEFAULT_NTF_INTERVAL_MS, NULL, 0, 60000, "milliseconds", NULL,
        "Milliseconds for which notifications are collected before they are sent together."},
    {"LIMITS", "notification_ttl", OPT_INT, OPT_UNSET_0 | OPT_OURS, AT(ntf_ttl_s),
        0, NULL, 1, A_YEAR_S, "seconds", "86400",
        "Seconds after which notifications expire. In place of expire_ntfs_hours."},
    {"LIMITS", "smp_version_min", OPT_INT, OPT_OURS, AT(version_min),
        RELAY_VERSION_MIN, NULL, RELAY_VERSION_MIN, RELAY_VERSION_MAX, NULL, NULL,
        "Oldest version of the protocol that clients may use."},
    {"LIMITS", "smp_version_max", OPT_INT, OPT_OURS, AT(version_max),
        RELAY_VERSION_MAX, NULL, RELAY_VERSION_MIN, RELAY_VERSION_MAX, NULL, NULL,
        "Newest version of the protocol that is offered."},
};
const size_t N_OPTS = ARRAY_LEN(OPTS);
_Static_assert(ARRAY_LEN(OPTS) <= CONF_OPTS_MAX, "struct conf has no room for so many settings");
// clang-format on
