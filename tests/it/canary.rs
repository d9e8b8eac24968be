//! Finding a secret wherever it hides: as it is, and in the encodings it tends to travel in.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Texts that must be nowhere.
pub(crate) struct Canaries(Vec<Canary>);

struct Canary {
    name: String,
    needles: Vec<(&'static str, Vec<u8>)>,
}

impl Canaries {
    /// Prepares the texts, each with a name for the report. A text must be too long to occur by chance.
    pub(crate) fn new<'t>(texts: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        Self(texts.into_iter().map(|(name, text)| Canary { name: name.to_owned(), needles: needles(text) }).collect())
    }

    /// Asserts that none of them is in what was collected at `place`.
    ///
    /// # Panics
    /// Naming the canary, its encoding, the place and its position. The text around it is shown: it is made up.
    pub(crate) fn are_not_in(&self, place: &str, bytes: &[u8]) {
        let found = self.found_in(bytes);
        assert!(found.is_empty(), "{place} holds {}", found.join("; "));
    }

    fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let lower = bytes.to_ascii_lowercase();
        let mut found = self.search(bytes, |encoding| !is_caseless(encoding));
        found.extend(self.search(&lower, is_caseless));
        found
    }

    /// One pass over everything: what was collected may be megabytes of log.
    fn search(&self, hay: &[u8], wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut by_first: Vec<Vec<(&str, &str, &[u8])>> = vec![Vec::new(); 256];
        for canary in &self.0 {
            for (encoding, needle) in canary.needles.iter().filter(|(encoding, _)| wanted(encoding)) {
                by_first[usize::from(needle[0])].push((&canary.name, encoding, needle));
            }
        }
        let mut found = Vec::new();
        for (at, first) in hay.iter().enumerate() {
            for (name, encoding, needle) in &by_first[usize::from(*first)] {
                if hay[at..].starts_with(needle) {
                    let around = &hay[at.saturating_sub(80)..(at + needle.len() + 40).min(hay.len())];
                    let around = String::from_utf8_lossy(around).into_owned();
                    found.push(format!("{name} as {encoding} at {at}: …{around:?}…"));
                }
            }
        }
        found
    }
}

/// Digits beyond 9 come in both cases.
fn is_caseless(encoding: &str) -> bool {
    matches!(encoding, "hex" | "percent")
}

/// Every form a text is looked for in.
fn needles(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    assert!(text.len() >= 8, "a canary must be long enough not to occur by chance");
    let bytes = text.as_bytes();
    let mut all = vec![
        ("utf-8", bytes.to_vec()),
        ("utf-16le", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("hex", bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()),
        ("percent", bytes.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect()),
        ("reversed", bytes.iter().rev().copied().collect()),
    ];
    for offset in 0..3 {
        let mut shifted = vec![0; offset];
        shifted.extend_from_slice(bytes);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            // the first and last digits also depend on what stands beside the text
            let encoded = engine.encode(&shifted).into_bytes();
            let inner = &encoded[(offset * 8).div_ceil(6)..shifted.len() * 8 / 6];
            all.push(("base64", inner.to_vec()));
        }
    }
    all
}

#[test]
fn a_canary_is_found_in_every_encoding_and_at_every_offset() {
    let canaries = Canaries::new([("value", "Canary-0123456789")]);
    let text = "Canary-0123456789";
    let percent: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut forms = vec![text.as_bytes().to_vec(), utf16, hex.into_bytes(), percent.into_bytes()];
    forms.push(text.bytes().rev().collect());
    for before in ["", "x", "xy", "xyz"] {
        forms.push(STANDARD_NO_PAD.encode(format!("{before}{text}~?~")).into_bytes());
        forms.push(URL_SAFE_NO_PAD.encode(format!("{before}{text}~?~")).into_bytes());
    }
    for form in forms {
        let mut hay = b"{\"log\":\"".to_vec();
        hay.extend_from_slice(&form);
        hay.extend_from_slice(b"\"}");
        assert!(!canaries.found_in(&hay).is_empty(), "{}", String::from_utf8_lossy(&form));
    }
    assert!(canaries.found_in(b"Canary-012345678 and Canary-987654321").is_empty());
}
