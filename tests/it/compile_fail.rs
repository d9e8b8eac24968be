//! The proof values of the line cannot be made outside their rooms: a stage that was skipped does not compile.
//!
//! Each case is compiled against the library these tests are linked with, so nothing else is built. The compiler has to complain
//! of private fields and of nothing else; the same file that only names the type has to compile.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::Place;

/// The directory of what this test program was linked with, and the library in it: the one built last.
fn library() -> (PathBuf, PathBuf) {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libscaivault_proxy-") && name.ends_with(".rlib")
    };
    let files = std::fs::read_dir(&deps).unwrap().map(|entry| entry.unwrap().path()).filter(is_ours);
    let newest = files.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).expect("the library is built");
    (deps, newest)
}

fn compile(source: &Path, out: &Path) -> Output {
    let (deps, library) = library();
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "--crate-type", "bin", "--emit", "metadata", "--color", "never", "--out-dir"])
        .arg(out)
        .arg("--extern")
        .arg(format!("scaivault_proxy={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg(source)
        .output()
        .unwrap()
}

#[test]
fn nobody_else_makes_a_permit_a_receipt_or_a_disclosure() {
    let place = Place::new();
    for (case, kind, reason) in [
        ("permit", "Permit", "private field `policies`"),
        ("receipt", "Receipt", "private fields `trail`, `subject`, `grants`"),
        ("disclosure", "Disclosure", "private field `0`"),
    ] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail").join(case).with_extension("rs");
        let output = compile(&source, place.path());
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{case} compiles");
        assert!(
            complaint.contains("cannot construct `") && complaint.contains(&format!("{kind}`")),
            "{case}: {complaint}"
        );
        assert!(complaint.contains(reason), "{case}: {complaint}");
        assert_eq!(
            complaint.matches("\nerror").count() + usize::from(complaint.starts_with("error")),
            2,
            "{case}: {complaint}"
        );

        // what is left when nothing is made: the names are right, and the complaint was about the making alone
        let text = std::fs::read_to_string(&source).unwrap();
        let named = text.replace(&format!("let _ = {kind} {{}};"), &format!("let _: Option<{kind}> = None;"));
        assert_ne!(named, text, "{case}");
        let named = place.write(&format!("{case}.rs"), named.as_bytes());
        let output = compile(&named, place.path());
        assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
