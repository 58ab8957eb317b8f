//! Copies of queues and their steps, as bytes.
//!
//! Invariant: a step's number means that step for ever.

use super::field::{Field, structures};
use crate::catalog::copies::{Copies, CopyChange, CopyStep};
use crate::codec::{self, DecodeError, Reader};
use types::NodeId;

structures! {
    Copies { epoch, boot, version, mirrors, in_sync, min_in_sync }
    CopyChange { vhost, name, queue, epoch, version, step }
}

impl Field for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        codec::put_varint(out, (*self).into());
    }

    fn read(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
        let at = reader.position();
        let number = reader.varint()?;
        u32::try_from(number).or_else(|_| reader.refuse(at, format!("{number} is too high")))
    }
}

impl Field for CopyStep {
    const BYTES_MIN: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        let (number, node) = match self {
            CopyStep::Start => (0, None),
            CopyStep::Stop => (1, None),
            CopyStep::AddMirror(node) => (2, Some(node)),
            CopyStep::DropMirror(node) => (3, Some(node)),
            CopyStep::JoinSync(node) => (4, Some(node)),
            CopyStep::LeaveSync(node) => (5, Some(node)),
            CopyStep::SetMinimum(minimum) => {
                out.push(6);
                return minimum.put(out);
            }
            CopyStep::HandOver(node) => (7, Some(node)),
        };
        out.push(number);
        if let Some(node) = node {
            node.put(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<CopyStep, DecodeError> {
        let at = reader.position();
        Ok(match reader.u8()? {
            0 => CopyStep::Start,
            1 => CopyStep::Stop,
            2 => CopyStep::AddMirror(NodeId::read(reader)?),
            3 => CopyStep::DropMirror(NodeId::read(reader)?),
            4 => CopyStep::JoinSync(NodeId::read(reader)?),
            5 => CopyStep::LeaveSync(NodeId::read(reader)?),
            6 => CopyStep::SetMinimum(u32::read(reader)?),
            7 => CopyStep::HandOver(NodeId::read(reader)?),
            other => return reader.refuse(at, format!("unknown step {other} of a queue's copies")),
        })
    }
}
