//! Columns chosen by name, as pipelines and the command line do it.

/// Whether `name` is of the form `pattern`, in which `*` stands for any run of characters, none included.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    // The leftmost place for each part leaves the most room for those after it.
    for part in parts {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(tail)
}

/// The name most like `name`, if one is alike at all.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    most_like(name, names, 0.4)
}

/// The name most like `name`, if one is more alike than `least`: 0 for nothing in common, 1 for the same.
pub(crate) fn most_like<'a>(name: &str, names: impl Iterator<Item = &'a str>, least: f64) -> Option<String> {
    let alike = |candidate: &'a str| (strsim::normalized_damerau_levenshtein(name, candidate), candidate);
    names
        .map(alike)
        .filter(|(likeness, _)| *likeness > least)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "a"),
            ("a*", "a"),
            ("ab", "ab"),
            ("a*c", "abbc"),
            ("*b*", "abc"),
            ("a*b*a", "abba"),
            ("a*c*e", "abcde"),
            ("*_peers", "ctx_src_w1_peers"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "ab"),
            ("a*a", "a"),
            ("*b", "abc"),
            ("*b", "a"),
            ("a*b*b", "ab"),
            ("ab*ba", "aba"),
            ("", "x"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
