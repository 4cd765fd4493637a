//! Node packages, exactly as a lock file has them.

use std::path::Path;

use anyhow::Result;

use super::ready;
use crate::shell::{Cmd, is_fresh};

/// `npm ci` in a folder, unless what is installed is newer than the lock file.
pub(crate) fn install(dir: &Path) -> Result<()> {
    // npm writes this copy of the lock file last.
    if is_fresh(&dir.join("node_modules/.package-lock.json"), &dir.join("package-lock.json")) {
        ready("Node packages", dir.display());
        return Ok(());
    }
    Cmd::new("npm", "install the packages of the lock file").args(["ci", "--no-audit", "--no-fund"]).dir(dir).run()
}
