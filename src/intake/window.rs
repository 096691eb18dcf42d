//! How many messages a source sends before it waits for an acknowledgement.
//!
//! Learned: when everything that arrived has settled at once and more arrives right after, the
//! source was waiting, and what was unsettled then is its window. Unlearned: as soon as more is
//! unsettled than the window allows. A wrong guess costs early commits, never data.

/// An arrival this soon after a settlement means that the source was waiting for it.
const PROMPT_MS: u64 = 50;

/// See the module.
#[derive(Debug)]
pub struct Window {
    fixed: Option<usize>,
    learned: Option<usize>,
    candidate: Option<(usize, u64)>,
    hurried: bool,
}

impl Window {
    /// With the user's setting, if any.
    pub fn new(fixed: Option<usize>) -> Self {
        Self { fixed, learned: None, candidate: None, hurried: false }
    }

    /// A frame came; so many are unsettled now.
    pub fn arrived(&mut self, unsettled: usize, now_ms: u64) {
        if let Some((size, at)) = self.candidate.take()
            && now_ms.saturating_sub(at) <= PROMPT_MS
        {
            self.learned = Some(size);
        }
        if self.learned.is_some_and(|learned| unsettled > learned) {
            self.learned = None;
        }
    }

    /// Frames settled; `before` were unsettled, `all` of them are settled now.
    pub fn settled(&mut self, before: usize, all: bool, now_ms: u64) {
        self.candidate = all.then_some((before, now_ms));
        self.hurried = false;
    }

    /// Whether a silent source with so many unsettled frames waits for us.
    pub fn is_reached(&self, unsettled: usize) -> bool {
        !self.hurried && self.fixed.or(self.learned).is_some_and(|size| unsettled >= size)
    }

    /// Notes an early commit; true once for each.
    pub fn hurried(&mut self) -> bool {
        !std::mem::replace(&mut self.hurried, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plateau_is_learned_and_left_again() {
        let mut window = Window::new(None);
        for n in 1..=20 {
            window.arrived(n, 0);
            assert!(!window.is_reached(n));
        }
        window.settled(20, true, 1000);
        window.arrived(1, 1010);
        assert!(!window.is_reached(19) && window.is_reached(20));
        assert!(window.hurried() && !window.is_reached(20), "once until it settles");
        window.settled(20, true, 1030);
        assert!(window.is_reached(20));
        window.arrived(21, 1031);
        assert!(!window.is_reached(21), "more than the window came: it was none");
    }

    #[test]
    fn a_slow_source_teaches_nothing() {
        let mut window = Window::new(None);
        window.arrived(1, 0);
        window.settled(1, true, 1000);
        window.arrived(1, 1900);
        assert!(!window.is_reached(1));
    }

    #[test]
    fn a_setting_overrides() {
        assert!(Window::new(Some(5)).is_reached(5));
    }
}
