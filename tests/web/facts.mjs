// SPDX-License-Identifier: AGPL-3.0-or-later
// What a server tells its pages: all of it, and the least that there can be.

const FINGERPRINT = "d5fcsc7hhtPpexYUbI2XPxDbyU2d3WsVmROimcL90ss=";
const ONION = "smp4onion5d6uqyg4bzqyexamplexampleexampleexample2ad.onion";

export const LEAST = {
  name: "", host: "", software: "smp-server", version: "0.1.0", smp_versions: "6-20", keeps_nothing: "1",
  ttl_zero: "1",
};

const withLink = (key, url) => ({ [key]: url, [`${key}_link`]: url });

export const ALL = {
  name: "smp.example.org", host: "smp.example.org", onion_host: ONION,
  address: `smp://${FINGERPRINT}@smp.example.org,${ONION}`, onion_address: `smp://${FINGERPRINT}@${ONION}`,
  fingerprint: FINGERPRINT, software: "smp-server", version: "0.1.0", commit: "d8dd5f8",
  commit_link: "https://example.org/source/commit/d8dd5f8", smp_versions: "6-20",
  ...withLink("source_code", "https://example.org/source"), info: "1", about: "1",
  ...withLink("website", "https://example.org"),
  ...withLink("usage_conditions", "https://example.org/conditions"),
  ...withLink("condition_amendments", "https://example.org/amendments"),
  operator: "Example Ltd", operator_country: "FR",
  hosting: "Example Hosting", hosting_country: "FI",
  hosting_type: "1", hosting_virtual: "1", server_country: "DE",
  admin: "1", admin_simplex_link: "https://smp.example.org/a#key", admin_email: "admin@example.org",
  admin_pgp_link: "https://example.org/admin.asc",
  admin_pgp_fingerprint: "0123 4567 89AB CDEF 0123 4567 89AB CDEF 0123 4567",
  complaints: "1", complaints_simplex_link: "https://smp.example.org/a#other", complaints_email: "abuse@example.org",
  complaints_pgp_link: "https://example.org/abuse.asc",
  complaints_pgp_fingerprint: "76AB CDEF 0123 4567 89AB CDEF 0123 4567 89AB CDEF",
  keeps_messages: "1", ttl_days: "21", ttl_days_many: "1", stats_on: "1", new_queues_on: "1", auth_on: "1",
};

// What must be escaped, in each value.
export const HOSTILE = Object.fromEntries(Object.entries(ALL).map(([key, value]) =>
  [key, value === "1" || /_country$|^ttl_/.test(key) ? value : `${value}<&"'>`]));

const address = { long: ALL.address, onion: ALL.onion_address, print: FINGERPRINT };
const contacts = (simplex, mail, key, print) => `${simplex}\n${mail}\n${key} ${print}`;

// The page of ALL, row by row.
export const FULL_ROWS = {
  en: {
    "Server address": address.long, "Onion address": address.onion, "Fingerprint": address.print,
    "Operator": "Example Ltd, France (FR)", "Website": "https://example.org",
    "Conditions of use": "https://example.org/conditions", "Amendments": "https://example.org/amendments",
    "Server country": "Germany (DE)", "Hosting provider": "Example Hosting, Finland (FI)", "Hosting type": "Virtual machine",
    "Administrators": contacts("SimpleX address", ALL.admin_email, "PGP key", ALL.admin_pgp_fingerprint),
    "Complaints and feedback": contacts("SimpleX address", ALL.complaints_email, "PGP key", ALL.complaints_pgp_fingerprint),
    "Kept across restarts": "Queues and messages", "Messages expire after": "21 days", "Daily statistics": "Yes",
    "New queues accepted": "Yes", "Password for new queues": "Yes",
    "Version": "smp-server 0.1.0 / d8dd5f8", "SMP versions": "6-20", "Source code": "https://example.org/source",
  },
  fr: {
    "Adresse du serveur": address.long, "Adresse onion": address.onion, "Empreinte": address.print,
    "Opérateur": "Example Ltd, France (FR)", "Site web": "https://example.org",
    "Conditions d’utilisation": "https://example.org/conditions", "Modifications des conditions": "https://example.org/amendments",
    "Pays du serveur": "Allemagne (DE)", "Hébergeur": "Example Hosting, Finlande (FI)", "Type d’hébergement": "Machine virtuelle",
    "Administration": contacts("Adresse SimpleX", ALL.admin_email, "Clé PGP", ALL.admin_pgp_fingerprint),
    "Réclamations et remarques": contacts("Adresse SimpleX", ALL.complaints_email, "Clé PGP", ALL.complaints_pgp_fingerprint),
    "Conservé au redémarrage": "Files d’attente et messages", "Expiration des messages": "21 jours",
    "Statistiques quotidiennes": "Oui", "Nouvelles files d’attente": "Oui", "Mot de passe pour les créer": "Oui",
    "Version": "smp-server 0.1.0 / d8dd5f8", "Versions de SMP": "6-20", "Code source": "https://example.org/source",
  },
  ja: {
    "サーバーアドレス": address.long, "onionアドレス": address.onion, "フィンガープリント": address.print,
    "運営者": "Example Ltd、フランス（FR）", "ウェブサイト": "https://example.org",
    "使用条件": "https://example.org/conditions", "使用条件の修正": "https://example.org/amendments",
    "サーバーの所在国": "ドイツ（DE）", "ホスティングプロバイダー": "Example Hosting、フィンランド（FI）", "ホスティングの種類": "仮想サーバー",
    "管理者の連絡先": contacts("SimpleXアドレス", ALL.admin_email, "PGP鍵", ALL.admin_pgp_fingerprint),
    "苦情とフィードバック": contacts("SimpleXアドレス", ALL.complaints_email, "PGP鍵", ALL.complaints_pgp_fingerprint),
    "再起動後も残るもの": "キューとメッセージ", "メッセージの有効期限": "21日", "日次統計": "はい",
    "新しいキューの受け付け": "はい", "キュー作成時のパスワード": "はい",
    "バージョン": "smp-server 0.1.0 / d8dd5f8", "SMPのバージョン": "6-20", "ソースコード": "https://example.org/source",
  },
};

// The page of LEAST.
export const LEAST_ROWS = {
  en: {
    "Kept across restarts": "Nothing, in memory only", "Messages expire after": "0 sec", "Daily statistics": "No",
    "New queues accepted": "No", "Password for new queues": "No", "Version": "smp-server 0.1.0", "SMP versions": "6-20",
    "Source code": "Not given. The licence (AGPLv3) requires it: the operator can add source_code to smp-server.ini.",
  },
  fr: {
    "Conservé au redémarrage": "Rien, tout est en mémoire", "Expiration des messages": "0 s", "Statistiques quotidiennes": "Non",
    "Nouvelles files d’attente": "Non", "Mot de passe pour les créer": "Non", "Version": "smp-server 0.1.0", "Versions de SMP": "6-20",
    "Code source": "Non indiqué. La licence (AGPLv3) l’exige\u00a0: l’opérateur peut ajouter source_code à smp-server.ini.",
  },
  ja: {
    "再起動後も残るもの": "なし（メモリ上のみ）", "メッセージの有効期限": "0秒", "日次統計": "いいえ", "新しいキューの受け付け": "いいえ",
    "キュー作成時のパスワード": "いいえ", "バージョン": "smp-server 0.1.0", "SMPのバージョン": "6-20",
    "ソースコード": "記載がありません。ライセンス（AGPLv3）により公開が必要です。運営者はsmp-server.iniにsource_codeを追加してください。",
  },
};
