//! Only `Policies::authorize` makes a permit.

use scaivault_proxy::policy::Permit;

fn main() {
    let _ = Permit {};
}
