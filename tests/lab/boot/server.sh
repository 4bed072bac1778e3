#!/bin/bash
# What an administrator has prepared before GGnet comes: dhcpd with a configuration that includes GGnet's file and knows
# a host of its own, a TFTP server with a file of its own, D-Bus for targetcli. What a real server keeps over a restart
# lies on the disk; everything else is new at each start.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
for folder in /etc/dhcp /var/lib/dhcp /srv/tftp /etc/target /etc/rtslib-fb-target /var/lib/ggnet; do
    mkdir -p "$folder" "/lab/disk$folder"
    mount --bind "/lab/disk$folder" "$folder"
done

if [ ! -e /etc/dhcp/dhcpd.conf ]; then
    cat >/etc/dhcp/dhcpd.conf <<'CONF'
# The administrator's file.
authoritative;
default-lease-time 600;
max-lease-time 7200;
host printer { hardware ethernet 52:54:00:00:ff:01; fixed-address 10.77.0.20; }
include "/etc/dhcp/ggnet.conf";
CONF
    : >/etc/dhcp/ggnet.conf
    : >/var/lib/dhcp/dhcpd.leases
    echo "the administrator's" >/srv/tftp/README
fi

cat >/usr/local/sbin/restart-dhcpd <<'RESTART'
#!/bin/bash
# Stands in for `systemctl restart isc-dhcp-server`: ends the old process, starts the new one, 1 when it does not start.
pid=$(cat /run/dhcpd.pid 2>/dev/null) && kill "$pid" 2>/dev/null && while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
rm -f /run/dhcpd.pid
exec dhcpd -q -4 -cf /etc/dhcp/dhcpd.conf -lf /var/lib/dhcp/dhcpd.leases -pf /run/dhcpd.pid vec0 </dev/null
RESTART
chmod +x /usr/local/sbin/restart-dhcpd

mkdir -p /run/dbus
dbus-daemon --system --fork --nopidfile
in.tftpd --ipv4 --listen --secure --user root --address 0.0.0.0:69 /srv/tftp
# Refused until GGnet has described a network: a dhcpd without any subnet does not start.
restart-dhcpd >/dev/null 2>&1 || true
