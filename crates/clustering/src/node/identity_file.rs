//! Who this node is, kept in its data directory.
//!
//! The file `node` is one line of text: `leveret-node 1 ID CRC`, id and checksum in hexadecimal.
//!
//! Invariant: the id is made once and never changes; a file that was damaged is refused, since a node with
//! another id would be another node.

use std::io::Write;
use std::path::{Path, PathBuf};
use types::NodeId;

const MAGIC: &str = "leveret-node";
const VERSION: &str = "1";
const FILE: &str = "node";
/// Says that the node has left its cluster.
const LEFT_FILE: &str = "node.left";

fn checksum(id: u64) -> u32 {
    // FNV-1a: it guards against a slip of an editor, not against an enemy.
    let text = format!("{MAGIC} {VERSION} {id:016x}");
    text.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = std::fs::File::create(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    // The name itself has to be on disk too.
    path.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all())
}

fn parse(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    if (words.next()?, words.next()?) != (MAGIC, VERSION) {
        return None;
    }
    let id = u64::from_str_radix(words.next()?, 16).ok()?;
    let sum = u32::from_str_radix(words.next()?, 16).ok()?;
    (words.next().is_none() && sum == checksum(id) && id != 0).then_some(id)
}

/// The id of the node that a data directory belongs to; made if there is none yet.
///
/// # Errors
/// A text for the operator that names the file.
pub fn node_id(data_dir: &Path) -> Result<NodeId, String> {
    let path = data_dir.join(FILE);
    if data_dir.join(LEFT_FILE).exists() {
        return Err(format!(
            "data-dir is '{}': its node has left its cluster; start with an empty data directory",
            data_dir.display()
        ));
    }
    let told = |why: String| format!("{}: {why}", path.display());
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text).map(NodeId).ok_or_else(|| {
            told(
                "it is damaged: restore it from a backup of this node, or start with an empty data directory"
                    .into(),
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = [0; 8];
            aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the machine gives no random bytes".to_owned())?;
            let id = u64::from_le_bytes(bytes).max(1);
            let text = format!("{MAGIC} {VERSION} {id:016x} {:08x}\n", checksum(id));
            write(&path, &text).map_err(|error| told(format!("it cannot be written: {error}")))?;
            Ok(NodeId(id))
        }
        Err(error) => Err(told(format!("it cannot be read: {error}"))),
    }
}

/// Notes that the node has left its cluster, so that its directory is not used again.
///
/// # Errors
/// The file cannot be written.
pub fn mark_left(data_dir: &Path) -> Result<(), String> {
    let path: PathBuf = data_dir.join(LEFT_FILE);
    write(&path, "this node has left its cluster\n").map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("leveret-identity-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn the_id_stays() {
        let dir = dir("stays");
        let id = node_id(&dir).unwrap();
        assert_eq!(node_id(&dir).unwrap(), id);
        assert_ne!(id, NodeId(0));
        mark_left(&dir).unwrap();
        assert!(node_id(&dir).unwrap_err().contains("has left its cluster"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let dir = dir("damaged");
        node_id(&dir).unwrap();
        let text = std::fs::read(dir.join(FILE)).unwrap();
        for at in 0..text.len() - 1 {
            let mut damaged = text.clone();
            damaged[at] = if damaged[at] == b'7' { b'8' } else { b'7' };
            std::fs::write(dir.join(FILE), &damaged).unwrap();
            assert!(
                node_id(&dir).unwrap_err().contains("damaged"),
                "{:?}",
                String::from_utf8_lossy(&damaged)
            );
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
