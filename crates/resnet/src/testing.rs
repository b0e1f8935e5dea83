//! Made-up networks for the tests of this crate.

pub(crate) use crate::random::random_state;
