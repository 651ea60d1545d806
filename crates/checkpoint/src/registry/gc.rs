//! Garbage collection as a pure function: from a listing of the checkpoint storage and the metadata
//! of all checkpoints in it to what each object is. Nothing is deleted before all is classified.
//!
//! It fails closed. An object is an orphan only if its name is one that Millpond gives, no
//! checkpoint refers to it, and every checkpoint could be read: one that cannot be may refer to
//! anything. Only orphans older than the safe age are deletable.
//!
//! Order matters to the caller: list first, then read the metadata, so that a checkpoint published
//! in between is seen. Even so a job under way may refer to an old upload in its next checkpoint:
//! run this while no job uses the storage, or ask the registry of the job that does.

use std::collections::{BTreeMap, BTreeSet};

use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::FileHandle;
use millpond_state::CheckpointId;

use crate::name::{self, ObjectKind};

/// An object as the storage lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedObject<'a> {
    /// Name relative to the root of the checkpoint storage.
    pub name: &'a str,
    /// Length.
    pub bytes: u64,
    /// Milliseconds since it was last written; `None` if that is not known, which counts as now.
    pub age_ms: Option<u64>,
}

/// A checkpoint in the storage.
#[derive(Clone, Copy, Debug)]
pub struct GcCheckpoint<'a> {
    /// Its folder, relative to the root.
    pub folder: &'a str,
    /// Its metadata, or why that cannot be read.
    pub metadata: Result<&'a CheckpointMetadata, &'a str>,
    /// Whether it never came to exist although its metadata is there: it refers to nothing, and the
    /// metadata is an orphan.
    pub is_void: bool,
}

/// What is known of a checkpoint storage.
#[derive(Clone, Copy)]
pub struct GcFacts<'a> {
    /// Every object in it.
    pub objects: &'a [ListedObject<'a>],
    /// Every checkpoint in it.
    pub checkpoints: &'a [GcCheckpoint<'a>],
    /// Orphans younger than this may belong to a checkpoint under way.
    pub safe_age_ms: u64,
    /// Objects written for this checkpoint or a later one are in flight, whatever their age. `None`
    /// if no job runs.
    pub in_flight_from: Option<CheckpointId>,
    /// Whether the registry of a job that runs has a use for the object of this name, see
    /// [`SharedFileRegistry::is_in_use`](super::SharedFileRegistry::is_in_use).
    pub is_in_use: &'a dyn Fn(&str) -> bool,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ObjectClass {
    /// A checkpoint needs it.
    Referenced,
    /// It is for a checkpoint under way, or kept by the job for re-use.
    InFlight,
    /// Nothing refers to it, but it is younger than the safe age.
    TooYoung,
    /// Nothing refers to it, and nothing will.
    Orphan,
    /// Its name is none that Millpond gives.
    UnknownName,
    /// No checkpoint that could be read refers to it, but not all could be.
    Undecided,
}

/// An object and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassifiedObject<'a> {
    /// The object.
    pub object: ListedObject<'a>,
    /// What it is.
    pub class: ObjectClass,
}

/// A file that a checkpoint needs and the listing does not have as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFile {
    /// Name relative to the root.
    pub name: String,
    /// The length it must have.
    pub expected_bytes: u64,
    /// The length it has; `None` if it is not there.
    pub found_bytes: Option<u64>,
}

/// What a storage holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcPlan<'a> {
    /// Every object of the listing, in its order.
    pub objects: Vec<ClassifiedObject<'a>>,
    /// Why nothing may be deleted; empty if orphans may.
    pub blocked: Vec<String>,
    /// Damage to checkpoints that the listing shows; it does not keep orphans from being deleted.
    pub missing: Vec<MissingFile>,
}

impl<'a> GcPlan<'a> {
    /// The objects that may be deleted.
    pub fn deletable(&self) -> impl Iterator<Item = ListedObject<'a>> {
        self.of_class(ObjectClass::Orphan)
    }

    /// The objects of one class.
    pub fn of_class(&self, class: ObjectClass) -> impl Iterator<Item = ListedObject<'a>> {
        self.objects.iter().filter(move |it| it.class == class).map(|it| it.object)
    }
}

/// Says what each object is.
#[must_use]
pub fn plan_gc<'a>(facts: &GcFacts<'a>) -> GcPlan<'a> {
    let blocked = find_blocks(facts);
    let needed = find_needed(facts);
    let classify = |object: &ListedObject<'a>| ClassifiedObject {
        object: *object,
        class: classify(object, facts, &needed, blocked.is_empty()),
    };
    let objects = facts.objects.iter().map(classify).collect();
    GcPlan { objects, missing: find_missing(facts, &needed), blocked }
}

/// The names that checkpoints need, with their lengths where those are known.
type Needed = BTreeMap<String, Option<u64>>;

fn find_needed(facts: &GcFacts<'_>) -> Needed {
    let mut needed = Needed::new();
    for checkpoint in facts.checkpoints.iter().filter(|it| !it.is_void) {
        needed.insert(format!("{}/{}", checkpoint.folder, name::METADATA), None);
        let Ok(metadata) = checkpoint.metadata else { continue };
        for file in metadata.files() {
            needed.insert(rooted(checkpoint.folder, file), Some(file.bytes()));
        }
    }
    needed
}

fn rooted(folder: &str, file: &FileHandle) -> String {
    if file.is_shared() { file.name().to_owned() } else { format!("{folder}/{}", file.name()) }
}

/// What makes it impossible to say that nothing refers to an object.
fn find_blocks(facts: &GcFacts<'_>) -> Vec<String> {
    let mut blocked = Vec::new();
    let mut folders = BTreeSet::new();
    for checkpoint in facts.checkpoints {
        let folder = checkpoint.folder;
        folders.insert(folder);
        match checkpoint.metadata {
            Err(why) => blocked.push(format!("checkpoint {folder} cannot be read: {why}")),
            Ok(metadata) => {
                let expected = name::parse_folder(folder);
                if expected.is_some_and(|expected| expected != metadata.checkpoint) {
                    blocked.push(format!(
                        "the metadata in {folder} is that of checkpoint {}",
                        metadata.checkpoint
                    ));
                }
            }
        }
    }
    for object in facts.objects {
        // The root itself may be the folder of a checkpoint.
        let (folder, file) = object.name.rsplit_once('/').unwrap_or(("", object.name));
        if file == name::METADATA && !folders.contains(folder) {
            blocked.push(format!("checkpoint {folder:?} is there and was not read"));
        }
    }
    blocked
}

fn find_missing(facts: &GcFacts<'_>, needed: &Needed) -> Vec<MissingFile> {
    let listed: BTreeMap<&str, u64> = facts.objects.iter().map(|it| (it.name, it.bytes)).collect();
    let missing = needed.iter().filter_map(|(name, bytes)| {
        let (expected_bytes, found_bytes) = ((*bytes)?, listed.get(name.as_str()).copied());
        (found_bytes != Some(expected_bytes)).then(|| MissingFile {
            name: name.clone(),
            expected_bytes,
            found_bytes,
        })
    });
    missing.collect()
}

fn classify(
    object: &ListedObject<'_>,
    facts: &GcFacts<'_>,
    needed: &Needed,
    all_known: bool,
) -> ObjectClass {
    if needed.contains_key(object.name) {
        return ObjectClass::Referenced;
    }
    if (facts.is_in_use)(object.name) {
        return ObjectClass::InFlight;
    }
    let written_for = match ObjectKind::of(object.name) {
        Some(ObjectKind::Owner) => return ObjectClass::Referenced,
        Some(ObjectKind::Data(checkpoint)) => checkpoint,
        Some(ObjectKind::Metadata(checkpoint)) if is_void(object.name, facts) => checkpoint,
        // Only ever reached if the checkpoint was not read.
        Some(ObjectKind::Metadata(_)) => return ObjectClass::Undecided,
        None => return ObjectClass::UnknownName,
    };
    if facts.in_flight_from.is_some_and(|first| first <= written_for) {
        ObjectClass::InFlight
    } else if !all_known {
        ObjectClass::Undecided
    } else if object.age_ms.is_none_or(|age| age < facts.safe_age_ms) {
        ObjectClass::TooYoung
    } else {
        ObjectClass::Orphan
    }
}

/// Whether this is the metadata of a checkpoint that does not exist.
fn is_void(metadata: &str, facts: &GcFacts<'_>) -> bool {
    let folder = metadata.rsplit_once('/').map_or("", |(folder, _)| folder);
    facts.checkpoints.iter().any(|it| it.is_void && it.folder == folder)
}
