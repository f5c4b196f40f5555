//! The workload image: one static binary in an otherwise empty image, written as an OCI image archive.
//!
//! The archive is a tar of an OCI image layout: `oci-layout`, `index.json`, and under `blobs/sha256/` the manifest, its
//! configuration and one uncompressed layer that holds `/smi-agent`. Times and owners are zero, so the same binary
//! gives the same archive and the same digest. `ctr images import`, `docker load`, `podman load` and `skopeo` read it.

use std::io::{self, Write};

use object::Endianness;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use serde_json::{Value, json};
use smi_schemas::Digest;
use tar::{Builder, EntryType, Header};

/// The image's name, by which pods ask for it.
pub const NAME: &str = concat!("smi-conformance.local/smi-agent:", env!("CARGO_PKG_VERSION"));

/// Bytes of the largest binary that is taken for an agent.
pub const MAX_BINARY_BYTES: usize = 256 * 1024 * 1024;

const PATH: &str = "smi-agent";
/// A user without a name and without rights.
const USER: &str = "65532:65532";

/// Why a binary is no agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// Not an executable of Linux on a known processor.
    #[error("not a 64-bit Linux executable for amd64 or arm64")]
    Foreign,
    /// It asks for a dynamic loader, which an empty image does not have.
    #[error("dynamically linked, and the image holds no libraries")]
    Dynamic,
}

/// An image, ready to be written.
#[derive(Debug)]
pub struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Image {
    /// Puts a static binary into an image.
    pub fn new(binary: &[u8]) -> Result<Self, BinaryError> {
        let architecture = architecture(binary)?;
        // Writing to memory cannot fail.
        let layer = layer(binary).unwrap_or_default();
        let config = bytes(&json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": [format!("/{PATH}")], "User": USER},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
        }));
        let manifest = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        }));
        Ok(Self { layer, config, manifest })
    }

    /// The digest by which registries and clusters know it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// Writes the archive.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut manifest = descriptor("application/vnd.oci.image.manifest.v1+json", &self.manifest);
        manifest["annotations"] = json!({"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": NAME});
        let index = bytes(&json!({"schemaVersion": 2, "manifests": [manifest]}));
        let mut archive = Builder::new(out);
        add(&mut archive, "oci-layout", 0o644, &bytes(&json!({"imageLayoutVersion": "1.0.0"})))?;
        add(&mut archive, "index.json", 0o644, &index)?;
        for blob in [&self.manifest, &self.config, &self.layer] {
            add(&mut archive, &format!("blobs/sha256/{}", Digest::of(blob).hex()), 0o644, blob)?;
        }
        archive.into_inner()?.flush()
    }
}

fn architecture(binary: &[u8]) -> Result<&'static str, BinaryError> {
    let foreign = |_| BinaryError::Foreign;
    let header = FileHeader64::<Endianness>::parse(binary).map_err(foreign)?;
    let endian = header.endian().map_err(foreign)?;
    let segments = header.program_headers(endian, binary).map_err(foreign)?;
    if segments.iter().any(|segment| segment.p_type(endian) == PT_INTERP) {
        return Err(BinaryError::Dynamic);
    }
    match header.e_machine(endian) {
        EM_X86_64 => Ok("amd64"),
        EM_AARCH64 => Ok("arm64"),
        _ => Err(BinaryError::Foreign),
    }
}

fn layer(binary: &[u8]) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    add(&mut archive, PATH, 0o755, binary)?;
    archive.into_inner()
}

fn add(archive: &mut Builder<impl Write>, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    archive.append_data(&mut header, path, bytes)
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(blob), "size": blob.len()})
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that is an ELF executable: a header and one segment.
    fn elf(machine: u16, segment: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64; // program headers begin here
        bytes[54] = 56; // and each has this size
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&segment.to_le_bytes());
        bytes
    }

    #[test]
    fn an_archive_is_an_oci_layout_whose_digests_are_right() {
        let image = Image::new(&elf(62, 1)).unwrap();
        let mut written = Vec::new();
        image.write(&mut written).unwrap();
        let mut again = Vec::new();
        Image::new(&elf(62, 1)).unwrap().write(&mut again).unwrap();
        assert!(written == again, "the same binary gives the same bytes");
        let mut names = Vec::new();
        for entry in tar::Archive::new(&written[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut blob = Vec::new();
            io::Read::read_to_end(&mut entry, &mut blob).unwrap();
            if let Some(digest) = name.strip_prefix("blobs/sha256/") {
                assert_eq!(digest, Digest::of(&blob).hex());
            }
            if name == "index.json" {
                let index: Value = serde_json::from_slice(&blob).unwrap();
                assert_eq!(index["manifests"][0]["digest"], image.digest().to_string());
            }
            names.push(name);
        }
        assert_eq!(names[..2], ["oci-layout", "index.json"]);
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn only_static_linux_executables_are_agents() {
        assert_eq!(Image::new(&elf(62, 3)).unwrap_err(), BinaryError::Dynamic);
        assert_eq!(Image::new(&elf(40, 1)).unwrap_err(), BinaryError::Foreign);
        assert_eq!(Image::new(b"#!/bin/sh\n").unwrap_err(), BinaryError::Foreign);
        for end in 0..elf(62, 1).len() {
            assert!(Image::new(&elf(62, 1)[..end]).is_err(), "{end} bytes are no executable");
        }
    }
}
