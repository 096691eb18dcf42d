//! The order of files: of the files that began under one name, each waits for the earlier ones.

use crate::source::file::saved::Part;
use std::collections::HashMap;
use std::path::Path;

/// The files of one look whose first name is shared by several files.
#[derive(Debug)]
pub struct Order {
    /// The files of each name by age, and how many of the oldest ones no longer hold up others.
    groups: Vec<(Vec<Part>, usize)>,
    /// The group of a file, and its index in the group.
    places: HashMap<Part, (usize, usize)>,
}

impl Order {
    /// The order of files, from their names and turns.
    pub fn new<'a>(files: impl Iterator<Item = (&'a Path, u64, Part)>) -> Self {
        let mut names: HashMap<&Path, Vec<(u64, Part)>> = HashMap::new();
        for (name, turn, part) in files {
            names.entry(name).or_default().push((turn, part));
        }
        let mut groups = Vec::new();
        let mut places = HashMap::new();
        for mut files in names.into_values().filter(|files| files.len() > 1) {
            files.sort_unstable();
            let parts: Vec<Part> = files.into_iter().map(|(_, part)| part).collect();
            places.extend(parts.iter().enumerate().map(|(at, part)| (*part, (groups.len(), at))));
            groups.push((parts, 0));
        }
        Self { groups, places }
    }

    /// The files that others may wait for.
    pub fn predecessors(&self) -> Vec<Part> {
        self.groups.iter().flat_map(|(parts, _)| &parts[..parts.len() - 1]).copied().collect()
    }

    /// The file that a file waits for, if any. `blocks` says whether a file holds up others.
    pub fn waits_for(&mut self, part: Part, blocks: impl Fn(Part) -> bool) -> Option<Part> {
        let (group, place) = *self.places.get(&part)?;
        let (parts, free) = &mut self.groups[group];
        while *free < place && !blocks(parts[*free]) {
            *free += 1;
        }
        (*free < place).then(|| parts[*free])
    }
}
