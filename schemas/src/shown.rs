//! Text of others, made fit to be shown.
//!
//! File names, parsers' messages and everything else that quotes what came from outside goes through here before it
//! reaches a terminal.
//!
//! ```
//! use smi_schemas::shown::shown;
//!
//! assert_eq!(shown("it's C:\\é \"x\""), "it's C:\\é \"x\"");
//! assert_eq!(shown("a\u{1b}[2Jb\r\n\u{202e}"), "a\\u{1b}[2Jb\\r\\n\\u{202e}");
//! ```

use std::error::Error;

/// The text with everything escaped that a terminal would act upon.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

/// An error and everything behind it: libraries leave the cause out of their own text.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
