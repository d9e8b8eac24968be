//! Addresses that are nobody's but this machine's, its link's or its cloud's, in whatever form they are written, and the
//! names that stand for them.
//!
//! A name is judged twice: by its spelling when it is configured, and by what it stands for when it is connected to. What
//! it stands for is for whoever resolves it to find out; this file resolves nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a connection to `host`, a name or an address as it is written in a URL, may be made to the address `to`.
///
/// A name that stands for this machine, its link or a metadata service is somebody's trick, unless it says so itself: only
/// `localhost` and its like are on this machine, and only an address is whatever address it is.
#[must_use]
pub fn is_meant(host: &str, to: IpAddr) -> bool {
    let to = canonical(to);
    if !is_special_address(to) {
        return true;
    }
    match address(host) {
        Some(written) => written == to,
        None => (is_local_name(host) && to.is_loopback()) || (is_metadata_name(host) && is_link_or_metadata(to)),
    }
}

/// Whether an address is this machine's, its link's or its cloud's metadata service's. Private networks are none of these.
#[must_use]
pub fn is_special_address(ip: IpAddr) -> bool {
    let ip = canonical(ip);
    is_this_machine(ip) || is_link_or_metadata(ip)
}

/// As [`is_special_address`], by the spelling of a host.
pub(super) fn is_special(host: &str) -> bool {
    match address(host) {
        Some(ip) => is_special_address(ip),
        None => is_local_name(host) || is_metadata_name(host),
    }
}

/// The address a host is, in the form it is compared in; `None` for a name.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    host.parse().ok().map(canonical)
}

/// An address in the one form it is compared in: IPv4 wherever an IPv6 address stands for one (mapped, compatible, 6to4,
/// NAT64).
pub(super) fn canonical(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
        // `::` and `::1` are themselves
        (0, 0, 0, 0, 0, 0) if g != 0 || h > 1 => v4(g, h),
        (0x2002, ..) => v4(b, c),
        _ => ip,
    }
}

/// Of an address in its one form.
pub(super) fn is_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || matches!(ip, IpAddr::V4(v4) if v4.octets().first() == Some(&0))
}

fn is_link_or_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            // the metadata services that are not link-local: Alibaba, Azure's wire server, Oracle
            let known =
                [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
            v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || known.contains(&v4)
        }
        IpAddr::V6(v6) => {
            // Amazon's, Google's
            let known =
                [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
            v6.is_unicast_link_local() || v6.is_multicast() || known.contains(&v6)
        }
    }
}

/// Whether a name means this machine by its spelling.
pub(super) fn is_local_name(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || matches!(host.as_str(), "localhost.localdomain" | "ip6-localhost" | "ip6-loopback")
}

fn is_metadata_name(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    matches!(host.as_str(), "metadata" | "instance-data" | "metadata.goog")
        || host.starts_with("metadata.") && host.ends_with(".internal")
        || host.starts_with("instance-data.") && host.ends_with(".internal")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(host: &str, to: &str) -> bool {
        is_meant(host, to.parse().unwrap())
    }

    #[test]
    fn x02_a_name_that_came_to_stand_for_this_machine_is_not_meant() {
        for to in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "0.0.0.0",
            "::",
            "0.1.2.3",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::7f00:1",
            "fe80::1",
            "ff02::1",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd20:ce::254",
        ] {
            assert!(!meant("vault.example", to), "{to}");
            assert!(is_special_address(to.parse().unwrap()), "{to}");
        }
        for to in ["8.8.8.8", "10.0.0.5", "192.168.1.1", "172.16.0.1", "fd12::1", "2001:db8::1", "64:ff9b::808:808"] {
            assert!(meant("vault.example", to) && meant("localhost", to), "{to}");
        }
    }

    #[test]
    fn a_host_that_says_where_it_is_is_meant() {
        for (host, to) in [
            ("localhost", "127.0.0.1"),
            ("LocalHost", "::1"),
            ("a.localhost", "127.0.0.2"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("169.254.7.7", "169.254.7.7"),
            ("metadata.google.internal", "169.254.169.254"),
        ] {
            assert!(meant(host, to), "{host} {to}");
        }
        for (host, to) in [
            ("localhost", "169.254.169.254"),
            ("localhost", "0.0.0.0"),
            ("127.0.0.1", "127.0.0.2"),
            ("metadata.google.internal", "127.0.0.1"),
            ("localhost.example", "127.0.0.1"),
        ] {
            assert!(!meant(host, to), "{host} {to}");
        }
    }
}
