//! A heap that wipes what is given back. Runs in the supervisor's executable, which parses the
//! configuration: its parsers, their scanners and their error paths copy secrets into buffers of
//! their own and know nothing of wiping. So the one place that all of them free through does it.

use std::alloc::{GlobalAlloc, Layout, System};

/// An allocator, but that freed memory is zeroed first. For `#[global_allocator]`.
#[derive(Debug)]
pub struct Wiping<A = System>(pub A);

// SAFETY: memory comes from `A` and goes back to it with the layout that it was made with. What is
// added writes only into memory that the caller gives back, and so no longer uses. `realloc` is the
// trait's own: a new block, a copy, and `dealloc` of the old one, which wipes it.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Wiping<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `A` wants.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the block has `layout.size()` bytes and is the caller's until `A` has it back. A
        // plain write before a free would be optimised away; this one is not (`explicit_bzero(3)`).
        unsafe {
            libc::explicit_bzero(memory.cast(), layout.size());
            self.0.dealloc(memory, layout);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts what comes back, and what of it is not zero.
    #[derive(Default)]
    struct Watched {
        freed: AtomicUsize,
        left: AtomicUsize,
    }

    // SAFETY: all memory is the system's; the count reads within the block that is given back.
    unsafe impl GlobalAlloc for Watched {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as the caller promises.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            // SAFETY: as the caller promises; all bytes were written by the tests below.
            unsafe {
                let left = (0..layout.size()).filter(|place| *memory.add(*place) != 0).count();
                self.left.fetch_add(left, Ordering::Relaxed);
                self.freed.fetch_add(layout.size(), Ordering::Relaxed);
                System.dealloc(memory, layout);
            }
        }
    }

    #[test]
    fn what_is_freed_is_wiped_and_so_is_what_moved() {
        let heap = Wiping(Watched::default());
        let (small, large) = (Layout::array::<u8>(600).unwrap(), Layout::array::<u8>(64 << 10).unwrap());
        // SAFETY: each block is used within its size, and freed once, with its layout.
        unsafe {
            let block = heap.alloc(small);
            block.write_bytes(0xa5, small.size());
            let moved = heap.realloc(block, small, large.size());
            assert!((0..small.size()).all(|place| *moved.add(place) == 0xa5), "realloc lost something");
            moved.write_bytes(0xa5, large.size());
            heap.dealloc(moved, large);
        }
        assert_eq!(heap.0.freed.into_inner(), small.size() + large.size());
        assert_eq!(heap.0.left.into_inner(), 0);
    }
}
