//! The one file with `unsafe`: an allocator that wipes what it frees, pages that are not swapped out, and the process
//! settings that keep memory out of core dumps and debuggers.
#![expect(unsafe_code, reason = "allocator, mlock and prctl; everything else in the crate is safe code")]

use std::alloc::{GlobalAlloc, Layout};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use mimalloc::MiMalloc;

/// Wipes every block before giving it back to the allocator below, so that request buffers, header values and
/// decrypted bytes of libraries do not stay behind in freed memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct ZeroOnFree;

// SAFETY: every method hands the caller's own layout to the allocator below unchanged; `dealloc` and the shrinking or
// moving `realloc` write only inside the block they were given, which is still owned at that moment.
unsafe impl GlobalAlloc for ZeroOnFree {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds `GlobalAlloc::alloc`'s contract.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds `GlobalAlloc::alloc_zeroed`'s contract.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` is a live block of `layout` until the call below; the black box keeps the wipe.
        unsafe {
            std::ptr::write_bytes(block, 0, layout.size());
            std::hint::black_box(block);
            MiMalloc.dealloc(block, layout);
        }
    }
    // `realloc` is the trait's default: allocate, copy, `dealloc`. The system's own could move a block unwiped.
}

/// Before anything is allocated: memory is taken from the system as it is needed, not in advance.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn set() {
        const ARENA_EAGER_COMMIT: libmimalloc_sys::mi_option_t = 4;
        // SAFETY: a call with plain arguments; the library allows it at any time.
        unsafe { libmimalloc_sys::mi_option_set(ARENA_EAGER_COMMIT, 0) }
    }
    set
};

/// Gives back to the system what starting up has used and freed.
pub fn trim_memory() {
    // SAFETY: a call without arguments that concern memory; safe at any time.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Forbids core dumps and debugger attachment for this process. Returns what could not be set, for the log.
#[must_use]
pub fn harden_process() -> Vec<&'static str> {
    let mut failed = Vec::new();
    // SAFETY: plain system calls with constant arguments; `limit` outlives the call.
    unsafe {
        if libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 {
            failed.push("PR_SET_DUMPABLE");
        }
        let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) != 0 {
            failed.push("RLIMIT_CORE");
        }
    }
    failed
}

/// How many keys were put into memory that the system may swap out, because it did not allow locking it.
static SWAPPABLE: AtomicUsize = AtomicUsize::new(0);

/// How many keys were put into memory that may be swapped out: more than none where `RLIMIT_MEMLOCK` is too small.
#[must_use]
pub fn swappable_keys() -> usize {
    SWAPPABLE.load(Ordering::Relaxed)
}

/// A page's alignment makes the allocator hand out whole pages, which nothing else shares.
#[repr(align(4096))]
struct Page<T>(T);

/// A key on pages of its own, kept out of swap where the system allows it, and out of core dumps.
pub(super) struct Pinned<T> {
    page: Box<Page<T>>,
}

impl<T> Pinned<T> {
    pub(super) fn new(value: T) -> Self {
        let page = Box::new(Page(value));
        let (start, size) = ((&raw const *page).cast::<libc::c_void>(), size_of::<Page<T>>());
        // SAFETY: the range is this box's own live allocation, whole pages long; neither call reads or writes it.
        let is_locked = unsafe {
            libc::madvise(start.cast_mut(), size, libc::MADV_DONTDUMP);
            libc::mlock(start, size) == 0
        };
        if !is_locked {
            SWAPPABLE.fetch_add(1, Ordering::Relaxed);
        }
        Self { page }
    }
}

impl<T> Deref for Pinned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.page.0
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        let (start, size) = ((&raw const *self.page).cast::<libc::c_void>(), size_of::<Page<T>>());
        // SAFETY: as in `new`; the value is dropped and its memory wiped after this, by the box and the allocator.
        unsafe {
            libc::munlock(start, size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l12_a_pinned_key_has_pages_of_its_own() {
        let pins: Vec<Pinned<[u8; 32]>> = (0..4).map(|byte| Pinned::new([byte; 32])).collect();
        for (byte, pin) in (0..4).zip(&pins) {
            assert_eq!(**pin, [byte; 32]);
            assert_eq!(std::ptr::from_ref(&**pin).addr() % 4096, 0);
        }
    }
}
