//! What a loss of power leaves: every choice among what is not durable, or a sample.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CrashDisk;
use super::files::{Files, Folder, Node};
use crate::rng::SplitMix64;

/// A state of a [`CrashDisk`] at which the power may be lost.
#[derive(Clone, Debug)]
pub struct CrashMoment {
    files: Files,
    root: PathBuf,
    after: String,
    marks: Vec<String>,
}

impl CrashMoment {
    pub(super) fn new(files: Files, root: &Path, after: &str, marks: &[String]) -> Self {
        let (root, after) = (root.to_owned(), after.to_owned());
        Self { files, root, after, marks: marks.to_vec() }
    }

    /// The call that came last.
    #[must_use]
    pub fn after(&self) -> &str {
        &self.after
    }

    /// What the test had been told, see [`CrashDisk::mark`].
    #[must_use]
    pub fn marks(&self) -> &[String] {
        &self.marks
    }

    /// What may be left: all of it if that is at most `images_max` images, else a sample of so many
    /// drawn by `seed`, with those among them that lose and that keep as much as possible.
    #[must_use]
    pub fn images(&self, images_max: usize, seed: u64) -> Images {
        let images = self.every_image(images_max);
        let is_sampled = images.is_none();
        let images = images.unwrap_or_else(|| self.sampled_images(images_max, seed));
        Images { root: self.root.clone(), images: images.into_iter(), is_sampled }
    }

    /// The image of some choices; `None` if they contradict each other.
    fn image(&self, pick: &mut dyn FnMut(usize) -> usize) -> Option<Files> {
        let chosen = vec![None; self.files.files.len()];
        Chooser { files: &self.files, chosen, pick }.image()
    }

    /// Goes through the tree of choices, depth first; `None` if there are more images than wanted.
    fn every_image(&self, images_max: usize) -> Option<Vec<Files>> {
        let mut images = Vec::new();
        // The choices of the image before, each with the number of its alternatives.
        let mut path: Vec<(usize, usize)> = Vec::new();
        loop {
            if images.len() >= images_max {
                return None;
            }
            let mut at = 0;
            images.extend(self.image(&mut |alternatives| {
                if at == path.len() {
                    path.push((0, alternatives));
                }
                at += 1;
                path.get(at - 1).map_or(0, |(choice, _)| *choice)
            }));
            while let Some((choice, alternatives)) = path.pop() {
                if choice + 1 < alternatives {
                    path.push((choice + 1, alternatives));
                    break;
                }
            }
            if path.is_empty() {
                return Some(images);
            }
        }
    }

    fn sampled_images(&self, count: usize, seed: u64) -> Vec<Files> {
        let mut random = SplitMix64::new(seed);
        let mut image = |number| match number {
            0 => self.image(&mut |_| 0),
            1 => self.image(&mut |alternatives| alternatives - 1),
            _ => self.image(&mut |alternatives| (random.next_u64() % alternatives as u64) as usize),
        };
        // Those that lose all and those that lose nothing contradict nothing.
        (0..).filter_map(&mut image).take(count).collect()
    }
}

/// Images of one moment. Each is a file system of its own, all of it durable.
#[derive(Debug)]
pub struct Images {
    root: PathBuf,
    images: std::vec::IntoIter<Files>,
    is_sampled: bool,
}

impl Images {
    /// Whether these are not all there are.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.is_sampled
    }
}

impl Iterator for Images {
    type Item = CrashDisk;

    fn next(&mut self) -> Option<CrashDisk> {
        Some(CrashDisk::of(self.images.next()?, &self.root))
    }
}

/// Builds one image, asking at each point which of so many choices to take.
struct Chooser<'a> {
    files: &'a Files,
    /// For each file of the state, the file of the image, once it is chosen.
    chosen: Vec<Option<usize>>,
    pick: &'a mut dyn FnMut(usize) -> usize,
}

impl Chooser<'_> {
    fn image(mut self) -> Option<Files> {
        let mut image = Files::default();
        let root = image.add_folder();
        self.fill(0, root, &mut image)?;
        Some(image)
    }

    /// Fills folder `to` of the image with what may be left of folder `from`; `None` if a renamed
    /// file would lose its old name without having its new one.
    fn fill(&mut self, from: usize, to: usize, image: &mut Files) -> Option<()> {
        let Folder { names, renames } = self.files.folders.get(from)?;
        let mut choices = BTreeMap::new();
        for (name, states) in names {
            let choice = if states.len() > 1 { (self.pick)(states.len()) } else { 0 };
            choices.insert(name.as_str(), choice);
        }
        let has = |(name, state): &(String, usize)| {
            choices.get(name.as_str()).is_some_and(|choice| choice >= state)
        };
        if renames.iter().any(|rename| has(&rename.from) && !has(&rename.to)) {
            return None;
        }
        for (name, states) in names {
            let choice = choices.get(name.as_str()).copied().unwrap_or_default();
            let Some(node) = states.get(choice).copied().flatten() else { continue };
            let node = match node {
                Node::Folder(folder) => {
                    let new = image.add_folder();
                    self.fill(folder, new, image)?;
                    Node::Folder(new)
                }
                Node::File(file) => Node::File(self.file(file, image)),
            };
            if let Some(folder) = image.folders.get_mut(to) {
                folder.names.insert(name.clone(), vec![Some(node)]);
            }
        }
        Some(())
    }

    /// What may be left of a file, the same under all of its names.
    fn file(&mut self, file: usize, image: &mut Files) -> usize {
        if let Some(Some(known)) = self.chosen.get(file) {
            return *known;
        }
        let content = self.choose_content(file);
        let new = image.add_file(content);
        if let Some(slot) = self.chosen.get_mut(file) {
            *slot = Some(new);
        }
        new
    }

    /// Of what was not synced nothing, a part, zeros, the end without the beginning, or all.
    fn choose_content(&mut self, file: usize) -> Arc<Vec<u8>> {
        let Some(file) = self.files.files.get(file) else { return Arc::default() };
        let len = file.content.len();
        if file.synced == len {
            return Arc::clone(&file.content);
        }
        let middle = file.synced + (len - file.synced) / 2;
        let (kept, zeroed) = match (self.pick)(5) {
            0 => (file.synced, 0..0),
            1 => (middle, 0..0),
            2 => (len, file.synced..len),
            3 => (len, file.synced..middle.max(file.synced + 1)),
            _ => return Arc::clone(&file.content),
        };
        let mut content = file.content.get(..kept).unwrap_or_default().to_vec();
        content.get_mut(zeroed).unwrap_or_default().fill(0);
        Arc::new(content)
    }
}
