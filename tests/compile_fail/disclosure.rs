//! Only `Auditor::disclose` makes a disclosure.

use scaivault_proxy::audit::Disclosure;

fn main() {
    let _ = Disclosure {};
}
