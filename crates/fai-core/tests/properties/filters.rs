//! Filters: whatever is written is read as it was meant, and whatever is typed is read or refused at a place inside it.

use fai_core::object::Value;
use fai_core::repo::{Condition, Error, Filter, Operator};
use proptest::prelude::*;

use super::cases;

fn operator() -> impl Strategy<Value = (Operator, &'static str)> {
    prop::sample::select(vec![
        (Operator::Less, "<"),
        (Operator::AtMost, "<="),
        (Operator::Greater, ">"),
        (Operator::AtLeast, ">="),
        (Operator::Equal, "="),
        (Operator::Equal, "=="),
        (Operator::Unequal, "!="),
    ])
}

/// A value and how it is typed.
fn value() -> impl Strategy<Value = (Value, String)> {
    prop_oneof![
        any::<i64>().prop_map(|number| (Value::Int(number), number.to_string())),
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |number| !number.is_nan())
            .prop_map(|number| (Value::Float(number), format!("{number:?}"))),
        "[^'\"]{0,12}".prop_map(|text| (Value::Text(text.clone()), format!("'{text}'"))),
        any::<bool>().prop_map(|value| (Value::Bool(value), value.to_string())),
    ]
}

fn gap() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", " ", "  "])
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn what_is_written_is_read_as_it_was_meant(
        conditions in prop::collection::vec(("[a-z][a-z0-9._/]{0,10}", operator(), value(), gap(), gap()), 1..5),
        and in prop::sample::select(vec![" and ", " AND ", " && ", ", "]),
    ) {
        let typed: Vec<String> = conditions
            .iter()
            .map(|(name, (_, sign), (_, value), before, after)| format!("{before}{name}{before}{sign}{after}{value}"))
            .collect();
        let parsed = Filter::parse(&typed.join(and)).unwrap();
        let meant: Vec<Condition> = conditions
            .into_iter()
            .map(|(name, (operator, _), (value, _), ..)| Condition { name, operator, value })
            .collect();
        prop_assert_eq!(parsed.conditions, meant);
    }

    #[test]
    fn whatever_is_typed_is_read_or_refused_at_a_place_inside(text in "\\PC{0,30}") {
        if let Err(error) = Filter::parse(&text) {
            prop_assert!(matches!(error, Error::Usage(_)));
            let said = error.to_string();
            let (_, after) = said.rsplit_once("at character ").unwrap();
            let place: usize = after.split(',').next().unwrap().parse().unwrap();
            prop_assert!(place >= 1 && place <= text.chars().count() + 1, "{}", said);
        }
    }

    #[test]
    fn a_condition_and_its_opposite_never_both_hold(found in value(), (wanted, _) in value()) {
        let holds = |operator| Condition { name: "x".into(), operator, value: wanted.clone() }.holds(&found.0);
        prop_assert_ne!(holds(Operator::Equal), holds(Operator::Unequal));
        prop_assert!(!(holds(Operator::Less) && holds(Operator::AtLeast)));
        prop_assert!(!(holds(Operator::Greater) && holds(Operator::AtMost)));
        prop_assert_eq!(holds(Operator::AtMost), holds(Operator::Less) || holds(Operator::Equal));
    }
}
