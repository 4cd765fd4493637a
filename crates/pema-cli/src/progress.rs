//! A line on the terminal that says how far something is. A log gets none of it.

use std::{
    fmt::Arguments,
    io::{IsTerminal, stderr},
};

/// What ends a line's rest, after the cursor is back at its start.
const REST: &str = "\x1b[K";

/// Replaces the line.
pub(crate) fn show(line: Arguments<'_>) {
    if stderr().is_terminal() {
        eprint!("\r{line}{REST}");
    }
}

/// Leaves the line empty, for what is printed next.
pub(crate) fn clear() {
    show(format_args!(""));
}
