//! Flags whose values are those of a library's enum: a table of values, what is typed for each, and what it means.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// A value, its name on the command line with others that are understood (`SGD|sgd`), and a sentence for `--help`, which
/// may be empty.
pub(crate) struct Named<T>(pub(crate) T, pub(crate) &'static str, pub(crate) &'static str);

/// Reads one of `values` by its name.
pub(crate) fn named<T: Copy + Send + Sync>(values: &'static [Named<T>]) -> impl TypedValueParser<Value = T> {
    let possible = values.iter().map(|named| {
        let possible = PossibleValue::new(named.name()).aliases(named.1.split('|').skip(1));
        if named.2.is_empty() { possible } else { possible.help(named.2) }
    });
    PossibleValuesParser::new(possible).try_map(|typed| {
        let found = values.iter().find(|named| named.1.split('|').any(|name| name == typed));
        found.map(|named| named.0).ok_or_else(|| format!("{typed} is not one of the values"))
    })
}

impl<T> Named<T> {
    fn name(&self) -> &'static str {
        self.1.split('|').next().unwrap_or_default()
    }
}

/// What is typed for `value`.
pub(crate) fn name_of<T: PartialEq>(values: &'static [Named<T>], value: &T) -> &'static str {
    values.iter().find(|named| named.0 == *value).map_or("", Named::name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const VALUES: [Named<u8>; 2] = [Named(1, "one|1", "The first."), Named(2, "two", "")];

    #[test]
    fn values_are_read_by_their_names() {
        let command = clap::Command::new("a").arg(clap::Arg::new("n").value_parser(named(&VALUES)));
        let read = command.clone().try_get_matches_from(["a", "two"]).unwrap();
        assert_eq!(read.get_one::<u8>("n"), Some(&2));
        let read = command.clone().try_get_matches_from(["a", "1"]).unwrap();
        assert_eq!(read.get_one::<u8>("n"), Some(&1));
        let error = command.try_get_matches_from(["a", "three"]).unwrap_err().to_string();
        assert!(error.contains("[possible values: one, two]"), "{error}");
        assert_eq!((name_of(&VALUES, &1), name_of(&VALUES, &3)), ("one", ""));
    }
}
