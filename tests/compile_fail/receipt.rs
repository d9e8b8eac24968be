//! Only `Auditor::admit` makes a receipt.

use scaivault_proxy::audit::Receipt;

fn main() {
    let _ = Receipt {};
}
