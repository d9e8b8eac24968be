//! The proof values of the line cannot be made outside their rooms: a stage that was skipped does not compile.

#[test]
fn nobody_else_makes_a_permit_a_receipt_or_a_disclosure() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}
