//! Who receives from a partition: one receiver with an epoch, or up to five without
//! (`docs/reference/event-hubs.md`, "Limits" and "Connection").

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The most receivers without an epoch, for one consumer group in one partition.
const MOST: usize = 5;

/// A hub, a consumer group, a partition.
pub type Seat = (String, String, u16);

/// The receivers of all partitions.
#[derive(Debug, Default)]
pub struct Epochs(Mutex<HashMap<Seat, Sitting>>);

#[derive(Debug, Default)]
struct Sitting {
    epoch: Option<i64>,
    receivers: Vec<(u64, watch::Sender<bool>)>,
    next: u64,
}

/// The place of a receiver. Dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    epochs: Arc<Epochs>,
    /// The event hub, the consumer group and the partition of the place.
    pub seat: Seat,
    number: u64,
    stolen: watch::Receiver<bool>,
}

impl Place {
    /// Whether a receiver with an epoch took the place.
    pub fn is_stolen(&self) -> bool {
        *self.stolen.borrow()
    }

    /// Waits until a receiver with an epoch takes the place. Cancel safe.
    pub async fn stolen(&mut self) {
        // The sender is dropped only when the place is stolen or given back.
        let _ = self.stolen.wait_for(|stolen| *stolen).await;
    }
}

/// The reason why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Another receiver has a higher epoch, or an epoch where this receiver has none. The value is the other epoch.
    Stolen(i64),
    /// Five receivers are there already.
    Full,
}

impl Epochs {
    /// Takes a place.
    ///
    /// # Errors
    /// There is no place.
    pub fn sit(self: &Arc<Self>, seat: Seat, epoch: Option<i64>) -> Result<Place, Taken> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sitting = seats.entry(seat.clone()).or_default();
        match (epoch, sitting.epoch) {
            (Some(mine), Some(theirs)) if mine < theirs => return Err(Taken::Stolen(theirs)),
            (None, Some(theirs)) => return Err(Taken::Stolen(theirs)),
            (None, None) if sitting.receivers.len() >= MOST => return Err(Taken::Full),
            (Some(_), _) => {
                for (_, stolen) in sitting.receivers.drain(..) {
                    stolen.send_replace(true);
                }
            }
            (None, None) => {}
        }
        sitting.epoch = epoch;
        sitting.next += 1;
        let number = sitting.next;
        let (sender, stolen) = watch::channel(false);
        sitting.receivers.push((number, sender));
        Ok(Place { epochs: self.clone(), seat, number, stolen })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut seats = self.epochs.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sitting) = seats.get_mut(&self.seat) {
            sitting.receivers.retain(|(number, _)| *number != self.number);
            if sitting.receivers.is_empty() {
                sitting.epoch = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_displaces_lower_ones_and_those_without() {
        let epochs = Arc::new(Epochs::default());
        let seat = || ("eh".to_string(), "$default".to_string(), 0);
        let plain: Vec<Place> = (0..5).map(|_| epochs.sit(seat(), None).unwrap()).collect();
        assert_eq!(epochs.sit(seat(), None).unwrap_err(), Taken::Full);
        let one = epochs.sit(seat(), Some(1)).unwrap();
        assert!(plain.iter().all(Place::is_stolen) && !one.is_stolen());
        drop(plain);
        assert_eq!(epochs.sit(seat(), Some(0)).unwrap_err(), Taken::Stolen(1));
        assert_eq!(epochs.sit(seat(), None).unwrap_err(), Taken::Stolen(1));
        let again = epochs.sit(seat(), Some(1)).unwrap();
        assert!(one.is_stolen(), "the last one with the same epoch has it");
        drop((one, again));
        assert!(epochs.sit(seat(), None).is_ok(), "nobody is left");
    }
}
