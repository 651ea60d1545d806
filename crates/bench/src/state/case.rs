//! What is done to keyed state.

use core::fmt;

use crate::error::{BenchError, Result};

/// One kind of access. Each starts from states with all preset keys in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Puts a value at a new key.
    ValueAdd,
    /// Puts a value at a preset key.
    ValueUpdate,
    /// Reads a value.
    ValueGet,
    /// Puts a list of one at a new key.
    ListAdd,
    /// Appends one element to a list that had one.
    ListAppend,
    /// Reads a list of many as a whole.
    ListGet,
    /// Visits the elements of a list of many.
    ListGetAndIterate,
    /// Appends many elements at once.
    ListAddAll,
    /// Replaces a list by a list of one.
    ListUpdate,
    /// Puts a user key into the map of a new key.
    MapAdd,
    /// Puts a user key that is there.
    MapUpdate,
    /// Reads the value of a user key.
    MapGet,
    /// Asks for a user key that is there half of the time.
    MapContains,
    /// Asks whether a map has no user keys.
    MapIsEmpty,
    /// Visits the user keys of a map.
    MapKeys,
    /// Visits the values of a map.
    MapValues,
    /// Reads a map as a whole.
    MapEntries,
    /// Visits user keys and values of a map.
    MapIterator,
    /// Removes a user key.
    MapRemove,
    /// Puts all user keys of a map.
    MapPutAll,
    /// Adds to a reduction.
    ReducingAdd,
    /// Adds to an aggregate.
    AggregatingAdd,
}

/// All kinds of access with their names, in the order in which results list them.
const NAMES: [(Access, &str); 22] = [
    (Access::ValueAdd, "value_add"),
    (Access::ValueUpdate, "value_update"),
    (Access::ValueGet, "value_get"),
    (Access::ListAdd, "list_add"),
    (Access::ListAppend, "list_append"),
    (Access::ListGet, "list_get"),
    (Access::ListGetAndIterate, "list_get_and_iterate"),
    (Access::ListAddAll, "list_add_all"),
    (Access::ListUpdate, "list_update"),
    (Access::MapAdd, "map_add"),
    (Access::MapUpdate, "map_update"),
    (Access::MapGet, "map_get"),
    (Access::MapContains, "map_contains"),
    (Access::MapIsEmpty, "map_is_empty"),
    (Access::MapKeys, "map_keys"),
    (Access::MapValues, "map_values"),
    (Access::MapEntries, "map_entries"),
    (Access::MapIterator, "map_iterator"),
    (Access::MapRemove, "map_remove"),
    (Access::MapPutAll, "map_put_all"),
    (Access::ReducingAdd, "reducing_add"),
    (Access::AggregatingAdd, "aggregating_add"),
];

/// Ends the names of cases with a time to live.
const TTL_SUFFIX: &str = "_ttl";

/// The kind of state that a case uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Value,
    List,
    Map,
    Reducing,
    Aggregating,
}

impl Access {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::ValueAdd | Self::ValueUpdate | Self::ValueGet => Kind::Value,
            Self::ListAdd
            | Self::ListAppend
            | Self::ListGet
            | Self::ListGetAndIterate
            | Self::ListAddAll
            | Self::ListUpdate => Kind::List,
            Self::ReducingAdd => Kind::Reducing,
            Self::AggregatingAdd => Kind::Aggregating,
            _ => Kind::Map,
        }
    }

    /// Whether it goes to keys that are not there yet, each once.
    pub(crate) const fn adds_keys(self) -> bool {
        matches!(self, Self::ValueAdd | Self::ListAdd | Self::MapAdd)
    }

    /// Whether state is not what it was after it, so that each round must start anew.
    pub(crate) const fn changes_size(self) -> bool {
        self.adds_keys() || matches!(self, Self::ListAppend | Self::ListAddAll | Self::MapRemove)
    }

    /// Whether it walks over a map, where each user key counts as an operation.
    pub(crate) const fn walks_map(self) -> bool {
        matches!(self, Self::MapKeys | Self::MapValues | Self::MapEntries | Self::MapIterator)
    }

    /// Whether it reads lists of many, which must then be there.
    pub(crate) const fn reads_lists(self) -> bool {
        matches!(self, Self::ListGet | Self::ListGetAndIterate)
    }

    /// The access that reads what it left behind; reductions and aggregates have none.
    pub(crate) const fn read_back(self) -> Self {
        match self.kind() {
            Kind::Value => Self::ValueGet,
            Kind::List => Self::ListGetAndIterate,
            Kind::Map => Self::MapIterator,
            Kind::Reducing | Kind::Aggregating => self,
        }
    }
}

/// A kind of access to state with or without a time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateCase {
    /// What is done.
    pub access: Access,
    /// Whether the state has a time to live.
    pub ttl: bool,
}

impl StateCase {
    /// Reads `all`, or names separated by commas; those of cases with a time to live end in `_ttl`.
    /// With `ttl`, the others are followed by their variants with a time to live.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a name that is none;
    /// the message lists all.
    pub fn parse_list(text: &str, ttl: bool) -> Result<Vec<Self>> {
        let named: Vec<Self> = if text == "all" {
            NAMES.iter().map(|(access, _)| Self { access: *access, ttl: false }).collect()
        } else {
            text.split(',').map(|name| Self::find(name.trim())).collect::<Result<_>>()?
        };
        let mut cases = Vec::new();
        for case in named {
            for variant in [case, Self { ttl: true, ..case }] {
                if (variant == case || ttl) && !cases.contains(&variant) {
                    cases.push(variant);
                }
            }
        }
        Ok(cases)
    }

    fn find(name: &str) -> Result<Self> {
        let (base, ttl) = match name.strip_suffix(TTL_SUFFIX) {
            Some(base) => (base, true),
            None => (name, false),
        };
        let found = NAMES.iter().find(|(_, known)| *known == base);
        found.map(|(access, _)| Self { access: *access, ttl }).ok_or_else(|| {
            let known: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
            BenchError::invalid(format!(
                "there is no case {name:?}; there are {}, each also with {TTL_SUFFIX} at its end, \
                 and all",
                known.join(", ")
            ))
        })
    }
}

impl fmt::Display for StateCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(access, _)| *access == self.access);
        f.write_str(name.map_or("", |(_, name)| name))?;
        f.write_str(if self.ttl { TTL_SUFFIX } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, ttl: bool) -> Vec<String> {
        StateCase::parse_list(text, ttl).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lists_of_cases_are_read_in_order_and_each_once() {
        assert_eq!(names("map_get,value_add_ttl,map_get", false), ["map_get", "value_add_ttl"]);
        assert_eq!(names("map_get,map_get_ttl", true), ["map_get", "map_get_ttl"]);
        assert_eq!(names("all", false).len(), 22);
        assert_eq!(names("all", true).len(), 44);
        assert_eq!(names(&names("all", true).join(","), false), names("all", true));
    }

    #[test]
    fn an_unknown_case_is_answered_with_all_there_are() {
        let error = StateCase::parse_list("value_get,value_fly", false).unwrap_err().to_string();
        assert!(error.contains("\"value_fly\"") && error.contains("aggregating_add"), "{error}");
    }
}
