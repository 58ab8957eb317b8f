//! The catalog's on-disk forms: any bytes are refused or read, and what was read encodes to something that
//! reads as the same.
#![no_main]

use broker::catalog::{Catalog, Command};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(command) = Command::decode(data) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        let back = Command::decode(&bytes).unwrap();
        // Compared as text: numbers that are not numbers are not equal to themselves.
        assert_eq!(format!("{command:?}"), format!("{back:?}"));
    }
    if let Ok(mut catalog) = Catalog::decode(data) {
        let bytes = catalog.encode();
        let back = Catalog::decode(&bytes).unwrap();
        assert_eq!(format!("{catalog:?}"), format!("{back:?}"));
        assert_eq!(bytes, back.encode());
        let _ = catalog.apply(Command::Restart, &mut Vec::new());
        let bytes = catalog.encode();
        assert_eq!(bytes, Catalog::decode(&bytes).unwrap().encode());
    }
});
