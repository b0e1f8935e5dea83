//! How enums are spelled in experiments, results and messages.

/// Gives an enum without fields its words, from the plain to the elaborate: `ALL`, `name`, `Display`, and `FromStr`, which refuses what is
/// none of them with [`crate::Error::Name`] under the given heading.
///
/// A derive such as strum's would not know the heading, nor say what is allowed.
#[macro_export]
macro_rules! words {
    ($type:ident, $axis:literal: $first:ident = $word:literal $(, $other:ident = $more:literal)* $(,)?) => {
        impl $type {
            /// Every one.
            pub const ALL: [Self; [$word $(, $more)*].len()] = [Self::$first $(, Self::$other)*];

            /// Its spelling in experiments and results.
            pub fn name(self) -> &'static str {
                match self {
                    Self::$first => $word,
                    $(Self::$other => $more,)*
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::Error;

            fn from_str(text: &str) -> ::std::result::Result<Self, $crate::Error> {
                let found = Self::ALL.into_iter().find(|one| one.name() == text);
                found.ok_or_else(|| $crate::Error::Name {
                    axis: $axis,
                    found: text.to_owned(),
                    allowed: concat!($word $(, ", ", $more)*),
                })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Meal {
        Bread,
        RoastDuck,
    }
    words!(Meal, "meal": Bread = "bread", RoastDuck = "roast_duck");

    #[test]
    fn words_are_read_as_they_are_written_and_others_are_refused_with_those_allowed() {
        for meal in Meal::ALL {
            assert_eq!(meal.to_string().parse(), Ok(meal));
        }
        assert_eq!(format!("{:>7}", Meal::Bread), "  bread");
        assert_eq!(
            "soup".parse::<Meal>().unwrap_err().to_string(),
            "meal = \"soup\" is unknown; allowed: bread, roast_duck"
        );
    }
}
