//! Which category of an annotation file is which class of a data set: matched by name.
//!
//! Names are compared without surrounding space and without case; the same spelling comes first. Ids say nothing: every
//! exporter numbers its categories in another way.

use std::collections::{BTreeMap, HashMap, HashSet};

use unicode_normalization::UnicodeNormalization;

use super::Category;

/// Names that a message lists.
const LISTED_NAMES: usize = 8;

/// Pairs that a user names, because names alone do not tell: the name or the id of a category, and the name or the number of
/// its class, or nothing if the category is to be left out.
pub type CategoryMap = BTreeMap<String, Option<String>>;

/// A name as it is compared with others: without surrounding space and without case, whatever the form of its letters
/// in Unicode.
pub fn folded(name: &str) -> String {
    name.trim().nfc().collect::<String>().to_lowercase()
}

/// Which category belongs to which class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassMatch {
    /// The class of each category that has one, by category id. Several categories have one class only if a
    /// [`CategoryMap`] says so.
    pub class_of: BTreeMap<i64, usize>,
    /// The category of each class, the lowest if there are several; `None` for a class without objects in the file.
    pub category_ids: Vec<Option<i64>>,
}

/// Matches `categories` with `class_names`. `used` are the ids of the categories that have annotations.
///
/// Categories without annotations that are no class are ignored, because exporters write unused parents. Of several
/// categories with the name of one class, the one with annotations counts.
///
/// # Errors
/// A category with annotations that is no class, that could be several classes, or that shares its class with another;
/// no category is a class; a line of `map` names what does not exist. The message lists both sides.
pub fn match_classes(
    class_names: &[String],
    categories: &[Category],
    used: &HashSet<i64>,
    map: Option<&CategoryMap>,
) -> Result<ClassMatch, String> {
    let mapped = map.map_or(Ok(HashMap::new()), |map| resolved(map, class_names, categories))?;
    let (claims, mut without_class) = claims(class_names, categories, used, &mapped)?;
    let mut matched = ClassMatch { category_ids: vec![None; class_names.len()], ..ClassMatch::default() };
    for (class, claims) in claims {
        let is_mapped = claims.iter().any(|category| mapped.contains_key(&category.id));
        let chosen = if is_mapped { claims } else { vec![only(&class_names[class], &claims, used)?] };
        matched.category_ids[class] = chosen.iter().map(|category| category.id).min();
        matched.class_of.extend(chosen.iter().map(|category| (category.id, class)));
    }
    let nothing_fits = !categories.is_empty() && matched.class_of.is_empty() && mapped.is_empty();
    if nothing_fits && without_class.is_empty() {
        without_class = categories.iter().collect();
    }
    if without_class.is_empty() { Ok(matched) } else { Err(unmatched(&without_class, class_names, &matched)) }
}

/// The categories that could be each class, and those with annotations that could be none.
type Claims<'a> = (BTreeMap<usize, Vec<&'a Category>>, Vec<&'a Category>);

fn claims<'a>(
    class_names: &[String],
    categories: &'a [Category],
    used: &HashSet<i64>,
    mapped: &HashMap<i64, Option<usize>>,
) -> Result<Claims<'a>, String> {
    let classes = Names::new(class_names);
    let mut claims: Claims = (BTreeMap::new(), Vec::new());
    for category in categories {
        let is_used = used.contains(&category.id);
        let class = match mapped.get(&category.id) {
            Some(None) => continue,
            Some(Some(class)) => Some(*class),
            None => match classes.find(&category.name) {
                Found::One(class) => Some(class),
                Found::Several(several) if is_used => return Err(ambiguous(category, &several, class_names)),
                Found::None | Found::Several(_) => None,
            },
        };
        match class {
            Some(class) => claims.0.entry(class).or_default().push(category),
            None if is_used => claims.1.push(category),
            None => {}
        }
    }
    Ok(claims)
}

/// The category that counts for a class.
fn only<'a>(class: &str, claims: &[&'a Category], used: &HashSet<i64>) -> Result<&'a Category, String> {
    let used: Vec<&'a Category> = claims.iter().copied().filter(|c| used.contains(&c.id)).collect();
    match used[..] {
        [one] => Ok(one),
        [] => {
            claims.iter().rev().find(|c| c.name == class).or(claims.last()).copied().ok_or_else(String::new)
        }
        _ => {
            let names: Vec<String> = used.iter().map(|c| named(c)).collect();
            Err(format!(
                "categories {} all have annotations and the name of class `{class}`: give them different names, or \
                 make them one",
                names.join(" and ")
            ))
        }
    }
}

/// Names to search by their spelling, then without case and surrounding space.
struct Names<'a> {
    exact: HashMap<&'a str, Vec<usize>>,
    folded: HashMap<String, Vec<usize>>,
}

enum Found {
    None,
    One(usize),
    Several(Vec<usize>),
}

impl<'a> Names<'a> {
    fn new(names: &'a [String]) -> Self {
        let mut all = Self { exact: HashMap::new(), folded: HashMap::new() };
        for (index, name) in names.iter().enumerate() {
            all.exact.entry(name.as_str()).or_default().push(index);
            all.folded.entry(folded(name)).or_default().push(index);
        }
        all
    }

    fn find(&self, name: &str) -> Found {
        let candidates = self.exact.get(name).or_else(|| self.folded.get(&folded(name)));
        match candidates.map_or(&[][..], Vec::as_slice) {
            [] => Found::None,
            [one] => Found::One(*one),
            several => Found::Several(several.to_vec()),
        }
    }
}

/// The class that a map gives to each category that it names.
fn resolved(
    map: &CategoryMap,
    class_names: &[String],
    categories: &[Category],
) -> Result<HashMap<i64, Option<usize>>, String> {
    let names: Vec<String> = categories.iter().map(|category| category.name.clone()).collect();
    let (by_name, classes) = (Names::new(&names), Names::new(class_names));
    let mut mapped = HashMap::new();
    for (category, class) in map {
        let found = match by_name.find(category) {
            Found::One(index) => categories[index].id,
            Found::Several(_) => {
                return Err(format!("several categories are called `{category}`: write the id of one"));
            }
            Found::None => {
                match category.trim().parse().ok().filter(|id| categories.iter().any(|c| c.id == *id)) {
                    Some(id) => id,
                    None => {
                        return Err(format!(
                            "the category map names `{category}`, which is no category; the categories are: {}",
                            listed(categories.iter().map(named))
                        ));
                    }
                }
            }
        };
        let number = |class: &str| class.trim().parse().ok().filter(|class| *class < class_names.len());
        let class = match class.as_deref().map(|class| (class, classes.find(class))) {
            None => None,
            Some((_, Found::One(class))) => Some(class),
            // No name: the number of a class.
            Some((class, Found::None)) if number(class).is_some() => number(class),
            Some((class, _)) => {
                return Err(format!(
                    "the category map gives `{category}` the class `{class}`, which is not one class of the data set; \
                     the classes are: {}",
                    listed(class_names.iter().map(|name| format!("`{name}`")))
                ));
            }
        };
        mapped.insert(found, class);
    }
    Ok(mapped)
}

fn named(category: &Category) -> String {
    format!("`{}` (id {})", category.name, category.id)
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let shown = names[..names.len().min(LISTED_NAMES)].join(", ");
    if names.len() > LISTED_NAMES { format!("{shown}, … ({} in all)", names.len()) } else { shown }
}

fn ambiguous(category: &Category, several: &[usize], class_names: &[String]) -> String {
    let classes = several.iter().map(|&class| format!("{class} (`{}`)", class_names[class]));
    format!(
        "category {} could be class {} of the data set: give the classes different names",
        named(category),
        listed(classes)
    )
}

fn unmatched(categories: &[&Category], class_names: &[String], matched: &ClassMatch) -> String {
    let free = class_names.iter().zip(&matched.category_ids).filter(|(_, category)| category.is_none());
    let free = listed(free.map(|(name, _)| format!("`{name}`")));
    let free = if free.is_empty() { "none".to_owned() } else { free };
    format!(
        "categories that are no class of the data set: {}; classes without a category: {free}. Spell the names the same \
         in both, or check that the annotations belong to this data set",
        listed(categories.iter().map(|category| named(category)))
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn matched(
        classes: &[&str],
        categories: &[(i64, &str)],
        used: &[i64],
        map: &[(&str, Option<&str>)],
    ) -> Result<Vec<Option<i64>>, String> {
        let categories: Vec<Category> =
            categories.iter().map(|&(id, name)| Category { id, name: name.to_owned() }).collect();
        let map: CategoryMap = map.iter().map(|&(a, b)| (a.to_owned(), b.map(str::to_owned))).collect();
        let used = used.iter().copied().collect();
        let found = match_classes(&names(classes), &categories, &used, (!map.is_empty()).then_some(&map));
        found.map(|found| found.category_ids)
    }

    #[test]
    fn names_count_and_ids_do_not() {
        let ids = matched(
            &["circle", "square", "ring"],
            &[(1, "Ring "), (2, "circle"), (3, "SQUARE")],
            &[1, 2],
            &[],
        );
        assert_eq!(ids.unwrap(), [Some(2), Some(3), Some(1)]);
    }

    #[test]
    fn a_class_without_a_category_has_none() {
        let ids = matched(&["a", "b", "c"], &[(0, "a"), (1, "c")], &[0, 1], &[]).unwrap();
        assert_eq!(ids, [Some(0), None, Some(1)]);
    }

    #[test]
    fn the_same_spelling_comes_first() {
        let categories = [(1, "cat"), (2, "Cat")];
        assert_eq!(matched(&["Cat", "cat"], &categories, &[1, 2], &[]).unwrap(), [Some(2), Some(1)]);
        let text = matched(&["Cat", "cat"], &[(1, "CAT")], &[1], &[]).unwrap_err();
        assert!(text.contains("`CAT` (id 1)") && text.contains("0 (`Cat`), 1 (`cat`)"), "{text}");
        let text = matched(&["cat"], &categories, &[1, 2], &[]).unwrap_err();
        assert!(text.contains("`cat` (id 1) and `Cat` (id 2)"), "{text}");
    }

    #[test]
    fn unused_categories_are_ignored_and_used_ones_are_an_error_that_lists_both_sides() {
        let categories = [(0, "shapes"), (1, "a"), (2, "x")];
        assert_eq!(matched(&["a", "b"], &categories, &[1], &[]).unwrap(), [Some(1), None]);
        let text = matched(&["a", "b"], &categories, &[1, 2], &[]).unwrap_err();
        assert!(text.contains("`x` (id 2)") && text.contains("`b`") && !text.contains("shapes"), "{text}");
        // An unused parent has the name of its only child.
        assert_eq!(matched(&["fish"], &[(0, "fish"), (1, "fish")], &[1], &[]).unwrap(), [Some(1)]);
        assert_eq!(matched(&["fish"], &[(0, "fish"), (1, "fish")], &[0], &[]).unwrap(), [Some(0)]);
        let text = matched(&["a"], &[(5, "x")], &[], &[]).unwrap_err();
        assert!(text.contains("`x` (id 5)") && text.contains("`a`"), "{text}");
    }

    #[test]
    fn equal_class_names_cannot_be_told_apart() {
        let text = matched(&["cat", "cat"], &[(1, "cat")], &[1], &[]).unwrap_err();
        assert!(text.contains("could be class 0 (`cat`), 1 (`cat`)"), "{text}");
    }

    #[test]
    fn a_map_overrides_names() {
        let categories = [(1, "Kreis"), (2, "square"), (3, "van"), (4, "noise")];
        let map = [("Kreis", Some("circle")), ("3", Some("Circle")), ("noise", None)];
        let ids = matched(&["circle", "square"], &categories, &[1, 2, 3, 4], &map).unwrap();
        assert_eq!(ids, [Some(1), Some(2)]);
        let numbers = [("Kreis", Some("1")), ("2", Some("0")), ("van", None), ("noise", None)];
        let ids = matched(&["square", "circle"], &categories, &[1, 2, 3, 4], &numbers).unwrap();
        assert_eq!(ids, [Some(2), Some(1)]);
        let text = matched(&["circle"], &categories, &[], &[("x", Some("circle"))]).unwrap_err();
        assert!(text.contains("`x`") && text.contains("`Kreis` (id 1)"), "{text}");
        let text = matched(&["circle"], &categories, &[], &[("van", Some("bus"))]).unwrap_err();
        assert!(text.contains("`bus`") && text.contains("`circle`"), "{text}");
    }
}
