//! How the values that rows and commands are made of are written and read.
//!
//! Invariant: a value that was written reads back equal. Words that may grow (queue types, hash algorithms)
//! stand as numbers that are given once and never mean another thing.

use crate::catalog::{Binding, Destination, Node};
use crate::codec::{self, DecodeError, Reader};
use crate::password::{HashAlgorithm, PasswordHash};
use crate::policy::ApplyTo;
use crate::queue::QueueKind;
use types::limits::SHORT_STRING_BYTES_MAX;
use types::{
    ConnectionId, ExchangeName, FieldTable, NodeId, QueueId, QueueName, RoutingKey, UserName, VhostName,
};

/// A value with a form of its own.
pub(super) trait Field: Sized {
    /// The fewest bytes that it takes.
    const BYTES_MIN: usize = 1;

    fn put(&self, out: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        codec::put_bool(out, *self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
        reader.bool()
    }
}

/// A number that is mostly small.
impl Field for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        codec::put_varint(out, *self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
        reader.varint()
    }
}

impl Field for i64 {
    const BYTES_MIN: usize = 8;

    fn put(&self, out: &mut Vec<u8>) {
        codec::put_i64(out, *self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
        reader.i64()
    }
}

/// An id that is random.
impl Field for u128 {
    const BYTES_MIN: usize = 16;

    fn put(&self, out: &mut Vec<u8>) {
        codec::put_u64(out, *self as u64);
        codec::put_u64(out, (*self >> 64) as u64);
    }

    fn read(reader: &mut Reader<'_>) -> Result<u128, DecodeError> {
        Ok(u128::from(reader.u64()?) | (u128::from(reader.u64()?) << 64))
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        codec::put_text(out, self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
        reader.text().map(str::to_owned)
    }
}

impl Field for FieldTable {
    const BYTES_MIN: usize = 4;

    fn put(&self, out: &mut Vec<u8>) {
        codec::put_table(out, self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<FieldTable, DecodeError> {
        reader.table()
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        codec::put_option(out, self.as_ref(), |out, value| value.put(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Option<T>, DecodeError> {
        reader.option(T::read)
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        codec::put_count(out, self.len());
        self.iter().for_each(|value| value.put(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Vec<T>, DecodeError> {
        let count = reader.count(T::BYTES_MIN)?;
        (0..count).map(|_| T::read(reader)).collect()
    }
}

macro_rules! names {
    ($($name:ident),*) => {
        $(impl Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                codec::put_text(out, self.as_str());
            }

            fn read(reader: &mut Reader<'_>) -> Result<$name, DecodeError> {
                let at = reader.position();
                let text = reader.text()?;
                $name::new(text).map_or_else(|| too_long(reader, at, text.len()), Ok)
            }
        })*
    };
}

names!(VhostName, ExchangeName, QueueName, UserName);

fn too_long<T>(reader: &Reader<'_>, at: usize, length: usize) -> Result<T, DecodeError> {
    reader.refuse(at, format!("name of {length} bytes, {SHORT_STRING_BYTES_MAX} are the most"))
}

impl Field for RoutingKey {
    fn put(&self, out: &mut Vec<u8>) {
        codec::put_sized(out, self.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<RoutingKey, DecodeError> {
        let at = reader.position();
        let bytes = reader.sized()?;
        match bytes.len() {
            0..=SHORT_STRING_BYTES_MAX => Ok(RoutingKey::from(bytes)),
            length => too_long(reader, at, length),
        }
    }
}

macro_rules! ids {
    ($($id:ident),*) => {
        $(impl Field for $id {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }

            fn read(reader: &mut Reader<'_>) -> Result<$id, DecodeError> {
                reader.varint().map($id)
            }
        })*
    };
}

ids!(QueueId, ConnectionId, NodeId);

/// Words that stand as one byte each.
macro_rules! words {
    ($($type:ident { $($number:literal => $word:ident),* })*) => {
        $(impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.push(match self {
                    $($type::$word => $number,)*
                });
            }

            fn read(reader: &mut Reader<'_>) -> Result<$type, DecodeError> {
                let at = reader.position();
                match reader.u8()? {
                    $($number => Ok($type::$word),)*
                    other => reader.refuse(at, format!(concat!("unknown ", stringify!($type), " {}"), other)),
                }
            }
        })*
    };
}

words! {
    QueueKind { 0 => Classic, 1 => Quorum }
    HashAlgorithm { 0 => Sha256, 1 => Sha512 }
    ApplyTo { 0 => All, 1 => Exchanges, 2 => Queues, 3 => ClassicQueues, 4 => QuorumQueues, 5 => Streams }
}

impl Field for Destination {
    const BYTES_MIN: usize = 2;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Destination::Queue(name) => {
                out.push(0);
                name.put(out);
            }
            Destination::Exchange(name) => {
                out.push(1);
                name.put(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Destination, DecodeError> {
        let at = reader.position();
        match reader.u8()? {
            0 => QueueName::read(reader).map(Destination::Queue),
            1 => ExchangeName::read(reader).map(Destination::Exchange),
            other => reader.refuse(at, format!("unknown sort of destination {other}")),
        }
    }
}

/// Fields of a structure, in the order given.
macro_rules! structures {
    ($($type:ident { $($field:ident),* })*) => {
        $(impl $crate::catalog::encoding::field::Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::catalog::encoding::field::Field::put(&self.$field, out);)*
            }

            fn read(reader: &mut $crate::codec::Reader<'_>) -> Result<$type, $crate::codec::DecodeError> {
                $(let $field = $crate::catalog::encoding::field::Field::read(reader)?;)*
                Ok($type { $($field),* })
            }
        })*
    };
}

pub(super) use structures;

structures! {
    PasswordHash { algorithm, text }
    Binding { source, destination, routing_key, arguments }
    Node { id, name, addr, boot, up, feature_level }
}
