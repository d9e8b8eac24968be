//! Where requests to a server go. What they have in common is parsed once; the rest is encoded here, so that the server
//! reads the segments it is meant to read and no others.

use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

/// What a URL parser escapes in a segment of an http URL.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// What it escapes in a query.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'\'').add(b'<').add(b'>');
/// Segments and query of most requests.
const ROOM: usize = 96;

/// A server, and the path all of its API lies under.
pub(super) struct Origin {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    /// Ends in `v1`.
    root: String,
}

/// A place at a server. It is none if a segment would be taken for a step along the path.
pub(in crate::wire::vault) struct Address(Option<Uri>);

impl Origin {
    /// Of an absolute http URL; its path is kept. To any other nothing can be sent.
    pub(super) fn new(endpoint: &Url) -> Self {
        let Parts { scheme, authority, .. } = endpoint.as_str().parse::<Uri>().unwrap_or_default().into_parts();
        let path = endpoint.path();
        Self { scheme, authority, root: format!("{}/v1", path.strip_suffix('/').unwrap_or(path)) }
    }

    /// `<endpoint>/v1/<segments>?<query>`, each of them encoded.
    pub(super) fn address<'s>(&self, segments: impl IntoIterator<Item = &'s str>, query: Option<&str>) -> Address {
        let mut text = String::with_capacity(self.root.len() + ROOM);
        text.push_str(&self.root);
        for segment in segments {
            if matches!(segment, "." | "..") {
                return Address(None);
            }
            text.push('/');
            text.extend(utf8_percent_encode(segment, SEGMENT));
        }
        if let Some(query) = query {
            text.push('?');
            text.extend(utf8_percent_encode(query, QUERY));
        }
        let Ok(path) = PathAndQuery::try_from(text) else { return Address(None) };
        let mut parts = Parts::default();
        parts.scheme.clone_from(&self.scheme);
        parts.authority.clone_from(&self.authority);
        parts.path_and_query = Some(path);
        Address(Uri::from_parts(parts).ok())
    }
}

impl Address {
    /// What is asked; `None` if nothing can be.
    pub(super) const fn uri(&self) -> Option<&Uri> {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(endpoint: &str, segments: &[&str], query: Option<&str>) -> Option<String> {
        let origin = Origin::new(&Url::parse(endpoint).unwrap());
        origin.address(segments.iter().copied(), query).uri().map(Uri::to_string)
    }

    #[test]
    fn an_endpoint_keeps_its_path_and_segments_their_borders() {
        for (endpoint, segments, query, expected) in [
            ("http://h:8200", &["secret", "data", "a"][..], None, "http://h:8200/v1/secret/data/a"),
            ("https://H.example/", &["a"][..], None, "https://h.example/v1/a"),
            ("https://[::1]:8200/base/", &["a"][..], None, "https://[::1]:8200/base/v1/a"),
            ("http://h/base", &["a", ""][..], Some("list=true"), "http://h/base/v1/a/?list=true"),
            ("http://h", &["a/b", "c?d#e", "100%"][..], None, "http://h/v1/a%2Fb/c%3Fd%23e/100%25"),
            ("http://h", &["a b", "é", "..."][..], Some("x='1' y"), "http://h/v1/a%20b/%C3%A9/...?x=%271%27%20y"),
        ] {
            assert_eq!(address(endpoint, segments, query).as_deref(), Some(expected));
        }
    }

    #[test]
    fn p04_a_step_along_the_path_is_no_place() {
        for segments in [&["a", ".."][..], &[".", "a"], &["..", "sys", "seal"]] {
            assert_eq!(address("http://h", segments, None), None, "{segments:?}");
        }
        assert_eq!(address("http://h", &["a".repeat(70_000).as_str()], None), None, "longer than any URI");
        assert_eq!(address("http://h", &["%2e%2e"], None).unwrap(), "http://h/v1/%252e%252e");
    }

    proptest! {
        /// Tabs and line ends are what a URL parser drops; no name has any.
        #[test]
        fn everything_is_spelled_as_a_url_parser_spells_it(
            segments in proptest::collection::vec("[^\t\r\n]{0,8}", 1..5),
            query in proptest::option::of("[^\t\r\n]{0,8}"),
        ) {
            prop_assume!(!segments.iter().any(|segment| matches!(segment.as_str(), "." | "..")));
            let mut url = Url::parse("https://h.example:8200/base/v1").unwrap();
            url.path_segments_mut().unwrap().extend(&segments);
            url.set_query(query.as_deref());
            let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
            let found = address("https://h.example:8200/base", &parts, query.as_deref());
            prop_assert_eq!(found.as_deref(), Some(url.as_str()));
        }
    }
}
