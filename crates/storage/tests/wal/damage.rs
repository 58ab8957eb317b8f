//! The rows of the decision table: what a start does with a directory that is not as it was left.

use super::directory::{Directory, batches};
use super::observer::{Collected, Observer, Seen, body, open, record, start, tiny};
use std::io::IoSlice;
use std::sync::Arc;
use storage::wal::{Entry, WalConfig};
use storage::{CrashDisk, Disk};
use storage::{OpenError, OpenMode};

/// A log of three files, the last with three batches.
fn sound() -> (Directory, Vec<Seen>) {
    let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(3));
    let small = WalConfig { file_bytes: tiny().first_file_bytes, ..tiny() };
    let (wal, _, _) = start(&disk, &small);
    let mut seen = Vec::new();
    let mut lengths = vec![900; 8];
    lengths.extend([20, 30, 200]);
    for length in lengths {
        let large = body(vec![seen.len() as u8; length], b"end");
        let entries = [record(1, b"head"), Entry { body: Some(large), ..record(2, b"h") }];
        let first = wal.last_sequence() + 1;
        seen.extend((first..).zip(&entries).map(|(sequence, entry)| Seen::of(sequence, entry)));
        wal.append(entries.into(), true);
        wal.flush().unwrap();
    }
    wal.stop().unwrap();
    let directory = Directory::of(&*disk);
    assert!(directory.begun().len() >= 3, "{:?}", directory.begun());
    (directory, seen)
}

fn accepting() -> WalConfig {
    WalConfig { accept_damage: true, ..tiny() }
}

fn refused(directory: &Directory, wanted: &str) {
    match open(&directory.disk(), &tiny()) {
        Err(error @ OpenError::Damaged { .. }) => {
            let text = error.to_string();
            assert!(text.contains(wanted) && text.contains("--accept-damage"), "{text}");
        }
        Err(error) => panic!("{error}"),
        Ok((_, found)) => panic!("opened, with {} entries", found.entries.len()),
    }
}

/// Opens with damage accepted: some is listed, the rest is there; the next start needs no permission.
fn accepted(directory: &Directory, seen: &[Seen]) -> Collected {
    let disk = directory.disk();
    let (opened, found) = open(&disk, &accepting()).unwrap();
    assert!(!opened.damage().is_empty());
    assert!(found.entries.iter().all(|entry| seen.contains(entry)));
    assert!(found.entries.is_sorted_by_key(|entry| entry.sequence));
    let wal = opened.start(Arc::new(Observer::default())).unwrap();
    let sequence = wal.append(vec![record(1, b"goes on")], true);
    assert!(found.entries.last().is_none_or(|last| sequence > last.sequence));
    wal.stop().unwrap();
    let (opened, again) = open(&disk, &tiny()).unwrap();
    assert_eq!(opened.next_sequence(), sequence + 1);
    assert_eq!(again.entries.len(), found.entries.len() + 1);
    found
}

fn put(disk: &Arc<dyn Disk>, name: &str, at: usize, byte: u8) {
    let file = disk.open(&tiny().dir.join(name), OpenMode::Write).unwrap();
    file.write_at(at as u64, &[IoSlice::new(&[byte])]).unwrap();
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_cuts_the_last_batch() {
    let (directory, seen) = sound();
    let begun = directory.begun();
    let disk = directory.disk();
    let mut outcomes = [0; 3];
    for name in &begun {
        let bytes = &directory.0[name];
        let is_last = Some(name) == begun.last();
        let found = batches(bytes);
        let end = found.last().map(|(at, length)| at + length).unwrap();
        for (at, byte) in bytes[..end].iter().enumerate() {
            put(&disk, name, at, byte ^ (1 << (at % 8)));
            let context = format!("byte {at} of {name}");
            let in_last = is_last && at >= found.last().unwrap().0;
            match open(&disk, &tiny()) {
                Err(OpenError::Damaged { path, offset, .. }) => {
                    assert!(!in_last, "{context}");
                    assert!(path.ends_with(name) && offset <= at as u64, "{context}: {path:?} {offset}");
                    outcomes[0] += 1;
                }
                Err(error) => panic!("{context}: {error}"),
                Ok((opened, collected)) => {
                    assert!(in_last, "{context}: not noticed");
                    assert_eq!(collected.entries, seen[..seen.len() - 2], "{context}");
                    assert_eq!((opened.next_sequence(), opened.damage().len()), (seen.len() as u64 - 1, 0));
                    outcomes[1] += 1;
                }
            }
            let (opened, collected) = open(&disk, &accepting()).unwrap();
            put(&disk, name, at, *byte);
            assert!(collected.entries.iter().all(|entry| seen.contains(entry)), "{context}");
            assert!(collected.entries.is_sorted_by_key(|entry| entry.sequence), "{context}");
            assert_eq!(opened.damage().is_empty(), in_last, "{context}");
            outcomes[2] += usize::from(collected.entries.len() + 2 >= seen.len());
        }
    }
    // One flipped bit costs one batch at the most.
    assert_eq!(outcomes[2], outcomes[0] + outcomes[1]);
    assert!(outcomes[0] > 8_000 && outcomes[1] > 300, "{outcomes:?}");
}

#[test]
fn a_flipped_bit_in_a_file_with_one_batch_never_gives_wrong_bytes() {
    let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(3));
    let (wal, _, _) = start(&disk, &tiny());
    wal.append(vec![record(1, b"only")], true);
    wal.stop().unwrap();
    let directory = Directory::of(&*disk);
    let name = directory.begun().remove(0);
    // Behind the batch nothing is looked at but for whole batches.
    for at in 0..384 {
        let mut flipped = directory.clone();
        flipped.bytes(&name)[at] ^= 0x10;
        let disk = flipped.disk();
        let (wal, _, found) = start(&disk, &tiny());
        let all = !(128..256).contains(&at);
        assert_eq!(found.entries.len(), usize::from(all), "byte {at}");
        assert!(found.entries.iter().all(|entry| entry.head == b"only"));
        // A head that was torn is made good, so that the next start finds it.
        wal.append(vec![record(1, b"next")], true);
        wal.stop().unwrap();
        assert_eq!(open(&disk, &tiny()).unwrap().1.entries.len(), 1 + usize::from(all), "byte {at}");
    }
}

#[test]
fn a_torn_tail_is_cut() {
    let (directory, seen) = sound();
    let name = directory.begun().pop().unwrap();
    let (at, length) = *batches(&directory.0[&name]).last().unwrap();
    for written in 0..length {
        let mut torn = directory.clone();
        torn.bytes(&name)[at + written..at + length].fill(0);
        let (opened, found) = open(&torn.disk(), &tiny()).unwrap();
        let whole = found.entries.len() == seen.len();
        assert!(whole || found.entries == seen[..seen.len() - 2], "{written} bytes");
        assert!(opened.damage().is_empty() && (!whole || written > length - 64));
    }
}

#[test]
fn a_missing_file_is_refused() {
    let (directory, seen) = sound();
    for (index, name) in directory.begun().iter().enumerate().rev().skip(1) {
        let mut without = directory.clone();
        without.0.remove(name);
        refused(&without, if index == 0 { "still needed" } else { name });
        let found = accepted(&without, &seen);
        assert!(found.entries.len() < seen.len() && found.entries.last() == seen.last());
    }
}

#[test]
fn a_shortened_file_is_refused() {
    let (directory, seen) = sound();
    for name in directory.begun() {
        let mut short = directory.clone();
        let bytes = short.bytes(&name);
        let (at, length) = *batches(bytes).last().unwrap();
        bytes.truncate(at + length);
        refused(&short, "shorter");
        assert_eq!(accepted(&short, &seen).entries.len(), seen.len());
        short.bytes(&name).truncate(at + 10);
        refused(&short, "shorter");
        accepted(&short, &seen);
    }
}

#[test]
fn a_file_of_zeros_in_the_middle_is_refused() {
    let (directory, seen) = sound();
    let names = directory.begun();
    let mut blank = directory.clone();
    blank.bytes(&names[1]).fill(0);
    refused(&blank, &names[1]);
    accepted(&blank, &seen);
    // The head alone.
    let mut blank = directory.clone();
    blank.bytes(&names[1])[..128].fill(0);
    refused(&blank, "head");
    assert_eq!(accepted(&blank, &seen).entries.len(), seen.len());
}

#[test]
fn a_newer_version_is_refused_even_if_damage_is_accepted() {
    let (mut directory, _) = sound();
    let name = directory.begun().remove(1);
    let bytes = directory.bytes(&name);
    bytes[8] = 2;
    bytes[12..16].fill(0);
    let checksum = crc32c::crc32c(&bytes[..128]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    for config in [tiny(), accepting()] {
        let error = open(&directory.disk(), &config).err().unwrap();
        assert!(matches!(error, OpenError::Version { found: 2, known: 1, .. }));
        let text = error.to_string();
        assert!(text.contains("version 2") && text.contains("version 1") && text.contains(&name), "{text}");
    }
}

#[test]
fn what_the_engine_does_not_understand_is_refused() {
    let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(3));
    let (wal, _, _) = start(&disk, &tiny());
    wal.append(vec![record(1, b"fine"), record(1, b"not understood")], true);
    wal.stop().unwrap();
    for config in [tiny(), accepting()] {
        let text = open(&disk, &config).err().unwrap().to_string();
        assert!(text.contains("byte 128") && text.contains("kind 99"), "{text}");
    }
}

#[test]
fn unknown_files_stay_and_half_made_ones_go() {
    let (mut directory, seen) = sound();
    let own = ["notes.txt", "0000000000000001.wal.bak", "lock"];
    for name in own {
        directory.0.insert(name.to_owned(), b"mine".to_vec());
    }
    directory.0.insert("00000000000000aa.new".to_owned(), vec![0; 700]);
    directory.0.insert("00000000000000ab.wal".to_owned(), vec![0; 16 * 1024]);
    directory.0.insert("00000000000000ac.spare".to_owned(), vec![1; 8 * 1024]);
    let disk = directory.disk();
    let (wal, _, found) = start(&disk, &tiny());
    assert_eq!(found.entries, seen);
    wal.stop().unwrap();
    let left = Directory::of(&*disk).0;
    assert!(own.iter().all(|name| left[*name] == b"mine"));
    assert!(!left.contains_key("00000000000000aa.new") && !left.contains_key("00000000000000ac.spare"));
}

#[test]
fn a_recycled_file_proves_that_a_newer_one_is_missing() {
    let (directory, seen) = sound();
    let names = directory.begun();
    let mut without = directory.clone();
    let newest = without.0.remove(names.last().unwrap()).unwrap();
    without.0.insert("00000000000000aa.spare".to_owned(), newest);
    refused(&without, "spare");
    accepted(&without, &seen);
}

#[test]
fn bytes_in_a_body_do_not_pass_for_a_batch() {
    let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(3));
    let (wal, _, _) = start(&disk, &tiny());
    wal.append(vec![record(1, b"first")], true);
    wal.flush().unwrap();
    let before = Directory::of(&*disk);
    let name = before.begun().remove(0);
    // A later batch of the same file, but for the salt, which nobody outside can know.
    let mut forged = before.0[&name][128..256].to_vec();
    forged[24] = 9;
    forged[32] = 9;
    forged[48] ^= 1;
    let checksum = crc32c::crc32c(&forged[8..64]);
    forged[4..8].copy_from_slice(&checksum.to_le_bytes());
    let mut bytes = vec![0; 64 - 44];
    bytes.extend(before.0[&name][128..256].iter().chain(&forged).cycle().take(1024));
    // The body is the first thing behind the entry's 32 bytes and four bytes of head.
    wal.append(vec![Entry { body: Some(body(bytes, b"")), ..record(1, b"four4444") }], true);
    wal.stop().unwrap();
    let mut torn = Directory::of(&*disk);
    let (at, length) = batches(&torn.0[&name])[1];
    torn.bytes(&name)[at + length - 200] ^= 1;
    for head_too in [false, true] {
        if head_too {
            torn.bytes(&name)[at + 9] ^= 1;
        }
        let (opened, found) = open(&torn.disk(), &tiny()).unwrap();
        assert_eq!((found.entries.len(), opened.next_sequence()), (1, 2));
    }
}
