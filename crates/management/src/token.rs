//! The operator's token: who can read the data directory needs no password.
//!
//! Invariant: the file is readable by its owner only from the moment it exists, holds the address of
//! this start and is gone after a clean stop.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file's name in the data directory; `leveretctl` knows it too.
const FILE_NAME: &str = ".ctl-token";

/// A token in its file: the HTTP address in the first line, the secret in the second.
pub(crate) struct TokenFile {
    path: PathBuf,
    secret: String,
}

impl TokenFile {
    pub(crate) fn create(data_dir: &Path, address: SocketAddr) -> io::Result<TokenFile> {
        let path = data_dir.join(FILE_NAME);
        let secret = secret()?;
        let fresh = data_dir.join(format!("{FILE_NAME}.new"));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        write!(file, "{}\n{secret}\n", reachable(address))?;
        drop(file);
        fs::rename(&fresh, &path)?;
        Ok(TokenFile { path, secret })
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        // A node that was started meanwhile in the same directory keeps its own.
        let is_own =
            fs::read_to_string(&self.path).is_ok_and(|text| text.lines().nth(1) == Some(&self.secret));
        if is_own {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The address to connect to from this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// 256 random bits in hexadecimal.
fn secret() -> io::Result<String> {
    let mut bits = [0; 32];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bits)?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_file_is_private_and_goes_with_its_owner() {
        let dir = std::env::temp_dir().join(format!("leveret-token-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let address: SocketAddr = "0.0.0.0:15672".parse().unwrap();
        let file = TokenFile::create(&dir, address).unwrap();
        let path = dir.join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("127.0.0.1:15672\n{}\n", file.secret()));
        let second = TokenFile::create(&dir, address).unwrap();
        assert_ne!(file.secret(), second.secret());
        drop(file);
        assert!(path.exists(), "the second one's file stays");
        drop(second);
        assert!(!path.exists());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn secrets_compare() {
        assert!(is_same("abc", "abc"));
        for other in ["", "ab", "abd", "abcd"] {
            assert!(!is_same("abc", other));
        }
    }
}
