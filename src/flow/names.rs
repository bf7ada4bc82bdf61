//! Names of protocols and services, as rows carry them.

use std::borrow::Cow;

/// Names of IP protocols (IANA's, lower case); others go by their number.
const PROTOCOLS: &[(u8, &str)] = &[
    (0, "hopopt"),
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipip"),
    (6, "tcp"),
    (8, "egp"),
    (17, "udp"),
    (27, "rdp"),
    (33, "dccp"),
    (41, "ipv6"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "icmp6"),
    (59, "none"),
    (88, "eigrp"),
    (89, "ospf"),
    (94, "ipip"),
    (97, "etherip"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (132, "sctp"),
    (135, "mobility"),
    (136, "udplite"),
    (137, "mpls"),
];

/// Whether packets of an IP protocol name ports: TCP, UDP, DCCP, SCTP and UDP-Lite.
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

/// Services by the responder's port, whatever the transport.
const SERVICES: &[(u16, &str)] = &[
    (20, "ftp-data"),
    (21, "ftp"),
    (22, "ssh"),
    (23, "telnet"),
    (25, "smtp"),
    (49, "tacacs"),
    (53, "dns"),
    (67, "dhcp"),
    (68, "dhcp"),
    (69, "tftp"),
    (80, "http"),
    (88, "kerberos"),
    (102, "iso-tsap"),
    (110, "pop3"),
    (111, "sunrpc"),
    (119, "nntp"),
    (123, "ntp"),
    (135, "msrpc"),
    (137, "netbios-ns"),
    (138, "netbios-dgm"),
    (139, "netbios-ssn"),
    (143, "imap"),
    (161, "snmp"),
    (162, "snmptrap"),
    (179, "bgp"),
    (319, "ptp-event"),
    (320, "ptp"),
    (389, "ldap"),
    (443, "https"),
    (445, "smb"),
    (464, "kpasswd"),
    (465, "smtps"),
    (500, "ike"),
    (502, "modbus"),
    (514, "syslog"),
    (515, "printer"),
    (520, "rip"),
    (546, "dhcp6"),
    (547, "dhcp6"),
    (554, "rtsp"),
    (587, "submission"),
    (623, "ipmi"),
    (631, "ipp"),
    (636, "ldaps"),
    (853, "dns-tls"),
    (873, "rsync"),
    (993, "imaps"),
    (995, "pop3s"),
    (1080, "socks"),
    (1194, "openvpn"),
    (1433, "mssql"),
    (1434, "mssql-browser"),
    (1521, "oracle"),
    (1701, "l2tp"),
    (1719, "h323-ras"),
    (1720, "h323"),
    (1723, "pptp"),
    (1812, "radius"),
    (1813, "radius-acct"),
    (1883, "mqtt"),
    (1900, "ssdp"),
    (1911, "fox"),
    (1935, "rtmp"),
    (1985, "hsrp"),
    (2049, "nfs"),
    (2055, "netflow"),
    (2123, "gtp-c"),
    (2152, "gtp-u"),
    (2375, "docker"),
    (2376, "docker-tls"),
    (2379, "etcd"),
    (2404, "iec-104"),
    (3128, "proxy"),
    (3222, "glbp"),
    (3260, "iscsi"),
    (3306, "mysql"),
    (3389, "rdp"),
    (3478, "stun"),
    (3479, "stun"),
    (3480, "stun"),
    (3481, "stun"),
    (3544, "teredo"),
    (3671, "knx"),
    (3702, "ws-discovery"),
    (3784, "bfd"),
    (4059, "dlms"),
    (4172, "pcoip"),
    (4500, "ipsec-nat"),
    (4712, "synchrophasor"),
    (4713, "synchrophasor"),
    (4739, "ipfix"),
    (4789, "vxlan"),
    (4840, "opc-ua"),
    (5044, "beats"),
    (5060, "sip"),
    (5061, "sips"),
    (5222, "xmpp"),
    (5246, "capwap"),
    (5247, "capwap"),
    (5349, "stuns"),
    (5353, "mdns"),
    (5355, "llmnr"),
    (5432, "postgres"),
    (5671, "amqps"),
    (5672, "amqp"),
    (5683, "coap"),
    (5684, "coaps"),
    (5900, "vnc"),
    (5985, "winrm"),
    (5986, "winrms"),
    (6081, "geneve"),
    (6343, "sflow"),
    (6379, "redis"),
    (6443, "kubernetes"),
    (6514, "syslog-tls"),
    (6667, "irc"),
    (7547, "cwmp"),
    (7680, "delivery-opt"),
    (7946, "memberlist"),
    (8080, "http-alt"),
    (8125, "statsd"),
    (8301, "serf"),
    (8302, "serf"),
    (8443, "https-alt"),
    (8472, "vxlan"),
    (8500, "consul"),
    (8883, "mqtts"),
    (9090, "prometheus"),
    (9092, "kafka"),
    (9100, "jetdirect"),
    (9200, "elasticsearch"),
    (9993, "zerotier"),
    (9995, "netflow"),
    (10050, "zabbix"),
    (10051, "zabbix"),
    (10250, "kubelet"),
    (11211, "memcached"),
    (12201, "gelf"),
    (15672, "amqp-admin"),
    (17500, "dropbox-lan"),
    (20000, "dnp3"),
    (21027, "syncthing"),
    (27015, "steam"),
    (27017, "mongodb"),
    (34964, "profinet"),
    (44818, "ethernet-ip"),
    (47808, "bacnet"),
    (51820, "wireguard"),
];

/// Ports without a name from here on are one service: those that clients take for themselves.
pub(crate) const HIGH: u16 = 32_768;

/// The protocol's name, or its number as text.
pub fn protocol(number: u8) -> Cow<'static, str> {
    match PROTOCOLS.binary_search_by_key(&number, |entry| entry.0) {
        Ok(at) => PROTOCOLS[at].1.into(),
        Err(_) => number.to_string().into(),
    }
}

/// The number of the protocol of this name; the first of those that share one.
pub fn protocol_number(name: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
}

/// The name of the responder's port; without one `high` from [`HIGH`] on, else the number.
pub fn service(port: u16) -> Cow<'static, str> {
    match SERVICES.binary_search_by_key(&port, |entry| entry.0) {
        Ok(at) => SERVICES[at].1.into(),
        Err(_) if port >= HIGH => "high".into(),
        Err(_) => port.to_string().into(),
    }
}

/// Whether a port has a name.
pub fn is_named(port: u16) -> bool {
    SERVICES.binary_search_by_key(&port, |entry| entry.0).is_ok()
}

/// The service of an ICMP or ICMPv6 flow: the type of its first packet.
pub fn icmp_service(icmp_type: u8) -> String {
    format!("icmp-{icmp_type}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_order_for_the_search() {
        assert!(PROTOCOLS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(SERVICES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn what_has_no_name_goes_by_its_number() {
        assert_eq!((protocol(6), protocol(253)), ("tcp".into(), "253".into()));
        assert_eq!(
            (service(22), service(8081), service(32768)),
            ("ssh".into(), "8081".into(), "high".into())
        );
        assert_eq!((service(0), service(51_820)), ("0".into(), "wireguard".into()));
    }
}
