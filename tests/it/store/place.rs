//! Where the store lies: a file and a directory for nobody else, one process at a time, and clear words about places that
//! will not do.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use super::{FILE_SEAL, KEY_FILE, Run, builder, file_of, holds, refused, restart, sealed_by, stop, write};
use crate::harness::Place;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_file_and_its_directory_are_for_nobody_else() {
    let mut proxy = builder().start();
    write(&proxy, "apps/one", "a value");
    let (file, directory) = (file_of(&proxy), file_of(&proxy).parent().unwrap().to_owned());
    assert_eq!((mode(&file), mode(&directory)), (0o600, 0o700));
    restart(&mut proxy);
    assert_eq!((mode(&file), mode(&directory)), (0o600, 0o700));
    let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names, std::slice::from_ref(&file), "nothing else is left there");
    stop(&mut proxy);

    for (path, wide, narrow) in [(&file, 0o644, 0o600), (&directory, 0o755, 0o700), (&directory, 0o701, 0o700)] {
        fs::set_permissions(path, fs::Permissions::from_mode(wide)).unwrap();
        let said = refused(&proxy, &[]);
        assert!(said.contains("open to everyone") && said.contains(path.to_str().unwrap()), "{said}");
        assert_eq!(mode(path), wide, "it was changed");
        fs::set_permissions(path, fs::Permissions::from_mode(narrow)).unwrap();
    }
    // what Kubernetes mounts for a pod's group will do
    fs::set_permissions(&file, fs::Permissions::from_mode(0o660)).unwrap();
    proxy.start_again();
    holds(&proxy, "apps/one", "a value");
}

#[test]
fn e05_a_second_process_is_refused_and_the_first_goes_on() {
    let first = builder().start();
    write(&first, "apps/one", "of the first");
    let same = STORE_OF.replace("STORE", file_of(&first).to_str().unwrap());
    let second = builder().config(&same).try_start().map(drop).unwrap_err();
    assert_eq!(second.status.code(), Some(1));
    let said = second.stderr;
    assert!(said.contains("another process has it open"), "{said}");
    assert!(said.contains(file_of(&first).to_str().unwrap()), "{said}");
    holds(&first, "apps/one", "of the first");
    write(&first, "apps/two", "still of the first");
}

/// Another process's configuration over the same store.
const STORE_OF: &str = crate::harness::config!(
    r#"store: {path: STORE, local: [apps]}
seal: {provider: file, path: {dir}/seal.key}
identity: {tokens: [{principal: t/admin, groups: [admins], file: {dir}/admin.token}]}
policies: [{dir}/policies.cedar]
"#
);

#[test]
fn places_that_will_not_do_are_named() {
    let with_path = |path: &str| sealed_by(FILE_SEAL).replace("{dir}/store/store.redb", path);
    for (path, part) in [
        ("{dir}/reader.token/store.redb", "reader.token"),
        ("{dir}/taken", "taken"),
        ("/proc/no-such-place/store.redb", "/proc/no-such-place"),
    ] {
        let builder = builder().config(&with_path(path));
        fs::DirBuilder::new().mode(0o700).create(builder.dir().join("taken")).unwrap();
        let ended = builder.try_start().map(drop).unwrap_err();
        assert_eq!(ended.status.code(), Some(1), "{path}");
        assert!(ended.stderr.contains("store.path") && ended.stderr.contains(part), "{path}:\n{}", ended.stderr);
    }
}

#[test]
fn a_link_to_a_store_is_followed_and_a_link_to_nothing_is_not_filled() {
    let mut proxy = builder().start();
    write(&proxy, "apps/one", "a value");
    stop(&mut proxy);
    let (file, moved) = (file_of(&proxy), proxy.dir().join("store/moved.redb"));
    fs::rename(&file, &moved).unwrap();
    std::os::unix::fs::symlink("moved.redb", &file).unwrap();
    proxy.start_again();
    holds(&proxy, "apps/one", "a value");
    stop(&mut proxy);
    fs::remove_file(&moved).unwrap();
    let said = refused(&proxy, &[]);
    assert!(said.contains("store.redb"), "{said}");
    assert!(!moved.exists(), "a store was made where somebody's link leads");
}

#[test]
fn e15_a_root_key_that_will_not_do_stops_the_start_and_nothing_is_lost_by_it() {
    for (content, mode, part) in [
        (KEY_FILE, 0o644, "open to everyone"),
        ("not base64 at all!\n", 0o600, "not base64"),
        ("QUJDRA==\n", 0o600, "4 bytes"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 0o600, "all zeros"),
        ("", 0o600, "0 bytes"),
    ] {
        let mut builder = builder().file("seal.key", content);
        let key = builder.write_config().with_file_name("seal.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let mut run = Run::start(builder.dir(), &[]);
        assert_eq!(run.ended().code(), Some(1), "{part}");
        let said = run.said();
        assert!(said.contains("seal.key") && said.contains(part), "{part}:\n{said}");
        assert!(content.is_empty() || !said.contains(content.trim()), "{said}");
        // the right key, and it starts: what the failed start left does not stand in the way
        let proxy = builder.file("seal.key", KEY_FILE).start();
        write(&proxy, "apps/one", "a value");
    }
}

#[test]
fn a_key_that_is_a_link_and_readable_by_the_group_will_do() {
    let place = Place::new();
    let outside = place.write("outside.key", KEY_FILE.as_bytes());
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o640)).unwrap();
    let builder = builder();
    let key = builder.dir().join("seal.key");
    fs::remove_file(&key).unwrap();
    std::os::unix::fs::symlink(&outside, &key).unwrap();
    let proxy = builder.start();
    write(&proxy, "apps/one", "a value");
}

#[test]
fn a_store_without_a_seal_is_refused_by_the_configuration() {
    let config = sealed_by("REMOVED").replace("seal: REMOVED\n", "");
    let ended = builder().config(&config).try_start().map(drop).unwrap_err();
    assert!(ended.stderr.contains("seal") && ended.stderr.contains("is required"), "{}", ended.stderr);
}

#[test]
fn a_crash_while_a_store_is_made_leaves_nothing_in_the_way() {
    // a process that was killed between making the file and giving it its name
    let builder = builder();
    let directory = builder.dir().join("store");
    fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
    fs::write(directory.join(".store-0123456789abcdef.new"), b"half a store").unwrap();
    let mut proxy = builder.start();
    write(&proxy, "apps/one", "a value");
    restart(&mut proxy);
    holds(&proxy, "apps/one", "a value");
}
