//! Damaged files: what is wrong is said, and wrong bytes never come out.

use crate::rig::{DIR, Rig, config, content, contents, fresh, open, pattern, set_content, start};
use std::path::Path;
use std::sync::Arc;
use storage::{CrashDisk, Disk, Location, OpenBlocks, ReadError};

const NAME: &str = "0000000000000001.blk";

fn memory() -> Arc<dyn Disk> {
    Arc::new(CrashDisk::new(1))
}

/// A file with two blocks, and where they are.
fn small_file() -> (Vec<u8>, [(Location, Vec<u8>); 2]) {
    let disk = memory();
    let rig = fresh(&disk, config());
    let blocks = [40, 70]
        .map(|size| (rig.put(3, &pattern(size, size as usize)).unwrap(), pattern(size, size as usize)));
    (content(&*disk, NAME), blocks)
}

/// A store that is about to be opened on a file with these bytes.
fn open_with(bytes: &[u8]) -> OpenBlocks {
    let disk = memory();
    set_content(&*disk, NAME, bytes);
    open(&disk, config()).unwrap()
}

/// How many of the blocks are read; panics if one is read wrong.
fn readable(open: &OpenBlocks, blocks: &[(Location, Vec<u8>)]) -> usize {
    let mut count = 0;
    for (location, put) in blocks {
        let adopted = open.adopt(3, *location);
        match open.read(*location) {
            Ok(read) => {
                assert_eq!(&read, put);
                count += usize::from(adopted.is_ok());
            }
            Err(ReadError::Damaged(text)) => assert!(text.contains(NAME), "{text}"),
            Err(other) => panic!("{other:?}"),
        }
        if let Err(text) = adopted {
            assert!(text.contains(NAME), "{text}");
        }
    }
    count
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let (good, blocks) = small_file();
    assert_eq!(good.len(), 32 + 24 + 40 + 24 + 70);
    assert_eq!(readable(&open_with(&good), &blocks), 2);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            // The head of the file is for both blocks.
            let expected = usize::from(at >= 32);
            assert_eq!(readable(&open_with(&bytes), &blocks), expected, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_shortened_file_gives_the_blocks_before_its_end() {
    let (good, blocks) = small_file();
    for length in 0..good.len() {
        let expected = usize::from(length >= 32 + 24 + 40);
        assert_eq!(readable(&open_with(&good[..length]), &blocks), expected, "{length} bytes");
    }
}

#[test]
fn damage_is_noticed_by_a_store_that_runs() {
    let disk = memory();
    let rig = fresh(&disk, config());
    let blocks: Vec<_> = (0..7).map(|n| rig.put(n, &pattern(n, 1000)).unwrap()).collect();
    let mut bytes = content(&*disk, NAME);
    bytes[600] ^= 1;
    set_content(&*disk, NAME, &bytes);
    disk.remove(&Path::new(DIR).join("0000000000000002.blk")).unwrap();
    let text = damaged(&rig, blocks[0]);
    assert!(text.starts_with("/data/blocks/0000000000000001.blk, block at 32: the checksum"), "{text}");
    assert_eq!(rig.read(blocks[1]).unwrap(), pattern(1, 1000));
    assert!(
        matches!(rig.read(blocks[4]), Err(ReadError::Missing(text)) if text.contains("0000000000000002.blk"))
    );
    assert_eq!(rig.store.stats().read_errors, 2);
}

fn damaged(rig: &Rig, location: Location) -> String {
    match rig.read(location) {
        Err(ReadError::Damaged(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_block_is_not_read_from_another_file_or_offset() {
    let (good, blocks) = small_file();
    let disk = memory();
    set_content(&*disk, "0000000000000002.blk", &good);
    let moved = Location { file: 2, ..blocks[0].0 };
    let error = open(&disk, config()).unwrap().read(moved).unwrap_err();
    assert!(error.to_string().ends_with("it is the file 0000000000000001.blk"), "{error}");

    let mut bytes = good.clone();
    bytes.extend_from_slice(&good[32..96]);
    let copied = Location { offset: good.len() as u32, ..blocks[0].0 };
    let error = open_with(&bytes).read(copied).unwrap_err();
    assert!(error.to_string().ends_with("was written for offset 32"), "{error}");
}

#[test]
fn a_damaged_file_that_is_needed_is_left_until_the_next_start() {
    let (good, blocks) = small_file();
    let disk = memory();
    set_content(&*disk, NAME, &good[..60]);
    let first = open(&disk, config()).unwrap();
    assert!(first.adopt(3, blocks[0].0).is_err());
    assert_eq!(first.recovered().unwrap(), 0);
    assert_eq!(start(first).put(1, &[1]).unwrap().file, 2);
    assert!(contents(&*disk).iter().any(|(name, _)| name == NAME));
    assert_eq!(open(&disk, config()).unwrap().recovered().unwrap(), 60 + 57);
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const OF_FIXTURE: [(u64, Location); 3] = [
    (1, Location { file: 7, offset: 32, length: 48 }),
    (0x0123_4567_89ab_cdef, Location { file: 7, offset: 80, length: 280 }),
    (1, Location { file: 7, offset: 360, length: 25 }),
];

/// What can be adopted and read of a fixture.
fn of_fixture(name: &str) -> Vec<Option<Vec<u8>>> {
    let disk = memory();
    set_content(&*disk, "0000000000000007.blk", &fixture(name));
    let open = open(&disk, config()).unwrap();
    let read = |(log, location)| open.adopt(log, location).ok().and_then(|()| open.read(location).ok());
    OF_FIXTURE.map(read).into()
}

#[test]
fn files_of_version_1_are_read() {
    let [one, two, three] =
        [b"the first block of log 1".to_vec(), (0..=255).collect(), b"x".to_vec()].map(Some);
    assert_eq!(of_fixture("blocks-v1-good.blk"), [one.clone(), two.clone(), three.clone()]);
    assert_eq!(of_fixture("blocks-v1-flipped.blk"), [None, two, three]);
    assert_eq!(of_fixture("blocks-v1-short.blk"), [one, None, None]);
    assert_eq!(of_fixture("blocks-v1-head.blk"), [None, None, None]);
}

#[test]
fn files_are_still_written_as_version_1() {
    let disk = memory();
    // The file before decides the number of the next one.
    set_content(&*disk, "0000000000000006.blk", b"");
    let rig = fresh(&disk, config());
    for ((log, location), bytes) in OF_FIXTURE.iter().zip(of_fixture("blocks-v1-good.blk")) {
        assert_eq!(rig.put(*log, &bytes.unwrap()).unwrap(), *location);
    }
    assert_eq!(content(&*disk, "0000000000000007.blk"), fixture("blocks-v1-good.blk"));
}

#[test]
fn a_newer_version_is_refused_and_nothing_is_changed() {
    let disk = memory();
    set_content(&*disk, "0000000000000003.blk", b"damaged, and needed by nobody");
    set_content(&*disk, "0000000000000007.blk", &fixture("blocks-v2-newer.blk"));
    let before = contents(&*disk);
    let error = open(&disk, config()).err().unwrap().to_string();
    assert!(error.contains("/data/blocks/0000000000000007.blk has version 2"), "{error}");
    assert_eq!(contents(&*disk), before);
}
