#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# A StackScript for Linode: a new machine with Debian 12 or 13, or Ubuntu 22.04 or 24.04, becomes an SMP
# server. What it did is in /var/log/stackscript.log, the address in /root/smp-server-address.
#
# <UDF name="enable_store_log" label="Keep queues and messages on disk, so that they outlive a restart" default="on" oneof="on, off" />
# <UDF name="api_token" label="Linode API token, to make the DNS record of the name and tags with address and version (read and write for linodes and domains); may be left out" default="" />
# <UDF name="fqdn" label="Name of the server, as smp.example.com; without it its IP address is taken" default="" />
# <UDF name="releases" label="Where releases are: an address that ends before /releases/latest" example="https://git.example.com/smp-server" />
# <UDF name="install_sha256" label="SHA-256 of install.sh of the newest release" />
set -euo pipefail
exec &> >(tee -i /var/log/stackscript.log)
export DEBIAN_FRONTEND=noninteractive
API=https://api.linode.com/v4

api() { # METHOD PATH BODY [FILTER]
    local filter={}
    [[ $# -lt 4 ]] || filter=$4
    curl --fail --silent --show-error --request "$1" --header "Authorization: Bearer $API_TOKEN" \
        --header 'Content-Type: application/json' --header "X-Filter: $filter" ${3:+--data "$3"} "$API/$2"
}

# The A record of the name, in a zone that is Linode's.
make_record() {
    local zone=${FQDN#*.} id
    id=$(api GET domains '' "{\"domain\": \"$zone\"}" | grep -o '"id": *[0-9]*' | head -n 1 | tr -dc 0-9)
    [[ -n $id ]] || { echo "Linode has no zone $zone: make the A record of $FQDN where it is." && return; }
    api POST "domains/$id/records" "{\"type\": \"A\", \"name\": \"${FQDN%%.*}\", \"target\": \"$ip\", \"ttl_sec\": 300}" >/dev/null
}

make_tags() {
    api PUT "linode/instances/$LINODE_ID" "{\"tags\": [\"$(cut -c 1-50 /etc/opt/simplex/fingerprint)\", \"${FQDN:-$ip}\", \"$(smp-server -v | cut -c 1-50)\"]}" >/dev/null
}

cd /root
apt-get update -q
apt-get dist-upgrade -q -y -o Dpkg::Options::=--force-confold
apt-get install -q -y ca-certificates curl openssl ufw uacme
curl --fail --silent --show-error --location --proto '=https' --output install.sh "$RELEASES/releases/latest/download/install.sh"
echo "$INSTALL_SHA256  install.sh" | sha256sum --check --quiet
sh install.sh --yes

for port in ssh 80/tcp 443/tcp 5223/tcp; do ufw allow "$port"; done
ufw --force enable

ip=$(hostname -I | cut -d ' ' -f 1)
# There is no /etc/opt/simplex/web.crt and web.key yet: see what is shown at login.
init_opts=(--yes --no-password --disable-web --ip "$ip")
[[ $ENABLE_STORE_LOG == on ]] || init_opts+=(--disable-store-log)
[[ -z $FQDN ]] || init_opts+=(--fqdn "$FQDN")
su smp -c "smp-server init ${init_opts[*]}"
systemctl enable --now smp-server
simplex-servers-health
su smp -c "smp-server address" >/root/smp-server-address

cat >>/etc/motd <<MOTD

SMP server: $(cat /root/smp-server-address)
Is it well: simplex-servers-health      Save it: simplex-servers-backup      Manual: man smp-server
For pages with a padlock, which need a name: uncomment WEB https/cert/key in /etc/opt/simplex/smp-server.ini,
then: simplex-servers-certs issue && systemctl restart smp-server
MOTD

# The server runs: what else there is must not end this.
if [[ -n $API_TOKEN ]]; then
    [[ -z $FQDN ]] || make_record || echo "The DNS record could not be made: make the A record of $FQDN yourself, to $ip."
    make_tags || echo "The tags could not be made."
fi
echo "Ready: $(cat /root/smp-server-address)"
