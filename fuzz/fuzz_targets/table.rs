//! Tables: what is decoded encodes to something that decodes to the same, with the same rest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use types::FieldTable;

fuzz_target!(|data: &[u8]| {
    let Ok((table, rest)) = FieldTable::decode(data) else { return };
    let mut again = Vec::new();
    table.encode(&mut again);
    // `L` is read as `l`, and any octet but 0 as true; else the octets would be the same.
    assert_eq!(again.len(), data.len() - rest.len());
    let (back, nothing) = FieldTable::decode(&again).unwrap();
    assert!(nothing.is_empty());
    assert_eq!(format!("{table:?}"), format!("{back:?}"));
    let mut third = Vec::new();
    back.encode(&mut third);
    assert_eq!(again, third);
});
