#!/bin/bash
# A real PPPoE session against a RADIUS server on this machine's loopback.
#
#   pppoe_vm.sh AUTHPORT SECRET USER PASSWORD pap|chap|mschap1|mschap2
#
# Boots Debian's user-mode Linux (a kernel with PPPoE that runs as a plain process; the
# machine's own kernel has no PPP) on this machine's root file system, read-only. In it,
# two network namespaces joined by a cable: the subscriber (pppd with its PPPoE plugin)
# and the access concentrator (rp-pppoe's pppoe-server, pppd's radius and radattr plugins).
# RADIUS leaves through slirp, so the server sees it come from 127.0.0.1.
# Accounting goes to AUTHPORT+1 unless ACCTPORT is set.
#
#   HOLD=SECONDS      keep the session up that long (default 3, at most 600; hold for longer
#                     than Acct-Interim-Interval to see interim accounting)
#   PINGS=N           echo requests of 1000 bytes across the session (default 3)
#   NAS_ID=NAME       NAS-Identifier (default uml-bras); if empty, the requests have
#   NAS_IP=ADDRESS    NAS-IP-Address instead (default 10.0.2.15): pppd sends only one
#   KEEP=DIR          keep the logs of both ends in DIR
#
#   TAP=DEVICE        instead of slirp, use this tap device of the network namespace that
#                     the script is run in, with NAS_IP/24 at the concentrator's end:
#                     requests then come from NAS_IP. Make it with
#                     'ip tuntap add DEVICE mode tap', give it an address, set it up.
#   GW=ADDRESS        with TAP: the concentrator's default route
#   RADIUS=ADDRESS    where the RADIUS server is (needed with TAP; default 10.0.2.2,
#                     slirp's name for the machine's own 127.0.0.1)
#
# Needs the Debian packages user-mode-linux ppp pppoe slirp iproute2 iputils-ping kmod.
# Prints KEY=VALUE lines: auth (accepted, refused, no_reply, bad_secret,
# unknown), link, local_ip, peer_ip, ping, client_exit (pppd's); one line attr=NAME VALUE
# for each attribute of the Access-Accept as the concentrator read it; and seconds since
# the start of the guest (t_*).
# Exit status: 0 session came up and pinged, 1 refused, 2 wrong use, 3 anything else.
set -u
[ $# = 5 ] || { sed -n '1d; /^set/q; s/^# \{0,1\}//p' "$0" >&2; exit 2; }
AUTHPORT=$1 SECRET=$2 USER_=$3 PASS=$4 METHOD=$5
case $METHOD in pap|chap|mschap1|mschap2) ;; *) echo "unknown method: $METHOD" >&2; exit 2;; esac
HOLD=${HOLD:-3}; [ "$HOLD" -le 600 ] || HOLD=600
for c in linux.uml pppd pppoe-server slirp-fullbolt ip ping modprobe; do
  command -v $c >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v $c >/dev/null ||
    { echo "missing $c: apt-get install user-mode-linux ppp pppoe slirp iproute2 iputils-ping kmod" >&2; exit 2; }
done
W=$(mktemp -d /tmp/pppoe_vm.XXXXXX)
trap 'rm -rf "$W"' EXIT
{ printf '%s=%q\n' AUTHPORT "$AUTHPORT" ACCTPORT "${ACCTPORT:-$((AUTHPORT + 1))}" \
    SECRET "$SECRET" USER_ "$USER_" PASS "$PASS" METHOD "$METHOD" HOLD "$HOLD" \
    PINGS "${PINGS:-3}" NAS_ID "${NAS_ID-uml-bras}" \
    NAS_IP "${NAS_IP:-10.0.2.15}" RADIUS "${RADIUS:-10.0.2.2}" TAP "${TAP:-}" GW "${GW:-}"; } > "$W/args"
mkdir "$W/out"

cat > "$W/init" <<'GUEST'
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run
mount -t proc proc /proc; mount -t sysfs sys /sys
mkdir -p /dev/pts; mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run; mkdir -p /run/lock /run/netns
mount -t hostfs none /mnt -o "$W"                 # W is put in below
. /mnt/args; O=/mnt/out
exec > $O/guest.log 2>&1; set -x
now() { cut -d' ' -f1 /proc/uptime; }
say() { echo "$*" >> $O/result; }
off() { sync; echo o > /proc/sysrq-trigger; sleep 5; }
trap off EXIT
say t_boot=$(now)
mkdir -p /run/m/lib; ln -s /usr/lib/uml/modules /run/m/lib/modules
modprobe -d /run/m -a pppoe ppp_async ppp_synctty veth
hostname ${NAS_ID:-uml-bras}
echo "$NAS_IP $(hostname)" > /run/hosts; mount --bind /run/hosts /etc/hosts   # NAS-IP-Address
ip link set lo up
if [ -n "$TAP" ]; then
  ip addr add $NAS_IP/24 dev eth0; ip link set eth0 up
  [ -z "$GW" ] || ip route add default via $GW
else ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up arp off; fi
ip netns add sub
ip link add ac0 type veth peer name sub0 netns sub
ip link set ac0 up; ip -n sub link set sub0 up; ip -n sub link set lo up

mount -t tmpfs tmpfs /etc/ppp; touch /etc/ppp/{options,pap-secrets,chap-secrets}
cat > /etc/ppp/radiusclient.conf <<X
auth_order radius
login_tries 4
login_timeout 60
nologin /etc/nologin
issue /etc/issue
authserver $RADIUS:$AUTHPORT
acctserver $RADIUS:$ACCTPORT
servers /etc/ppp/servers
dictionary /etc/ppp/dictionary
login_radius /bin/true
seqfile /run/radius.seq
mapfile /etc/ppp/port-id-map
default_realm
radius_timeout 5
radius_retries 2
${NAS_ID:+nas_identifier $NAS_ID}
login_local /bin/login
X
: > /etc/ppp/port-id-map
echo "$RADIUS $SECRET" > /etc/ppp/servers; chmod 600 /etc/ppp/servers
# pppd reads its own dictionary dialect; attributes that are not in it are dropped.
while read -r n c t; do echo "ATTRIBUTE $n $c $t"; done > /etc/ppp/dictionary <<X
User-Name 1 string
User-Password 2 string
CHAP-Password 3 string
NAS-IP-Address 4 ipaddr
NAS-Port-Id 5 integer
Service-Type 6 integer
Framed-Protocol 7 integer
Framed-IP-Address 8 ipaddr
Framed-IP-Netmask 9 ipaddr
Filter-Id 11 string
Framed-MTU 12 integer
Framed-Compression 13 integer
Reply-Message 18 string
Framed-Route 22 string
State 24 string
Class 25 string
Session-Timeout 27 integer
Idle-Timeout 28 integer
Called-Station-Id 30 string
Calling-Station-Id 31 string
NAS-Identifier 32 string
Acct-Status-Type 40 integer
Acct-Delay-Time 41 integer
Acct-Input-Octets 42 integer
Acct-Output-Octets 43 integer
Acct-Session-Id 44 string
Acct-Authentic 45 integer
Acct-Session-Time 46 integer
Acct-Input-Packets 47 integer
Acct-Output-Packets 48 integer
Acct-Terminate-Cause 49 integer
Acct-Input-Gigawords 52 integer
Acct-Output-Gigawords 53 integer
CHAP-Challenge 60 string
NAS-Port-Type 61 integer
Port-Limit 62 integer
Connect-Info 77 string
Acct-Interim-Interval 85 integer
Framed-Pool 88 string
X
cat >> /etc/ppp/dictionary <<X
VENDOR Microsoft 311
ATTRIBUTE MS-CHAP-Response 1 string Microsoft
ATTRIBUTE MS-CHAP-Error 2 string Microsoft
ATTRIBUTE MS-MPPE-Encryption-Policy 7 string Microsoft
ATTRIBUTE MS-MPPE-Encryption-Types 8 string Microsoft
ATTRIBUTE MS-CHAP-Domain 10 string Microsoft
ATTRIBUTE MS-CHAP-Challenge 11 string Microsoft
ATTRIBUTE MS-CHAP-MPPE-Keys 12 string Microsoft
ATTRIBUTE MS-MPPE-Send-Key 16 string Microsoft
ATTRIBUTE MS-MPPE-Recv-Key 17 string Microsoft
ATTRIBUTE MS-CHAP2-Response 25 string Microsoft
ATTRIBUTE MS-CHAP2-Success 26 string Microsoft
ATTRIBUTE MS-Primary-DNS-Server 28 ipaddr Microsoft
ATTRIBUTE MS-Secondary-DNS-Server 29 ipaddr Microsoft
VENDOR Mikrotik 14988
ATTRIBUTE Mikrotik-Recv-Limit 1 integer Mikrotik
ATTRIBUTE Mikrotik-Xmit-Limit 2 integer Mikrotik
ATTRIBUTE Mikrotik-Group 3 string Mikrotik
ATTRIBUTE Mikrotik-Rate-Limit 8 string Mikrotik
ATTRIBUTE Mikrotik-Address-List 19 string Mikrotik
X
case $METHOD in pap) R=require-pap;; chap) R=require-chap;; mschap1) R=require-mschap;; mschap2) R=require-mschap-v2;; esac
cat > /etc/ppp/ac-options <<X
$R
plugin radius.so
radius-config-file /etc/ppp/radiusclient.conf
plugin radattr.so
lcp-echo-interval 10
lcp-echo-failure 3
mtu 1492
mru 1492
noccp
noipv6
ms-dns 10.64.0.1
debug
logfile $O/ac.log
X
# The attributes as pppd's radattr plugin saved them.
printf '#!/bin/sh\ncp /run/radattr.$1 %s/radattr\n' $O > /etc/ppp/ip-up; chmod +x /etc/ppp/ip-up

# Debian's pppoe-server does not tell pppd the subscriber's MAC address, which any real
# concentrator sends as Calling-Station-Id: take it from pppoe's own arguments.
cp /usr/sbin/pppd /run/pppd
cat > /run/pppd.ac <<'X'
#!/bin/bash
mac=$(grep -oE '([0-9a-f]{2}:){5}[0-9a-f]{2}' <<< "$*" | head -1)
exec /run/pppd "$@" remotenumber "${mac^^}"
X
chmod +x /run/pppd.ac
unshare -m bash -c 'mount --bind /run/pppd.ac /usr/sbin/pppd; exec "$@"' - \
  pppoe-server -F -I ac0 -C uml-ac -L 10.64.0.1 -R 10.64.1.1 -N 8 -O /etc/ppp/ac-options &
sleep 0.3
say t_dial=$(now)
timeout 60 ip netns exec sub pppd plugin pppoe.so sub0 user "$USER_" password "$PASS" noauth \
  nodefaultroute noccp noipv6 mtu 1492 mru 1492 maxfail 1 lcp-restart 1 \
  debug logfile $O/sub.log linkname sub updetach; rc=$?
say t_up=$(now); say client_exit=$rc
case $rc in
0) say auth=accepted; say link=up
   set -- $(ip -n sub -br addr show type ppp); say local_ip=$3
   set -- $(ip -n sub -o addr show dev $1); say peer_ip=${6%/*}
   ping_ip=${6%/*}
   if ip netns exec sub ping -n -q -c $PINGS -s 972 -i 0.2 -W 2 $ping_ip > $O/ping; then say ping=ok; else say ping=failed; fi
   ip -s link show type ppp > $O/ac.links
   sleep $HOLD
   kill -TERM $(head -1 /run/ppp-sub.pid)
   for i in $(seq 50); do pgrep -x pppd >/dev/null || break; sleep 0.1; done ;;
*) # 19 is "authentication failed", but a concentrator that hangs up first makes it 16
   if grep -q 'no reply from RADIUS' $O/ac.log; then say auth=no_reply
   elif grep -q 'invalid reply digest' $O/ac.log; then say auth=bad_secret
   elif grep -q 'authentication failed' $O/sub.log; then say auth=refused
   else say auth=unknown; fi
   say link=down ;;
esac
say t_end=$(now)
GUEST
sed -i "2a W=$W" "$W/init"; chmod +x "$W/init"

NET=slirp,,/usr/bin/slirp-fullbolt; [ -z "${TAP:-}" ] || NET=tuntap,$TAP
T0=$(date +%s.%N)
timeout -k 5 $((HOLD + 120)) linux.uml mem=192M quiet umid="pppoe_vm.$$" uml_dir="$W/" \
  root=none rootfstype=hostfs rootflags=/ ro init="$W/init" \
  con=null con0=null,fd:1 ssl=null "eth0=$NET" \
  </dev/null > "$W/out/console" 2>&1
touch "$W/out/result"
cat "$W/out/result"
[ ! -f "$W/out/radattr" ] || sed 's/^/attr=/' "$W/out/radattr"
echo "t_total=$(echo "$(date +%s.%N) $T0" | awk '{printf "%.2f", $1 - $2}')"
[ -z "${KEEP:-}" ] || { mkdir -p "$KEEP"; cp "$W"/out/* "$KEEP"/; }
grep -q '^ping=ok' "$W/out/result" && exit 0
grep -q '^auth=refused' "$W/out/result" && exit 1
exit 3
