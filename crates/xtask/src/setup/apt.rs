//! Packages of Debian and its kin.

use std::sync::Once;

use anyhow::{Result, bail};

use crate::shell::{Cmd, ask, which};

/// Installs packages, as root on a system with apt; elsewhere fails with what to do.
///
/// # Errors
/// With `by_hand` in the message when this system or user cannot.
pub(crate) fn install(packages: &[&str], why: &str, by_hand: &str) -> Result<()> {
    if which("apt-get").is_none() {
        bail!("{why}, and this system has no apt-get. {by_hand}");
    }
    let install = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if ask("id", &["-u"]).as_deref() != Some("0") {
        bail!("{why}. Run `sudo apt-get update && sudo {install}`, then this again. {by_hand}");
    }
    update_once();
    Cmd::new("apt-get", why)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages)
        .run()
}

/// One mirror of several that does not answer is no reason to stop: installing tells.
fn update_once() {
    static UPDATED: Once = Once::new();
    UPDATED.call_once(|| {
        if let Err(problem) = Cmd::new("apt-get", "refresh the list of packages").args(["update"]).run() {
            println!("  {problem:#}; going on with the list as it is");
        }
    });
}
