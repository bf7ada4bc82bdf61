//! What columns mean, by the parts of their names: whom they are about, and whether one says what another one says.

/// What a column is about: whose (empty for the row itself) and which statistic; horizons, the new among the counted and
/// the number of gaps that vary do not tell columns apart.
pub(in crate::detect) fn about(column: &str) -> (&str, &str) {
    let (name, parts) = parts(column);
    match parts.into() {
        (Some("ctx"), Some(entity), Some(_), Some(statistic)) => {
            (entity, statistic.strip_prefix("new_").unwrap_or(statistic))
        }
        (Some("age"), Some(entity), None, _) => (entity, "age"),
        (Some("use"), Some(entity), None, _) => (entity, "use"),
        (Some("reg" | "young"), Some(entity), Some(measure), None) => {
            (entity, if measure.starts_with("cv") { "cv" } else { measure })
        }
        _ => ("", name),
    }
}

/// What a column says, to tell whether another one says it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::detect) enum Meaning<'a> {
    /// Something counted over a horizon, seen from a destination or not.
    Counted { to: bool, horizon: &'a str, statistic: &'a str },
    /// How many rows are alike.
    Alike,
    /// Since when something is known.
    Known(&'a str),
    /// That a source seldom uses a service.
    Seldom,
    /// What no other column says.
    Other,
}

/// What is new where something wider is, by the identities of ages.
const WITHIN: [(&str, &[&str]); 6] = [
    ("src", &["pair", "srcsvc", "pairsvc", "pairport", "srcsvcport"]),
    ("dst", &["pair", "dstsvc", "pairsvc", "pairport", "dstport"]),
    ("pair", &["pairsvc", "pairport"]),
    ("srcsvc", &["pairsvc", "pairport", "srcsvcport"]),
    ("dstsvc", &["pairsvc", "pairport", "dstport"]),
    ("pairsvc", &["pairport"]),
];

impl<'a> Meaning<'a> {
    /// Of a column.
    pub(in crate::detect) fn of(column: &'a str) -> Meaning<'a> {
        match parts(column).1.into() {
            (Some("ctx"), Some("srcshape" | "dstshape"), Some(_), Some(_)) => Meaning::Alike,
            (Some("ctx"), Some(entity), Some(horizon), Some(statistic)) => {
                Meaning::Counted { to: entity.starts_with("dst"), horizon, statistic }
            }
            (Some("young"), Some(entity), Some(statistic @ "active"), None) => {
                Meaning::Counted { to: entity.starts_with("dst"), horizon: "w30", statistic }
            }
            (Some("reg" | "young"), Some(entity), Some(statistic), None) => {
                Meaning::Counted { to: entity.starts_with("dst"), horizon: "", statistic }
            }
            (Some("age"), Some(entity), None, _) => Meaning::Known(entity),
            (Some("use"), Some(_), None, _) => Meaning::Seldom,
            _ => Meaning::Other,
        }
    }

    /// Whether who was told this need not be told the other. The caller sees to it that both have the same value, but for
    /// [`Meaning::Seldom`].
    pub(in crate::detect) fn says(&self, other: &Meaning<'_>) -> bool {
        match (self, other) {
            (Meaning::Counted { .. } | Meaning::Alike, _) => self == other,
            (Meaning::Known(of), Meaning::Seldom) => matches!(*of, "src" | "srcsvc"),
            (Meaning::Known(of), Meaning::Known(other)) => {
                WITHIN.iter().any(|(wide, within)| wide == of && within.contains(other))
            }
            _ => false,
        }
    }
}

/// The name of a column without whose past it is held against, and up to four parts of it.
pub(super) fn parts(column: &str) -> (&str, [Option<&str>; 4]) {
    let end = |text: &str, mark: u8| text.bytes().position(|byte| byte == mark);
    let name = &column[..end(column, b'|').unwrap_or(column.len())];
    let mut rest = Some(name);
    let parts = std::array::from_fn(|at| {
        let text = rest?;
        let cut = if at < 3 { end(text, b'_') } else { None };
        rest = cut.map(|cut| &text[cut + 1..]);
        Some(&text[..cut.unwrap_or(text.len())])
    });
    (name, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_or_is_new_is_said_once() {
        let says = |one: &str, other: &str| Meaning::of(one).says(&Meaning::of(other));
        assert!(says("ctx_srcsvc_w6_bwd_bytes", "ctx_pairsvc_w6_bwd_bytes"));
        for other in ["ctx_dstsvc_w6_bwd_bytes", "ctx_pairsvc_w30_bwd_bytes", "ctx_pairsvc_w6_fwd_bytes"] {
            assert!(!says("ctx_srcsvc_w6_bwd_bytes", other), "{other}");
        }
        assert!(says("ctx_dstshape_w1_rows|svc", "ctx_srcshape_w1_rows|svc"));
        assert!(!says("ctx_src_w1_rows", "ctx_srcshape_w1_rows"));
        assert!(says("young_pairsvc_active", "ctx_pairsvc_w30_active"));
        assert!(says("reg_pairsvc_cv8", "young_pairsvc_cv8") && !says("reg_pairsvc_cv8", "reg_pairsvc_cv16"));
        assert!(says("age_pair|src", "age_pairsvc") && says("age_src", "age_pair|dst"));
        assert!(!says("age_pairsvc", "age_pair") && !says("age_src", "age_dst"));
        assert!(!says("fwd_bytes", "fwd_bytes"));
        assert!(says("age_srcsvc", "use_srcsvc") && !says("age_pair", "use_srcsvc"));
    }

    #[test]
    fn like_columns_are_about_one_thing() {
        assert_eq!(about("ctx_src_w6_new_peers"), ("src", "peers"));
        assert_eq!(about("ctx_src_w1_peers"), ("src", "peers"));
        assert_eq!(about("age_pair|dst"), ("pair", "age"));
        assert_eq!(about("young_pairsvc_cv16"), about("reg_pairsvc_cv8|pairsvc"));
        assert_eq!(about("young_pairsvc_active"), about("ctx_pairsvc_w30_active"));
        assert_eq!(about("fwd_len_mean|srcsvc"), ("", "fwd_len_mean"));
    }
}
