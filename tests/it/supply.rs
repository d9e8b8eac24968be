//! O09: what is linked: one TLS provider, and no release of a crate that is known to be broken.

const LOCK: &str = include_str!("../../Cargo.lock");

/// Crates, and the first release of each that will do (THREATS §5).
const FLOORS: [(&str, [u64; 3]); 9] = [
    ("pingora-core", [0, 9, 0]),
    ("h2", [0, 4, 18]),
    ("rustls-webpki", [0, 103, 13]),
    ("jsonwebtoken", [10, 3, 0]),
    ("moka", [0, 12, 16]),
    ("crossbeam-epoch", [0, 9, 20]),
    ("redb", [4, 3, 0]),
    ("lru", [0, 16, 3]),
    ("zeroize", [1, 9, 0]),
];
/// Other implementations of what ring and rustls do here.
const ABSENT: [&str; 8] =
    ["aws-lc-rs", "aws-lc-sys", "aws-lc-fips-sys", "openssl", "openssl-sys", "boring", "native-tls", "rsa"];
const ONCE: [&str; 4] = ["ring", "rustls", "rustls-webpki", "aes-gcm"];

/// Every locked release of a crate.
fn releases(name: &str) -> Vec<[u64; 3]> {
    let parse = |text: &str| {
        let numbers = text.split(['-', '+']).next().unwrap_or_default();
        let parts: Vec<u64> = numbers.split('.').map(|part| part.parse().unwrap()).collect();
        <[u64; 3]>::try_from(parts).unwrap()
    };
    let heading = format!("name = \"{name}\"\nversion = \"");
    LOCK.split(&heading).skip(1).map(|rest| parse(rest.split('"').next().unwrap())).collect()
}

#[test]
fn o09_one_tls_provider_is_linked_and_nothing_below_its_floor() {
    for (name, floor) in FLOORS {
        let found = releases(name);
        assert!(!found.is_empty(), "{name} is not used any more: take it off the list");
        assert!(found.iter().all(|release| *release >= floor), "{name}: {found:?}, at least {floor:?}");
    }
    for name in ABSENT {
        assert_eq!(releases(name), Vec::<[u64; 3]>::new(), "{name}");
    }
    for name in ONCE {
        assert_eq!(releases(name).len(), 1, "{name}");
    }
}
