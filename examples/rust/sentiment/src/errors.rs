//! How the program ends when something the user gave cannot be used: one line, and exit status 2.

use std::fmt;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is wrong, and where: the one line that the user sees.
#[derive(Debug)]
pub struct InputError(pub String);

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InputError {}

/// `Err` with an [`InputError`]: `input_error(format!("{path}, line {number}: the text is empty"))`.
pub fn input_error<T>(message: String) -> Result<T> {
    Err(InputError(message).into())
}

/// The first line of what a library says: some add how they came to it.
pub fn first_line(error: &impl fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().into()
}
