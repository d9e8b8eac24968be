//! The one file with `unsafe`: an allocator that wipes what it frees, and the process settings that keep memory out of
//! core dumps and debuggers.
#![expect(unsafe_code, reason = "allocator and prctl; everything else in the crate is safe code")]

use std::alloc::{GlobalAlloc, Layout};

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
