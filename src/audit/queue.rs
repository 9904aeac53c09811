//! A bounded queue from the supervisor's loop to the writer's thread. Giving never waits.
//!
//! Requests may fill three quarters of it: however many a stranger makes, or an owned listener makes
//! up, there is room for what the other processes say.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much an item matters where there is little room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A stranger can cause any number of them.
    Request,
    /// All else.
    Other,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The queue.
pub struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    filled: Condvar,
    room: usize,
}

impl<T> Queue<T> {
    /// With room for so many.
    pub fn new(room: usize) -> Self {
        Self { items: Mutex::new(VecDeque::new()), filled: Condvar::new(), room }
    }

    /// Gives an item.
    ///
    /// # Errors
    /// [`Full`]: the item is dropped.
    pub fn give(&self, item: T, class: Class) -> Result<(), Full> {
        let mut items = self.items();
        let room = match class {
            Class::Request => self.room / 4 * 3,
            Class::Other => self.room,
        };
        if items.len() >= room {
            return Err(Full);
        }
        items.push_back(item);
        drop(items);
        self.filled.notify_one();
        Ok(())
    }

    /// Gives an item whether or not there is room: for the few that the supervisor makes to steer the
    /// writer.
    pub fn insist(&self, item: T) {
        self.items().push_back(item);
        self.filled.notify_one();
    }

    /// Takes the next item; waits for one, at most so long where there is a limit.
    pub fn take(&self, limit: Option<Duration>) -> Option<T> {
        let items = self.items();
        let mut items = match limit {
            None => self.filled.wait_while(items, |items| items.is_empty()).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => self.filled.wait_timeout_while(items, limit, |items| items.is_empty()).unwrap_or_else(PoisonError::into_inner).0,
        };
        items.pop_front()
    }

    fn items(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_leave_room_for_all_else() {
        let queue = Queue::new(8);
        let given = |class| (0..100).filter(|number| queue.give(*number, class).is_ok()).count();
        assert_eq!((given(Class::Request), given(Class::Other)), (6, 2));
        assert_eq!(queue.give(0, Class::Other), Err(Full));
        queue.insist(7);
        let taken: Vec<_> = std::iter::from_fn(|| queue.take(Some(Duration::ZERO))).collect();
        assert_eq!(taken, [0, 1, 2, 3, 4, 5, 0, 1, 7]);
    }
}
