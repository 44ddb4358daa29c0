//! Options that cannot be followed.

/// An option that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct InvalidOption {
    /// The option, by its key in files.
    pub key: String,
    /// What is wrong with its value, and what it has to be.
    pub reason: String,
}

pub(crate) fn invalid(key: &str, reason: impl Into<String>) -> InvalidOption {
    InvalidOption { key: key.to_owned(), reason: reason.into() }
}

/// Checks that an amount is a fraction below 1; `hint` is added to the message.
pub(crate) fn check_amount(key: &str, amount: f64, hint: &str) -> Result<(), InvalidOption> {
    match (0.0..1.0).contains(&amount) {
        true => Ok(()),
        false => Err(invalid(key, format!("{amount} is not from 0 up to, but not including, 1{hint}"))),
    }
}

/// Checks that a time is valid, if one is given.
pub(crate) fn check_milliseconds(key: &str, time: Option<f64>) -> Result<(), InvalidOption> {
    match time {
        Some(ms) if !ms.is_finite() || ms <= 0.0 => {
            let reason = format!("{ms} is not a valid time; it has to be a number of milliseconds above 0");
            Err(invalid(key, reason))
        }
        _ => Ok(()),
    }
}
