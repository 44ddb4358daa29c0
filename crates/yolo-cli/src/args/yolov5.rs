//! How YOLOv5's scripts write some values: −1 for "never" and for "as many as fit".

use serde::{Deserialize, Deserializer, Serialize};

/// A number of epochs; −1 and 0 are "never".
pub(crate) fn period(text: &str) -> Result<u32, String> {
    match text {
        "-1" => Ok(0),
        _ => text.parse().map_err(|_| "it must be a number of epochs, or -1 for never".to_owned()),
    }
}

/// A seed; a negative one is as good as any.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    let signed = || text.parse::<i64>().map(i64::cast_unsigned);
    text.parse().or_else(|_| signed()).map_err(|_| "it must be a whole number".to_owned())
}

/// As many images per batch as fit into the free memory.
pub(crate) const FITTING: u32 = 0;

/// A number of images; −1 is [`FITTING`].
pub(crate) fn batch_size(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(FITTING),
        Ok(count @ 1..=4096) => Ok(count as u32),
        _ => Err("it must be a number of images from 1 to 4096, or -1 for as many as fit into the memory"
            .to_owned()),
    }
}

/// Where decoded images are kept between epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CacheArg {
    /// Nowhere.
    #[default]
    Off,
    /// In memory.
    Ram,
    /// In files in the user's cache folder.
    Disk,
}

impl<'de> Deserialize<'de> for CacheArg {
    /// Runs of earlier versions say whether images were kept in memory.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Saved {
            InMemory(bool),
            Name(String),
        }
        match Saved::deserialize(deserializer)? {
            Saved::InMemory(false) => Ok(Self::Off),
            Saved::InMemory(true) => Ok(Self::Ram),
            Saved::Name(name) => clap::ValueEnum::from_str(&name, false).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn minus_one_is_never_or_as_many_as_fit() {
        assert_eq!((period("-1"), period("0"), period("3")), (Ok(0), Ok(0), Ok(3)));
        assert!(period("-2").is_err() && period("often").is_err());
        assert_eq!(
            (seed("-1"), seed("7"), seed("18446744073709551615")),
            (Ok(u64::MAX), Ok(7), Ok(u64::MAX))
        );
        assert_eq!((batch_size("-1"), batch_size("16")), (Ok(FITTING), Ok(16)));
        assert!(["0", "-2", "4097", "x"].iter().all(|text| batch_size(text).is_err()));
    }

    #[test]
    fn caches_of_earlier_runs_are_understood() {
        let read = |text: &str| serde_saphyr::from_str::<CacheArg>(text).unwrap();
        assert_eq!(
            (read("true"), read("false"), read("disk")),
            (CacheArg::Ram, CacheArg::Off, CacheArg::Disk)
        );
        for cache in [CacheArg::Off, CacheArg::Ram, CacheArg::Disk] {
            assert_eq!(read(&serde_saphyr::to_string(&cache).unwrap()), cache);
        }
    }
}
