//! What becomes of a store's file that somebody changed: the process says which file and what is wrong with it and leaves
//! it alone, or everything in it is still right. Never another value, never a fresh start, never a panic.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{OTHER_KEY_FILE, Run, builder, file_of, holds, read, refused, restart, stop, write};
use crate::harness::Proxy;

const SECRETS: [(&str, &str); 4] = [
    ("apps/one", "value-one"),
    ("apps/two", "value-two"),
    ("apps/deep/er/three", "value-three"),
    ("scratch/four", "4"),
];
/// The database's own header: what it notes in there while it looks at a file is no change of the file.
const HEADER: usize = 320;
/// How many bytes are flipped, beside those of the header.
const FLIPS: usize = 24;

type Key = &'static [u8; 56];
type Bytes = &'static [u8];
const TABLES: [TableDefinition<'static, Key, Bytes>; 4] = [
    TableDefinition::new("heads"),
    TableDefinition::new("versions"),
    TableDefinition::new("names"),
    TableDefinition::new("documents"),
];
const META: TableDefinition<'static, &'static str, Bytes> = TableDefinition::new("meta");

/// A stopped proxy with secrets in its store, and the file's bytes. Both of the file's commit slots hold everything: going
/// back by one commit loses nothing.
fn stopped() -> (Proxy, Vec<u8>) {
    let mut proxy = builder().start();
    for (path, value) in SECRETS {
        write(&proxy, path, "an older value");
        write(&proxy, path, value);
    }
    restart(&mut proxy);
    stop(&mut proxy);
    let image = fs::read(file_of(&proxy)).unwrap();
    (proxy, image)
}

/// Starts it again over what is there: everything is as it was.
fn is_whole(proxy: &mut Proxy) {
    proxy.start_again();
    for (path, value) in SECRETS {
        holds(proxy, path, value);
    }
    stop(proxy);
}

fn put(proxy: &Proxy, content: &[u8]) {
    fs::write(file_of(proxy), content).unwrap();
}

#[test]
fn e04_a_file_that_is_no_store_is_refused_by_name_and_left_alone() {
    let (mut proxy, image) = stopped();
    let file = file_of(&proxy);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = image.clone();
        change(&mut bytes);
        bytes
    };
    for (what, content) in [
        ("empty", Vec::new()),
        ("one byte", vec![b'r']),
        ("zeros", vec![0; image.len()]),
        ("wrong magic", with(&|bytes| bytes[0] ^= 0xff)),
        ("a text", b"version: 1\nstore: {path: store.redb}\n".repeat(400)),
        ("cut in the header", image[..200].to_vec()),
        ("cut after the header", image[..4096].to_vec()),
        ("zeros behind the header", with(&|bytes| bytes[4096..].fill(0))),
        ("noise behind the header", with(&|bytes| bytes[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a))),
    ] {
        put(&proxy, &content);
        let said = refused(&proxy, &[]);
        assert!(said.contains(file.to_str().unwrap()), "{what}: the file is not named:\n{said}");
        let left = fs::read(&file).unwrap();
        assert_eq!(left.len(), content.len(), "{what}: another length");
        let same = left.iter().skip(HEADER).eq(content.iter().skip(HEADER));
        assert!(same, "{what}: the file was changed");
        let names: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names, std::slice::from_ref(&file), "{what}: something else was made");
    }
    put(&proxy, &image);
    is_whole(&mut proxy);
}

#[test]
fn e04_a_longer_or_shorter_file_is_refused_or_whole() {
    let (mut proxy, image) = stopped();
    let (half, most) = (image.len() / 2, image.len() / 4 * 3);
    let longer = [image.as_slice(), &[0x5a; 5000]].concat();
    for (what, content) in [("longer", longer.as_slice()), ("half", &image[..half]), ("three quarters", &image[..most])]
    {
        put(&proxy, content);
        let mut run = Run::start(proxy.dir(), &[]);
        let status = run.settled(&proxy.address("admin"));
        let said = run.said();
        assert!(!said.contains("panicked"), "{what}: {said}");
        match status {
            None => right(&proxy, what),
            Some(status) => assert!(status.code() == Some(1) && said.contains("store.redb"), "{what}: {said}"),
        }
    }
    put(&proxy, &image);
    is_whole(&mut proxy);
}

#[test]
fn e01_a_flipped_byte_is_refused_or_harms_nothing() {
    let (mut proxy, image) = stopped();
    let stride = (image.len() - HEADER) / FLIPS;
    let offsets = [0, 9, 12, 40, 64, 72, 96, 128, 192, 200, 256, 319].into_iter();
    let offsets = offsets.chain((0..FLIPS).map(|step| HEADER + step * stride + step * 61));
    // and where something surely is: a key of a record, and what is kept under it
    let used = occurrences(&image, &proxy);
    let (mut refusals, mut tried) = (0, 0);
    for offset in offsets.chain(used).filter(|offset| *offset < image.len()) {
        let mut bytes = image.clone();
        bytes[offset] ^= 0x41;
        put(&proxy, &bytes);
        tried += 1;
        let mut run = Run::start(proxy.dir(), &[]);
        match run.settled(&proxy.address("admin")) {
            None => right(&proxy, &format!("byte {offset}")),
            Some(status) => {
                let said = run.said();
                assert_eq!(status.code(), Some(1), "byte {offset}: {said}");
                assert!(said.contains("store.redb"), "byte {offset}: the file is not named:\n{said}");
                let left = fs::read(file_of(&proxy)).unwrap();
                assert!(left.iter().skip(HEADER).eq(bytes.iter().skip(HEADER)), "byte {offset}: the file was changed");
                refusals += 1;
            }
        }
        let said = run.said();
        assert!(!said.contains("panicked"), "byte {offset}: {said}");
    }
    assert!(refusals > 5, "only {refusals} of {tried} flips were noticed");
    put(&proxy, &image);
    is_whole(&mut proxy);
}

/// Where some of the store's records lie in the file.
fn occurrences(image: &[u8], proxy: &Proxy) -> Vec<usize> {
    let records = dump(&file_of(proxy));
    let bytes = records.values().filter_map(|content| content.get(..24)).take(6);
    let keys = records.keys().filter_map(|(_, key)| key.get(..24)).take(6);
    keys.chain(bytes).flat_map(|part| image.windows(part.len()).rposition(|window| window == part)).collect()
}

/// What is answered is right, or nothing is: not even that it is not there.
fn right(proxy: &Proxy, what: &str) {
    for (path, value) in SECRETS {
        let answer = read(proxy, path);
        match answer.status {
            200 => assert_eq!(answer.json()["data"]["value"], value, "{what}: {path}"),
            503 => {}
            status => panic!("{what}: {path} is answered {status}: {}", answer.text()),
        }
    }
}

/// Everything in a store's file, sealed as it is.
fn dump(file: &Path) -> BTreeMap<(String, Vec<u8>), Vec<u8>> {
    let database = Database::open(file).unwrap();
    let reader = database.begin_read().unwrap();
    let mut all = BTreeMap::new();
    for (at, definition) in TABLES.into_iter().enumerate() {
        for record in reader.open_table(definition).unwrap().iter().unwrap() {
            let (key, value) = record.unwrap();
            all.insert((at.to_string(), key.value().to_vec()), value.value().to_vec());
        }
    }
    for entry in reader.open_table(META).unwrap().iter().unwrap() {
        let (key, value) = entry.unwrap();
        all.insert(("meta".to_owned(), key.value().as_bytes().to_vec()), value.value().to_vec());
    }
    all
}

/// One of the store's own entries.
pub(super) fn entry(file: &Path, key: &str) -> Vec<u8> {
    let name = ("meta".to_owned(), key.as_bytes().to_vec());
    dump(file).remove(&name).unwrap_or_else(|| panic!("no entry {key}"))
}

/// Changes one of the store's own entries.
pub(super) fn set_meta(file: &Path, key: &str, value: Option<&[u8]>) {
    let database = Database::open(file).unwrap();
    let writer = database.begin_write().unwrap();
    {
        let mut meta = writer.open_table(META).unwrap();
        match value {
            Some(value) => drop(meta.insert(key, value).unwrap()),
            None => assert!(meta.remove(key).unwrap().is_some(), "no entry {key}"),
        }
    }
    writer.commit().unwrap();
}

#[test]
fn e04_a_store_of_a_newer_release_or_without_its_keys_is_refused_and_left_as_it_is() {
    let (mut proxy, image) = stopped();
    let file = file_of(&proxy);
    let tenant = dump(&file).into_keys().find_map(|(table, key)| {
        let key = String::from_utf8(key).ok().filter(|_| table == "meta")?;
        key.starts_with("tenant.").then_some(key)
    });
    let tenant = tenant.expect("a tenant has keys");
    let changes: [(&str, Option<&[u8]>, &str); 6] = [
        ("readable_by", Some(b"2"), "newer release"),
        ("readable_by", Some(b"one"), "readable_by"),
        ("format", None, "format"),
        ("root", None, "keys"),
        ("store_id", None, "keys"),
        (tenant.as_str(), None, "keys"),
    ];
    for (key, value, part) in changes {
        put(&proxy, &image);
        set_meta(&file, key, value);
        let before = dump(&file);
        let bytes = fs::read(&file).unwrap();
        let said = refused(&proxy, &[]);
        assert!(fs::read(&file).unwrap() == bytes, "{key}: a refused start wrote to the file");
        assert!(said.contains(part) && said.contains("store"), "{key}: `{part}` is not told:\n{said}");
        assert_eq!(dump(&file), before, "{key}: what the store holds was changed");
    }
    put(&proxy, &image);
    is_whole(&mut proxy);
}

#[test]
fn e04_a_wrong_key_opens_nothing_and_changes_nothing() {
    let (mut proxy, image) = stopped();
    let file = file_of(&proxy);
    let before = dump(&file);
    put(&proxy, &image);
    proxy.write("seal.key", OTHER_KEY_FILE);
    let said = refused(&proxy, &[]);
    assert!(said.contains("seal.key") && said.contains("sealed under key"), "{said}");
    assert!(!said.contains(OTHER_KEY_FILE.trim()), "{said}");
    assert!(fs::read(&file).unwrap() == image, "a refused start wrote to the file");
    assert_eq!(dump(&file), before);
    proxy.write("seal.key", super::KEY_FILE);
    is_whole(&mut proxy);
}

#[test]
fn e02_records_that_changed_places_open_nothing() {
    let (mut proxy, image) = stopped();
    let file = file_of(&proxy);
    for table in [TABLES[0], TABLES[1]] {
        put(&proxy, &image);
        swap_all(&file, table);
        let mut run = Run::start(proxy.dir(), &[]);
        match run.settled(&proxy.address("admin")) {
            None => right(&proxy, "swapped records"),
            Some(status) => assert_eq!(status.code(), Some(1), "{}", run.said()),
        }
        assert!(!run.said().contains("panicked"), "{}", run.said());
    }
    put(&proxy, &image);
    is_whole(&mut proxy);
}

/// Gives every record of a table the content of the next one.
fn swap_all(file: &Path, definition: TableDefinition<'static, Key, Bytes>) {
    let database = Database::open(file).unwrap();
    let writer = database.begin_write().unwrap();
    {
        let mut table = writer.open_table(definition).unwrap();
        let records: Vec<([u8; 56], Vec<u8>)> = table
            .iter()
            .unwrap()
            .map(|record| record.map(|(key, value)| (*key.value(), value.value().to_vec())).unwrap())
            .collect();
        assert!(records.len() > 3, "{} records", records.len());
        for (at, (key, _)) in records.iter().enumerate() {
            let (_, content) = &records[(at + 1) % records.len()];
            table.insert(key, content.as_slice()).unwrap();
        }
    }
    writer.commit().unwrap();
}
