// SPDX-License-Identifier: MIT OR Apache-2.0
//! One process: a function from text, many at once, and what an error says.

use dijitso::{Error, Kind, Origin};

fn main() -> Result<(), Error> {
    // The text itself is the key: another exponent is another library.
    let exponent = std::env::args().nth(1).unwrap_or_else(|| "2".to_owned());
    let power = dijitso::jit("power")
        .source(format!(
            "#include <cmath>\nextern \"C\" double power(double x) {{ return std::pow(x, {exponent}); }}\n"
        ))
        .load()?;
    // SAFETY: `power` has this type in the text.
    let function: extern "C" fn(f64) -> f64 = unsafe { power.symbol("power")? };
    println!("power(3) = {} ({})", function(3.0), power.origin().name());

    // Name and parameters are the key; the closure runs on a miss only. All that are missing are built at the same time.
    let mut generated = 0;
    let monomials = dijitso::jit_many(["x1", "x2", "x3"])
        .param("build.language", "c")
        .param("generator.factor", "2")
        .generate(|source| {
            generated += 1;
            let product = ["x"].repeat(source.name()[1..].parse()?).join(" * ");
            source.code(format!("double value(double x) {{ return 2 * {product}; }}\n"));
            Ok::<(), std::num::ParseIntError>(())
        })
        .load()?;
    let mut sum = 0.0;
    for library in &monomials {
        // SAFETY: `value` has this type in the source above.
        let value: extern "C" fn(f64) -> f64 = unsafe { library.symbol("value")? };
        sum += value(3.0);
    }
    println!("2 * (3 + 9 + 27) = {sum} ({generated} generated)");

    let again = dijitso::jit("x3").param("build.language", "c").param("generator.factor", "2").load()?;
    assert_eq!(again.origin(), Origin::Memory);

    let wrong = dijitso::jit("wrong").source("this is no C++").load().unwrap_err();
    assert_eq!(wrong.kind(), Kind::Compile);
    println!("error {} (with the output of the compiler: {})", wrong.kind().code(), !wrong.log().is_empty());
    Ok(())
}
