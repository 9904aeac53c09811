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
    items: Mutex<Items<T>>,
    filled: Condvar,
    room: usize,
}

struct Items<T> {
    waiting: VecDeque<T>,
    /// The thread sleeps until there is one. To wake who is awake is a system call too, for each item.
    asleep: bool,
}

impl<T> Queue<T> {
    /// With room for so many.
    pub fn new(room: usize) -> Self {
        Self { items: Mutex::new(Items { waiting: VecDeque::new(), asleep: false }), filled: Condvar::new(), room }
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
        if items.waiting.len() >= room {
            return Err(Full);
        }
        items.waiting.push_back(item);
        self.wake(items);
        Ok(())
    }

    /// Gives an item whether or not there is room: for the few that the supervisor makes to steer the
    /// writer.
    pub fn insist(&self, item: T) {
        let mut items = self.items();
        items.waiting.push_back(item);
        self.wake(items);
    }

    fn wake(&self, mut items: MutexGuard<'_, Items<T>>) {
        let asleep = std::mem::take(&mut items.asleep);
        drop(items);
        if asleep {
            self.filled.notify_one();
        }
    }

    /// Takes the next item; waits for one, at most so long where there is a limit.
    pub fn take(&self, limit: Option<Duration>) -> Option<T> {
        let mut items = self.items();
        if limit != Some(Duration::ZERO) {
            let is_empty = |items: &mut Items<T>| {
                items.asleep = items.waiting.is_empty();
                items.asleep
            };
            items = match limit {
                None => self.filled.wait_while(items, is_empty).unwrap_or_else(PoisonError::into_inner),
                Some(limit) => self.filled.wait_timeout_while(items, limit, is_empty).unwrap_or_else(PoisonError::into_inner).0,
            };
            items.asleep = false;
        }
        items.waiting.pop_front()
    }

    fn items(&self) -> MutexGuard<'_, Items<T>> {
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
