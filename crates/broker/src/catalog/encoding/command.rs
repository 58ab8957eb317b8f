//! Commands as bytes: the format's version, the command's number, its fields in order.
//!
//! Invariant: a number means one command forever. A command whose fields change gets a new number, and the
//! old one goes on being read.

use super::field::Field;
use crate::catalog::Command;
use crate::codec::{DecodeError, Reader};

/// First byte of an encoded command.
const FORMAT: u8 = 1;
/// The number of the command that holds another one.
const DECLARE_AT: u8 = 28;

/// The command within another one; such do not nest.
impl Field for Box<Command> {
    fn put(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Box<Command>, DecodeError> {
        let at = reader.position();
        if reader.clone().bytes(2)?.last() == Some(&DECLARE_AT) {
            return reader.refuse(at, "a declare at a home within another one");
        }
        read(reader).map(Box::new)
    }
}

macro_rules! commands {
    ($($number:literal => $command:ident { $($field:ident),* })*) => {
        impl Command {
            /// Appends the command's bytes; the first one is the version of the format.
            pub fn encode(&self, out: &mut Vec<u8>) {
                out.push(FORMAT);
                match self {
                    $(Command::$command { $($field),* } => {
                        out.push($number);
                        $($field.put(out);)*
                    })*
                }
            }

            /// Reads what [`Command::encode`] wrote.
            ///
            /// # Errors
            /// When the bytes are not one whole command of a known format, and nothing else.
            pub fn decode(bytes: &[u8]) -> Result<Command, DecodeError> {
                let mut reader = Reader::new(bytes);
                let command = read(&mut reader)?;
                reader.finish()?;
                Ok(command)
            }
        }

        fn read(reader: &mut Reader<'_>) -> Result<Command, DecodeError> {
            super::check_format(reader, FORMAT, "a command")?;
            let at = reader.position();
            match reader.u8()? {
                $($number => {
                    $(let $field = Field::read(reader)?;)*
                    Ok(Command::$command { $($field),* })
                })*
                other => reader.refuse(at, format!("unknown command {other}")),
            }
        }
    };
}

commands! {
    1 => AddVhost { name, description, tags, default_queue_type }
    2 => DeleteVhost { name }
    3 => SetTracing { vhost, on }
    4 => SetVhostLimit { vhost, limit, value }
    5 => ClearVhostLimit { vhost, limit }
    6 => PutUser { name, password_hash, tags }
    7 => DeleteUser { name }
    8 => SetUserLimit { user, limit, value }
    9 => ClearUserLimit { user, limit }
    10 => SetPermission { vhost, user, configure, write, read }
    11 => ClearPermission { vhost, user }
    12 => SetTopicPermission { vhost, user, exchange, write, read }
    13 => ClearTopicPermission { vhost, user, exchange }
    14 => SetPolicy { vhost, name, pattern, apply_to, priority, definition, operator }
    15 => ClearPolicy { vhost, name, operator }
    16 => SetParameter { vhost, component, name, value }
    17 => ClearParameter { vhost, component, name }
    18 => SetGlobalParameter { name, value }
    19 => ClearGlobalParameter { name }
    20 => DeclareExchange { vhost, name, kind, durable, auto_delete, internal, arguments, user }
    21 => DeleteExchange { vhost, name, if_unused }
    22 => DeclareQueue {
        vhost, name, server_named, durable, auto_delete, exclusive, connection, arguments, user
    }
    23 => DeleteQueue { vhost, name, id }
    24 => DeleteExclusive { connection }
    25 => Bind { vhost, binding }
    26 => Unbind { vhost, binding }
    27 => Restart {}
    28 => DeclareAt { home, command }
    29 => FormCluster { cluster, node }
    30 => PutNode { node }
    31 => NodeLost { id, boot }
    32 => ForgetNode { id }
    33 => ChangeCopies { changes }
}
