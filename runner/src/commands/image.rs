//! `image`: the workload image as an archive.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use smi_runner::image::{BinaryError, Image, MAX_BINARY_BYTES, NAME};
use smi_schemas::codes::{Code, Exit};

use super::CommandError;
use crate::args;

/// Why no image was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("{}: {cause}", path.display())]
    Agent { path: PathBuf, cause: io::Error },
    #[error("{}: {cause}", path.display())]
    Binary { path: PathBuf, cause: BinaryError },
    #[error("{}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
}

impl ImageError {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Agent { .. } => Code::AgentAbsent,
            Self::Binary { .. } => Code::AgentBinary,
            Self::Write { cause, .. } if cause.kind() == io::ErrorKind::AlreadyExists => Code::FileExists,
            Self::Write { .. } => Code::FileUnwritable,
        }
    }
}

pub(crate) fn image(arguments: &args::Image) -> Result<Exit, CommandError> {
    let path = match &arguments.agent {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("smi-agent"),
    };
    let image = Image::new(&read(&path)?).map_err(|cause| ImageError::Binary { path, cause })?;
    let out = &arguments.out;
    write(out, &image).map_err(|cause| ImageError::Write { path: out.clone(), cause })?;
    let mut said = anstream::stdout().lock();
    writeln!(said, "image     {NAME}\ndigest    {}\narchive   {}", image.digest(), out.display())?;
    // Under its digest too: without it a cluster cannot say which image a pod ran.
    let repository = NAME.rsplit_once(':').map_or(NAME, |(repository, _)| repository);
    let options = format!("--digests --base-name {repository}");
    writeln!(said, "load      ctr --namespace k8s.io images import {options} {}", out.display())?;
    Ok(Exit::Success)
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    let unreadable = |cause| ImageError::Agent { path: path.to_owned(), cause };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_BINARY_BYTES as u64 {
        return Err(unreadable(io::Error::other(format!("more than {MAX_BINARY_BYTES} bytes"))));
    }
    fs::read(path).map_err(unreadable)
}

/// A file that was begun and not finished is removed again.
fn write(path: &Path, image: &Image) -> io::Result<()> {
    let file = File::create_new(path)?;
    let written = image.write(BufWriter::new(&file)).and_then(|()| file.sync_all());
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(path);
    }
    written
}
