//! Downloading a model file: resumed where it broke off, in place only when whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ureq::Agent;
use ureq::http::StatusCode;
use ureq::tls::{RootCerts, TlsConfig};

/// Why a file was not downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The server said no.
    #[error("{url} answered {status}: check the name; a gated model must be downloaded by hand")]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("{url} could not be downloaded: {reason}; start again to go on where it broke off")]
    Connection {
        /// What was asked for.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The disk.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// Downloads `url` to `path` by way of `path.part`.
pub(super) fn download(url: &str, path: &Path) -> Result<(), DownloadError> {
    let disk = |e| DownloadError::Io(path.to_owned(), e);
    let broken = |e: &dyn std::fmt::Display| DownloadError::Connection { url: url.to_owned(), reason: e.to_string() };
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(disk)?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let have = fs::metadata(&part).map_or(0, |m| m.len());
    tracing::info!(url, have, "downloading the model");

    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let agent: Agent = Agent::config_builder().http_status_as_error(false).tls_config(tls).build().into();
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|e| broken(&e))?;
    let (append, whole) = match response.status() {
        StatusCode::PARTIAL_CONTENT => (true, total_length(&response)),
        StatusCode::OK => (false, response.body().content_length()),
        // The part may be whole already; start over if it is not.
        StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
            if total_length(&response) != Some(have) {
                fs::remove_file(&part).map_err(disk)?;
                return download(url, path);
            }
            return fs::rename(&part, path).map_err(disk);
        }
        status => return Err(DownloadError::Status { url: url.to_owned(), status: status.as_u16() }),
    };
    let mut file = OpenOptions::new().create(true).write(true).truncate(!append).append(append).open(&part).map_err(disk)?;
    copy(response.into_body().into_reader(), &mut file, &broken, &disk)?;
    file.sync_all().map_err(disk)?;
    let got = file.metadata().map_err(disk)?.len();
    if whole.is_some_and(|whole| whole != got) {
        return Err(broken(&format!("{got} of {} bytes arrived", whole.unwrap_or_default())));
    }
    fs::rename(&part, path).map_err(disk)
}

fn copy(
    mut from: impl Read,
    to: &mut File,
    broken: &dyn Fn(&dyn std::fmt::Display) -> DownloadError,
    disk: &dyn Fn(io::Error) -> DownloadError,
) -> Result<(), DownloadError> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match from.read(&mut buffer).map_err(|e| broken(&e))? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n]).map_err(disk)?,
        }
    }
}

/// The `N` of `Content-Range: bytes a-b/N`.
fn total_length<B>(response: &ureq::http::Response<B>) -> Option<u64> {
    response.headers().get("content-range")?.to_str().ok()?.rsplit_once('/')?.1.parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    /// A repository's file, `hf:o/r/m.gguf`.
    const PATH: &str = "/o/r/resolve/main/m.gguf";

    /// Serves `content` at [`PATH`] once per connection: `cut` bytes of it, then it hangs up.
    pub fn server(content: &'static [u8], cuts: Vec<usize>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for cut in cuts {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> = lines.map(Result::unwrap).take_while(|l| !l.is_empty()).collect();
                let range = head.iter().find_map(|l| l.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
                let from: usize = range.as_deref().map_or(0, |r| r.trim_end_matches('-').parse().unwrap());
                let (n, last) = (content.len(), content.len() - 1);
                if !head[0].starts_with(&format!("GET {PATH} ")) {
                    write!(stream, "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
                    continue;
                }
                let head = match range {
                    Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {from}-{last}/{n}"),
                    None => "200 OK".to_owned(),
                };
                write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", n - from).unwrap();
                stream.write_all(&content[from..(from + cut).min(n)]).unwrap();
            }
        });
        format!("http://{address}")
    }

    #[test]
    fn a_broken_download_goes_on_where_it_broke_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/m.gguf");
        let url = server(b"0123456789", vec![4, 100]) + PATH;
        let error = download(&url, &path).unwrap_err();
        assert!(matches!(error, DownloadError::Connection { .. }), "{error}");
        assert!(!path.exists());
        download(&url, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0123456789");
    }
}
