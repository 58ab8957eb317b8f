//! How to make any value of each field type.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use types::{FieldTable, FieldValue};

/// A type with a strategy for its values.
pub(crate) trait Any: Sized {
    /// All values that the wire can carry.
    fn any() -> BoxedStrategy<Self>;
}

macro_rules! plain {
    ($($type:ty)*) => {$(
        impl Any for $type {
            fn any() -> BoxedStrategy<Self> {
                any::<$type>().boxed()
            }
        }
    )*};
}

plain! { u8 u16 u32 u64 bool }

impl Any for String {
    fn any() -> BoxedStrategy<Self> {
        // At most 63 characters of up to 4 octets, so that nothing is cut.
        vec(any::<char>(), 0..64).prop_map(|chars| chars.into_iter().collect()).boxed()
    }
}

impl Any for Bytes {
    fn any() -> BoxedStrategy<Self> {
        vec(any::<u8>(), 0..300).prop_map(Bytes::from).boxed()
    }
}

impl Any for FieldTable {
    fn any() -> BoxedStrategy<Self> {
        entries(value()).boxed()
    }
}

fn entries(value: impl Strategy<Value = FieldValue>) -> impl Strategy<Value = FieldTable> {
    vec((String::any(), value), 0..5)
        .prop_map(|entries| entries.iter().map(|(key, value)| (key.as_str(), value.clone())).collect())
}

fn value() -> impl Strategy<Value = FieldValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(FieldValue::Bool),
        any::<i8>().prop_map(FieldValue::I8),
        any::<u8>().prop_map(FieldValue::U8),
        any::<i16>().prop_map(FieldValue::I16),
        any::<u16>().prop_map(FieldValue::U16),
        any::<i32>().prop_map(FieldValue::I32),
        any::<u32>().prop_map(FieldValue::U32),
        any::<i64>().prop_map(FieldValue::I64),
        any::<i32>().prop_map(|n| FieldValue::F32(n as f32 / 4.0)),
        any::<i64>().prop_map(|n| FieldValue::F64(n as f64 / 4.0)),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, n)| FieldValue::Decimal(scale, n)),
        Bytes::any().prop_map(FieldValue::LongString),
        Bytes::any().prop_map(FieldValue::Binary),
        any::<u64>().prop_map(FieldValue::Timestamp),
        Just(FieldValue::Void),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(FieldValue::Array),
            entries(inner).prop_map(FieldValue::Table),
        ]
    })
}
