//! Properties: every view of them stays inside the octets; taken apart and encoded they are the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use types::Properties;

fuzz_target!(|data: &[u8]| {
    let Ok(properties) = Properties::parse(data) else { return };
    assert_eq!(properties.raw(), data);
    let _ = (properties.delivery_mode(), properties.priority(), properties.timestamp());
    let _ = (properties.expiration(), properties.reply_to(), properties.correlation_id());
    let _ = (properties.message_id(), properties.user_id(), properties.headers());
    let Ok(owned) = properties.to_owned() else { return };
    let again = owned.encode();
    let back = Properties::parse(&again).unwrap().to_owned().unwrap();
    assert_eq!(format!("{owned:?}"), format!("{back:?}"));
    if properties.headers_raw().is_none() {
        assert_eq!(again, data);
    }
});
