//! The fuzz targets over their corpora, on the compiler that builds everything else.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Runs a target over every file of its corpus; a failing run names every file that broke a promise.
fn replay(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "{} holds {} files", corpus.display(), files.len());
    let broken: Vec<String> = files
        .iter()
        .filter(|file| {
            let data = fs::read(file).unwrap();
            catch_unwind(|| target(&data)).is_err()
        })
        .map(|file| file.display().to_string())
        .collect();
    assert!(broken.is_empty(), "{name} breaks on {}", broken.join(", "));
}

#[test]
fn path_corpus() {
    replay("path", targets::path);
}

#[test]
fn mapping_corpus() {
    replay("mapping", targets::mapping);
}

#[test]
fn vault_decode_corpus() {
    replay("vault_decode", targets::vault_decode);
}

#[test]
fn aws_decode_corpus() {
    replay("aws_decode", targets::aws_decode);
}

#[test]
fn sigv4_corpus() {
    replay("sigv4", targets::sigv4);
}

#[test]
fn config_corpus() {
    replay("config", targets::config);
}

#[test]
fn audit_line_corpus() {
    replay("audit_line", targets::audit_line);
}
